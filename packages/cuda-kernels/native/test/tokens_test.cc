// Gathering, restoring, repeating, slicing, transposing and looking up; sums over repeated ids.
#include <algorithm>

#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

struct Gather {
  int64_t b, t, copies, k, e, d;
};

void gather(Harness& h, DType t, const Gather& g, bool ids) {
  const int64_t rows = g.b * g.copies;
  h.check("gatherTokens", t, {g.b, g.t, g.copies, g.k, g.e, g.d}, [&](Side& s) {
    const In x = s.in(g.b * g.t * g.d);
    const int32_t* list = ids ? s.ints(rows * g.k, 0, static_cast<int32_t>(g.t)) : nullptr;
    const In prefix = g.e > 0 ? s.in(g.e * g.d) : In();
    const Out y = s.out(rows * (g.e + g.k) * g.d);
    s.backend.gatherTokens(x, list, prefix, y, g.b, g.t, rows, g.k, g.e, g.d);
  });
  h.check("gatherTokensBackward", t, {g.b, g.t, g.copies, g.k, g.e, g.d}, [&](Side& s) {
    const In dy = s.in(rows * (g.e + g.k) * g.d);
    const int32_t* list = ids ? s.ints(rows * g.k, 0, static_cast<int32_t>(g.t)) : nullptr;
    const Out dx = s.out(g.b * g.t * g.d);
    float* dPrefix = g.e > 0 ? s.f32InOut(g.e * g.d) : nullptr;
    s.backend.gatherTokensBackward(dy, list, dx, dPrefix, g.b, g.t, rows, g.k, g.e, g.d);
  });
}

/// A permutation of 0..t-1 for each row.
const int32_t* permutations(Side& s, int64_t rows, int64_t t) {
  std::vector<int32_t> values;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < t; ++i) values.push_back(static_cast<int32_t>(i));
    for (int64_t i = t - 1; i > 0; --i) {
      std::swap(values[static_cast<size_t>(r * t + i)],
                values[static_cast<size_t>(r * t + static_cast<int64_t>(s.random() * static_cast<double>(i + 1)))]);
    }
  }
  return s.ints(values);
}

void restore(Harness& h, DType t, int64_t rows, int64_t tokens, int64_t kept, int64_t extra, int64_t d) {
  for (const bool given : {false, true}) {
    h.check(given ? "restoreTokens given" : "restoreTokens noise", t, {rows, tokens, kept, extra, d}, [&](Side& s) {
      const In x = s.in(rows * (extra + kept) * d);
      const int32_t* places = permutations(s, rows, tokens);
      const In noise = given && tokens > kept ? s.in(rows * (tokens - kept) * d) : In();
      const Out y = s.out(rows * tokens * d);
      s.backend.restoreTokens(x, places, noise, 0.02, {7, 11, 5, 1234567}, y, rows, tokens, kept, extra, d);
    });
  }
  for (const bool repeated : {false, true}) {
    h.check("restoreTokensBackward", t, {rows, tokens, kept, extra, d}, [&](Side& s) {
      const In dy = s.in(rows * tokens * d);
      const int32_t* places = repeated ? s.ints(rows * tokens, 0, static_cast<int32_t>(tokens))
                                       : permutations(s, rows, tokens);
      const Out dx = s.out(rows * (extra + kept) * d);
      s.backend.restoreTokensBackward(dy, places, dx, rows, tokens, kept, extra, d);
    });
  }
}

void repeat(Harness& h, DType t, int64_t b, int64_t times, int64_t inner) {
  h.check("repeatRows", t, {b, times, inner}, [&](Side& s) {
    const In x = s.in(b * inner);
    s.backend.repeatRows(x, s.out(b * times * inner), b, times, inner);
  });
  h.check("repeatRowsBackward", t, {b, times, inner}, [&](Side& s) {
    const In dy = s.in(b * times * inner);
    s.backend.repeatRowsBackward(dy, s.out(b * inner), b, times, inner);
  });
}

void slab(Harness& h, int64_t outer, int64_t from, int64_t start, int64_t to, int64_t at, int64_t length,
          int64_t inner) {
  h.check("copySlab", DType::F32, {outer, from, start, to, at, length, inner}, [&](Side& s) {
    const int32_t* x = s.ints(outer * from * inner, -1000, 1000);
    float* y = s.f32InOut(outer * to * inner);
    s.backend.copySlab(x, y, outer, from, start, to, at, length, inner * 4);
  });
}

