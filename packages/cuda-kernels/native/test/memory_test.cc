// Fill, casts between all dtypes, copies in both directions in several pieces, readbacks, and the search for wrong indices.
#include <array>
#include <limits>

#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

constexpr DType kAll[] = {DType::F32, DType::BF16, DType::F16, DType::I32, DType::I64, DType::U8, DType::F64};

int64_t bytesOf(DType t, int64_t n) { return n * static_cast<int64_t>(sizeOf(t)); }

/// Values that meet every rule: rounding, ties, saturation, infinities, small numbers, negative zero.
std::vector<float> values(int64_t n) {
  const std::vector<float> special = {0.0f,     -0.0f,    1.0f,      -1.0f,     0.5f,      1.5f,      2.5f,     255.0f,
                                      255.9f,   256.0f,   -0.9f,     65504.0f,  65519.0f,  65520.0f,  1e-8f,    6e-8f,
                                      -6.1e-5f, 3.14159f, 1.00390625f, 1.01171875f, 3e9f, -3e9f, 1e20f, -1e20f,
                                      INFINITY, -INFINITY, 2147483520.0f, 9.2e18f, 2049.0f, 2051.0f};
  std::vector<float> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(special[static_cast<size_t>(i) % special.size()] * (i < 30 ? 1.0f : 0.37f));
  return all;
}

/// From f32 to `from`, from there to `to`; compared byte by byte.
void casts(Harness& h) {
  for (const DType from : kAll) {
    for (const DType to : kAll) {
      for (const int64_t n : {7, 100}) {
        h.check("cast", DType::F32, {static_cast<int64_t>(from), static_cast<int64_t>(to), n}, [&](Side& s) {
          const In x = s.in(values(n));
          uint8_t* middle = s.bytesOut(bytesOf(from, n));
          uint8_t* y = s.bytesOut(bytesOf(to, n));
          s.backend.cast(x.data, DType::F32, middle, from, n);
          s.backend.cast(middle, from, y, to, n);
        });
      }
    }
  }
}

/// What an update casts, also where addresses do not allow several neighbours at once.
void commonCasts(Harness& h) {
  for (const DType t : kFloats) {
    for (const int64_t n : {1, 8, 1003}) {
      h.check("cast to and from bf16", t, {n}, [&](Side& s) {
        const Out narrow = s.out(n);
        s.backend.cast(s.f32(n), DType::F32, narrow.data, narrow.dtype, n);
        s.backend.cast(narrow.data, narrow.dtype, s.f32Out(n), DType::F32, n);
      });
    }
  }
}

void fills(Harness& h) {
  for (const DType t : kAll) {
    for (const double value : {0.0, -0.0, 1.0, -3.75, 300.0, 1e30}) {
      h.check("fill", DType::F32, {static_cast<int64_t>(t)}, [&](Side& s) {
        const int64_t n = 37;
        s.backend.fill(s.bytesOut(bytesOf(t, n)), t, value, n);
      });
    }
  }
}

void copies(Harness& h) {
  for (const int64_t n : {int64_t{1}, int64_t{1000}, int64_t{2300000}}) {  // the last in more than one piece
    h.check("fromHost, toHost", DType::F32, {n}, [&](Side& s) {
      std::vector<float> host(static_cast<size_t>(n));
      for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(i % 1021);
      float* there = s.f32Out(n);
      float* copied = s.f32Out(n);
      s.backend.fromHost(there, host.data(), n * 4);
      std::fill(host.begin(), host.end(), -1.0f);
      s.backend.copyBytes(copied, there, n * 4);
      s.backend.toHost(host.data(), copied, n * 4);
      double sum = 0;
      for (const float x : host) sum += x;
      s.result(sum);
    });
  }
  h.check("readback", DType::F32, {3}, [&](Side& s) {
    const In x = s.in(5000);
    const int32_t* ids = s.ints({3, 1, 2});
    float* changed = s.f32InOut(4);
    auto first = s.backend.readback({{x.data, 20000}, {ids, 12}, {changed, 16}});
    s.backend.fill(changed, DType::F32, 1, 4);
    auto second = s.backend.readback({{changed, 16}});
    float then[4], now[4];
    std::memcpy(then, first->wait() + 20012, sizeof then);
    std::memcpy(now, second->wait(), sizeof now);
    for (const float v : then) s.result(v);
    for (const float v : now) s.result(v);
    s.result(first->wait()[20000]);
  });
}

void ranges(Harness& h) {
  std::vector<int32_t> ids(5000, 3);
  ids[4000] = 7;
  ids[4500] = -2;
  const int64_t none = std::numeric_limits<int64_t>::min();
  for (const auto& [lo, hi, except] : std::vector<std::array<int64_t, 3>>{
           {0, 4, none}, {0, 8, none}, {-5, 100, none}, {0, 4, 7}, {5, 9, none}, {int64_t{1} << 40, int64_t{1} << 41, 3}}) {
    h.check("findOutOfRange", DType::F32, {lo, hi}, [&, lo = lo, hi = hi, except = except](Side& s) {
      s.result(static_cast<double>(s.backend.findOutOfRange(s.ints(ids), 5000, lo, hi, except)));
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  h.tolerance(0, 4e-3);
  commonCasts(h);
  copies(h);
  ranges(h);
  h.aligned();  // bytes that stand for elements
  casts(h);
  fills(h);
  return h.finish();
}
