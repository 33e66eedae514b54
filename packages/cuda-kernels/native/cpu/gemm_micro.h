// The register tile that all matrix products here share (GEMM, attention, convolution).
//
//   c[i, 0..cols) (= or +=) alpha * sum_k a_i[k] * b[k, 0..cols)       for up to kMR rows
//
// `b` is a packed panel: kNR = kNV * kLanes columns side by side, k-major, zeros behind the last column. The rows of
// `a` are read in place through one pointer each, so that row-major activations, the overlapping windows of a
// convolution and a transposed copy all work without packing. The tile lives in registers for the whole k loop:
// 12 of 16 (AVX2, SSE), 24 of 32 (AVX-512).
#pragma once

#include "vec.h"

namespace d2v {
namespace D2V_ISA {

#if defined(__AVX512F__)
constexpr int kMR = 8;
constexpr int kNV = 3;
#else
constexpr int kMR = 6;
constexpr int kNV = 2;
#endif
constexpr int kNR = kNV * kLanes;

/// Adds a_i[0..len) * b to the accumulators.
template <int MR, int NV>
D2V_INLINE void microRun(Vf (&acc)[MR][NV], const float* const* rows, int64_t offset, int64_t len, const float* b) {
  const float* a[MR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) a[i] = rows[i] + offset;
#pragma GCC unroll 4
  for (int64_t k = 0; k < len; ++k) {
    Vf bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) bv[j] = vload(b + k * kNR + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Vf av = vset(a[i][k]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] = vfma(av, bv[j], acc[i][j]);
    }
  }
}

/// A list of stretches of the k loop: stretch s reads a_i[offset[s] .. offset[s] + len).
struct Stretches {
  const int64_t* offset;
  int64_t count, len;
};

template <int MR, int NV>
void microTile(const float* const* rows, const Stretches& s, const float* b, float* c, int64_t ldc, int64_t cols,
               float alpha, bool accumulate) {
  Vf acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = vzero();
  }
  for (int64_t r = 0; r < s.count; ++r) {
    microRun<MR, NV>(acc, rows, s.offset[r], s.len, b);
    b += s.len * kNR;
  }
  const Vf scale = vset(alpha);
  const int64_t tail = cols - (NV - 1) * kLanes;  // of the last vector
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    float* out = c + i * ldc;
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      const Vf v = acc[i][j] * scale;
      float* p = out + j * kLanes;
      if (j < NV - 1 || tail == kLanes) {
        vstore(p, accumulate ? vload(p) + v : v);
      } else {
        vstoreN(p, accumulate ? vloadN(p, tail) + v : v, tail);
      }
    }
  }
}

using MicroTile = void (*)(const float* const*, const Stretches&, const float*, float*, int64_t, int64_t, float, bool);

/// The tile for `rows` (1..kMR) rows and `cols` (1..kNR) columns.
inline MicroTile microTileFor(int64_t rows, int64_t cols) {
#if defined(__AVX512F__)
#define D2V_TILES(MR) {microTile<MR, 1>, microTile<MR, 2>, microTile<MR, 3>}
  static const MicroTile table[kMR][kNV] = {D2V_TILES(1), D2V_TILES(2), D2V_TILES(3), D2V_TILES(4),
                                            D2V_TILES(5), D2V_TILES(6), D2V_TILES(7), D2V_TILES(8)};
#else
#define D2V_TILES(MR) {microTile<MR, 1>, microTile<MR, 2>}
  static const MicroTile table[kMR][kNV] = {D2V_TILES(1), D2V_TILES(2), D2V_TILES(3),
                                            D2V_TILES(4), D2V_TILES(5), D2V_TILES(6)};
#endif
#undef D2V_TILES
  return table[rows - 1][(cols + kLanes - 1) / kLanes - 1];
}

/// Cuts `rows` into tiles of nearly equal height (13 = 5 + 4 + 4, not 6 + 6 + 1: short tiles cannot hide the latency
/// of the multiply-add). Tile t covers [begin(t), begin(t + 1)).
struct RowTiles {
  int64_t rows, count;
  explicit RowTiles(int64_t n) : rows(n), count((n + kMR - 1) / kMR) {}
  int64_t begin(int64_t t) const {
    const int64_t base = rows / count, extra = rows % count;
    return t * base + (t < extra ? t : extra);
  }
};

}  // namespace D2V_ISA
}  // namespace d2v
