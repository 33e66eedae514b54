// Gathering and restoring tokens, and their gradients. All bound by memory, but for the noise.
//
//   gatherTokens            copies (copy_rows.h): 4 bytes per element of the result in bf16
//   restoreTokens           a warp per token copies it or makes noise: 2 to 4 bytes per element. Philox and Box-Muller take
//                           about 35 instructions per element, so a fully masked tensor is bound by arithmetic
//   gradients               sums over the places of a list that name a row. A warp per row of the result looks through the
//                           list, 32 ids at a time, and adds the rows it finds to registers: each row is written once,
//                           without atomics, in the order of the list. Lists are short (copies * kept tokens) and stay in
//                           the first-level cache; 2 bytes per element of dy and of dx
//   gradient of the prefix  sums of columns (columns.h)
#include "columns.h"
#include "copy_rows.h"
#include "cuda_backend.h"
#include "normal.h"
#include "rows.h"

namespace d2v::cuda {

namespace {

constexpr int kTokenThreads = 256, kTokenWarps = kTokenThreads / kWarp;

struct GatherMap {
  const char *x, *prefix;
  char* y;
  const int32_t* ids;
  int64_t t, copies, k, e, rowBytes;
  D2V_DEVICE const char* source(int64_t i) const {
    const int64_t row = i / (e + k), slot = i - row * (e + k);
    if (slot < e) return prefix + slot * rowBytes;
    const int64_t at = ids == nullptr ? slot - e : ids[row * k + slot - e];
    return x + (row / copies * t + at) * rowBytes;
  }
  D2V_DEVICE char* target(int64_t i) const { return y + i * rowBytes; }
};

struct SuffixMap {
  const char* x;
  char* y;
  int64_t k, e, rowBytes;  // rows of [.., e + k] without the first e
  D2V_DEVICE const char* source(int64_t i) const { return x + (i + (i / k + 1) * e) * rowBytes; }
  D2V_DEVICE char* target(int64_t i) const { return y + i * rowBytes; }
};

/// ids [groups, length]. Row p of a group of dx [groups, positions] is the sum of the places j where its list says
/// p - offset; place j is row (group * copies + j / k) * (e + k) + e + j % k of dy (length = copies * k).
struct Places {
  const int32_t* ids;
  int64_t positions, offset, copies, e;
  uint32_t length, k;
};

template <typename T, int N, int Steps>
D2V_KERNEL(kTokenThreads)
sumPlaces(Places a, const T* dy, T* dx, int64_t rows, int64_t d) {
  constexpr int looks = 4;
  const int64_t row = static_cast<int64_t>(blockX()) * kTokenWarps + warp();
  if (row >= rows) return;
  const int64_t group = row / a.positions;
  const int32_t wanted = static_cast<int32_t>(row - group * a.positions - a.offset);  // below 0: in no list
  const int32_t* ids = a.ids + group * a.length;
  const T* from = dy + group * a.copies * (a.e + a.k) * d;
  for (int64_t tile = 0; tile < d; tile += Steps * kWarp * N) {
    float sum[Steps][N] = {};
    for (uint32_t base = 0; base < a.length; base += looks * kWarp) {
      uint32_t found[looks];
#pragma unroll
      for (int q = 0; q < looks; ++q) {
        const uint32_t j = base + static_cast<uint32_t>(q * kWarp + lane());
        found[q] = vote(j < a.length && ids[j] == wanted);
      }
#pragma unroll
      for (int q = 0; q < looks; ++q) {
        for (; found[q] != 0; found[q] &= found[q] - 1) {
          const uint32_t j = base + static_cast<uint32_t>(q * kWarp + lowestBit(found[q]));
          const T* add = from + (j + static_cast<int64_t>(j / a.k + 1) * a.e) * d + tile;
#pragma unroll
          for (int s = 0; s < Steps; ++s) {
            if (tile + pieceAt<N>(s) >= d) continue;
            float v[N];
            load(v, add + pieceAt<N>(s));
#pragma unroll
            for (int i = 0; i < N; ++i) sum[s][i] += v[i];
          }
        }
      }
    }
#pragma unroll
    for (int s = 0; s < Steps; ++s) {
      if (tile + pieceAt<N>(s) < d) store(dx + row * d + tile + pieceAt<N>(s), sum[s]);
    }
  }
}

template <typename T>
void launchSumPlaces(const Places& a, const T* dy, T* dx, int64_t rows, int64_t d, Stream stream) {
  const bool wide = fitsWide(dy, d) && fitsWide(dx, d);
  const auto start = [&](auto n, auto steps) {
    launch(sumPlaces<T, n(), steps()>, Grid{blocksFor(rows, kTokenWarps)}, kTokenThreads, 0, stream, a, dy, dx, rows,
           d);
  };
  // Longer rows go through the list once per tile of columns.
  if (!forRowShape<T>(d, wide, start)) forRowShape<T>(wide ? 1536 : 1024, wide, start);
}

template <typename T>
struct Restore {
  const T *x, *noise;
  const int32_t* restore;
  T* y;
  RngKey key;
  float std;
  int64_t tokens, t, kept, extra, d;
};

/// The number of one element of the stream.
D2V_DEVICE float normalAt(const RngKey& key, uint64_t element, float std) {
  uint32_t words[4];
  philox(key, element / 4, words);
  const bool upper = element & 2;
  float even, odd;
  normalPair(upper ? words[2] : words[0], upper ? words[3] : words[1], std, even, odd);
  return element & 1 ? odd : even;
}

template <typename T, int N>
D2V_KERNEL(kTokenThreads)
restoreRows(Restore<T> a) {
  const int64_t i = static_cast<int64_t>(blockX()) * kTokenWarps + warp();
  if (i >= a.tokens) return;
  const int64_t row = i / a.t, slot = a.restore[i], masked = row * (a.t - a.kept) + slot - a.kept;
  T* to = a.y + i * a.d;
  if (slot < a.kept || a.noise != nullptr) {
    const T* from = slot < a.kept ? a.x + (row * (a.extra + a.kept) + a.extra + slot) * a.d : a.noise + masked * a.d;
#pragma unroll 4
    for (int64_t c = lane() * N; c < a.d; c += kWarp * N) {
      *reinterpret_cast<Vec<T, N>*>(to + c) = *reinterpret_cast<const Vec<T, N>*>(from + c);
    }
    return;
  }
  for (int64_t c = lane() * N; c < a.d; c += kWarp * N) {
    const uint64_t element = static_cast<uint64_t>(masked * a.d + c);  // a multiple of N
    float v[N];
    if constexpr (N == 1) {
      v[0] = normalAt(a.key, element, a.std);
    } else {
#pragma unroll
      for (int q = 0; q < N / 4; ++q) {
        float four[4];
        normalBlock(a.key, element / 4 + static_cast<uint64_t>(q), a.std, four);
#pragma unroll
        for (int k = 0; k < 4; ++k) v[4 * q + k] = four[k];
      }
    }
    store(to + c, v);
  }
}

}  // namespace

void CudaBackend::gatherTokens(In x, const int32_t* ids, In prefix, Out y, int64_t b, int64_t t, int64_t rows,
                               int64_t k, int64_t e, int64_t d) {
  forFloatType(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rowBytes = d * static_cast<int64_t>(sizeof(T));
    const GatherMap map{reinterpret_cast<const char*>(typed<T>(x, "gatherTokens: x")),
                        reinterpret_cast<const char*>(typed<T>(prefix, "gatherTokens: prefix")),
                        reinterpret_cast<char*>(typed<T>(y, "gatherTokens: y")),
                        ids,
                        t,
                        rows / b,
                        k,
                        e,
                        rowBytes};
    copyRows(map, rows * (e + k), rowBytes, {}, {map.x, map.prefix, map.y}, stream_);
  });
}