void transpose(Harness& h, const std::vector<int64_t>& shape, const std::vector<int>& perm, size_t elementSize) {
  h.check("transpose", DType::F32, shape, [&](Side& s) {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    std::vector<uint8_t> values(static_cast<size_t>(n) * elementSize);
    for (uint8_t& v : values) v = static_cast<uint8_t>(s.random() * 256);
    const auto bytes = static_cast<int64_t>(values.size());
    const void* x = nullptr;
    void* y = nullptr;
    // Of the right type, so that a view begins on an element.
    if (elementSize == 1) {
      x = s.bytes(values);
      y = s.bytesOut(bytes);
    } else if (elementSize == 8) {
      std::vector<int64_t> wide(static_cast<size_t>(n));
      std::memcpy(wide.data(), values.data(), values.size());
      for (int64_t& v : wide) v &= (int64_t{1} << 52) - 1;  // finite as f64
      x = s.longs(wide);
      y = s.f64Out(n);
    } else {
      std::vector<int32_t> wide(static_cast<size_t>(n));
      std::memcpy(wide.data(), values.data(), values.size());
      x = s.ints(wide);
      y = s.intsOut(n);
    }
    s.backend.transpose(x, y, elementSize, static_cast<int>(shape.size()), shape.data(), perm.data());
  });
}

/// Elements of the dtype: of two bytes too.
void transposeFloats(Harness& h, DType t, const std::vector<int64_t>& shape, const std::vector<int>& perm) {
  h.check("transpose", t, shape, [&](Side& s) {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    const In x = s.in(n);
    s.backend.transpose(x.data, s.out(n).data, sizeOf(s.dtype), static_cast<int>(shape.size()), shape.data(),
                        perm.data());
  });
}

/// ids: uniform, or so that most are one of two.
void table(Harness& h, DType t, int64_t n, int64_t v, int64_t d, int64_t padding, bool uneven) {
  const auto list = [&](Side& s) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < n; ++i) {
      const bool often = uneven && s.random() < 0.8;
      ids.push_back(static_cast<int32_t>(often ? v / 2 + (s.random() < 0.5 && v > 1 ? -1 : 0)
                                               : static_cast<int64_t>(s.random() * static_cast<double>(v))));
    }
    return s.ints(ids);
  };
  h.check("embedding", t, {n, v, d}, [&](Side& s) {
    const int32_t* ids = list(s);
    const In rows = s.in(v * d);
    s.backend.embedding(ids, rows, s.out(n * d), n, d);
  });
  h.check("embeddingGrad", t, {n, v, d}, [&](Side& s) {
    float* dTable = s.f32InOut(v * d);
    const int32_t* ids = list(s);
    const In dy = s.in(n * d);
    s.backend.embeddingGrad(dTable, ids, dy, n, v, d, padding);
  });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  for (const DType t : kFloats) {
    gather(h, t, {1, 1, 1, 1, 0, 1}, true);
    gather(h, t, {2, 9, 3, 5, 1, 24}, true);
    gather(h, t, {2, 5, 2, 80, 2, 3}, true);  // more ids than one look
    gather(h, t, {3, 7, 1, 7, 1, 16}, false);
    gather(h, t, {1, 3, 2, 2, 1, 1608}, true);  // rows longer than registers hold
    gather(h, t, {1, 3, 2, 2, 0, 1027}, true);
    restore(h, t, 1, 1, 1, 0, 1);
    restore(h, t, 2, 9, 3, 1, 24);
    restore(h, t, 2, 5, 2, 0, 5);
    restore(h, t, 1, 6, 4, 2, 520);
    repeat(h, t, 1, 1, 1);
    repeat(h, t, 3, 5, 7);
    repeat(h, t, 2, 3, 4104);
    transposeFloats(h, t, {3, 70, 67}, {0, 2, 1});
    transposeFloats(h, t, {2, 9, 4, 16}, {0, 2, 1, 3});
    table(h, t, 1, 1, 1, -1, false);
    table(h, t, 70, 9, 24, 3, false);
    table(h, t, 1300, 300, 5, -1, true);     // two blocks of the sort, two digits; runs over many tiles
    table(h, t, 1100, 70000, 8, 2, false);   // three digits
    table(h, t, 1056, 2, 16, -1, true);      // long runs, a whole number of tiles
  }
  slab(h, 1, 5, 1, 3, 0, 3, 7);
  slab(h, 4, 5, 2, 9, 4, 3, 1);
  slab(h, 3, 8, 4, 4, 0, 4, 4);
  slab(h, 2, 4000, 1, 4001, 0, 3999, 1);
  for (const size_t size : {1, 4, 8}) {
    transpose(h, {1}, {0}, size);
    transpose(h, {5, 3}, {1, 0}, size);
    transpose(h, {70, 67}, {1, 0}, size);
    transpose(h, {2, 3, 4, 5}, {0, 2, 1, 3}, size);
    transpose(h, {2, 34, 3, 35}, {3, 0, 2, 1}, size);
    transpose(h, {3, 1, 4, 2, 5}, {4, 2, 1, 0, 3}, size);
    transpose(h, {2, 3, 4}, {0, 1, 2}, size);
    transpose(h, {2, 2, 2, 2, 2, 2, 2, 3}, {7, 6, 5, 4, 3, 2, 1, 0}, size);
  }
  return h.finish();
}