void CudaBackend::gatherTokensBackward(In dy, const int32_t* ids, Out dx, float* dPrefix, int64_t b, int64_t t,
                                       int64_t rows, int64_t k, int64_t e, int64_t d) {
  forFloatType(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = typed<T>(dy, "gatherTokensBackward: dy");
    T* to = typed<T>(dx, "gatherTokensBackward: dx");
    if (ids == nullptr) {
      const int64_t rowBytes = d * static_cast<int64_t>(sizeof(T));
      const SuffixMap map{reinterpret_cast<const char*>(from), reinterpret_cast<char*>(to), k, e, rowBytes};
      copyRows(map, b * t, rowBytes, {}, {from, to}, stream_);
    } else {
      const int64_t copies = rows / b;
      const Places places{ids, t, 0, copies, e, static_cast<uint32_t>(copies * k), static_cast<uint32_t>(k)};
      launchSumPlaces(places, from, to, b * t, d, stream_);
    }
    if (dPrefix != nullptr) {
      launchColumnSums(dPrefix, nullptr, e * d, from, rows, (e + k) * d, e * d, stream_);
    }
  });
}

void CudaBackend::restoreTokens(In x, const int32_t* restore, In noise, double std, const RngKey& key, Out y,
                                int64_t rows, int64_t t, int64_t kept, int64_t extra, int64_t d) {
  forFloatType(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Restore<T> a{typed<T>(x, "restoreTokens: x"),
                       typed<T>(noise, "restoreTokens: noise"),
                       restore,
                       typed<T>(y, "restoreTokens: y"),
                       key,
                       static_cast<float>(std),
                       rows * t,
                       t,
                       kept,
                       extra,
                       d};
    const bool wide = fitsWide(a.x, d) && fitsWide(a.noise, d) && fitsWide(a.y, d);
    launch(wide ? restoreRows<T, kWide<T>> : restoreRows<T, 1>, Grid{blocksFor(a.tokens, kTokenWarps)}, kTokenThreads, 0,
           stream_, a);
  });
}

void CudaBackend::restoreTokensBackward(In dy, const int32_t* restore, Out dx, int64_t rows, int64_t t, int64_t kept,
                                        int64_t extra, int64_t d) {
  forFloatType(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t width = extra + kept;
    const Places places{restore, width, extra, 1, 0, static_cast<uint32_t>(t), static_cast<uint32_t>(t)};
    launchSumPlaces(places, typed<T>(dy, "restoreTokensBackward: dy"), typed<T>(dx, "restoreTokensBackward: dx"),
                    rows * width, d, stream_);
  });
}

}  // namespace d2v::cuda
