// The register tile of gradients to convolution weights: pixels are the inner dimension, and the operand whose columns
// fill the vectors is read in place, a pixel being any distance from the next.
#pragma once

#include "gemm_micro.h"

namespace d2v {
namespace D2V_ISA {

/// acc[i, j] += sum over lines l and pixels x of a_i[l * len + x] * b[l * lineStep + x * step + j].
template <int MR, int NV>
void pixelTile(const float* a0, int64_t lda, const float* b0, int64_t lines, int64_t len, int64_t lineStep,
               int64_t step, float* c, int64_t ldc, int64_t cols) {
  Vf acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = vzero();
  }
  const float* a[MR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) a[i] = a0 + i * lda;
  int64_t k = 0;
  for (int64_t l = 0; l < lines; ++l) {
    const float* b = b0 + l * lineStep;
#pragma GCC unroll 2
    for (int64_t x = 0; x < len; ++x, ++k, b += step) {
      Vf bv[NV];
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) bv[j] = vload(b + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const Vf av = vset(a[i][k]);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] = vfma(av, bv[j], acc[i][j]);
      }
    }
  }
  const int64_t tail = cols - (NV - 1) * kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      float* p = c + i * ldc + j * kLanes;
      if (j < NV - 1 || tail == kLanes) {
        vstore(p, vload(p) + acc[i][j]);
      } else {
        vstoreN(p, vloadN(p, tail) + acc[i][j], tail);
      }
    }
  }
}

using PixelTile = void (*)(const float*, int64_t, const float*, int64_t, int64_t, int64_t, int64_t, float*, int64_t,
                           int64_t);

inline PixelTile pixelTileFor(int64_t rows, int64_t cols) {
#if defined(__AVX512F__)
#define D2V_TILES(MR) {pixelTile<MR, 1>, pixelTile<MR, 2>, pixelTile<MR, 3>}
  static const PixelTile table[kMR][kNV] = {D2V_TILES(1), D2V_TILES(2), D2V_TILES(3), D2V_TILES(4),
                                            D2V_TILES(5), D2V_TILES(6), D2V_TILES(7), D2V_TILES(8)};
#else
#define D2V_TILES(MR) {pixelTile<MR, 1>, pixelTile<MR, 2>}
  static const PixelTile table[kMR][kNV] = {D2V_TILES(1), D2V_TILES(2), D2V_TILES(3),
                                            D2V_TILES(4), D2V_TILES(5), D2V_TILES(6)};
#endif
#undef D2V_TILES
  return table[rows - 1][(cols + kLanes - 1) / kLanes - 1];
}

inline float sumOf(const float* x, int64_t n) {
  Vf s = vzero();
  forVectors(n, [&](auto load, auto) D2V_LAMBDA { s = s + load(x); });
  return vsum(s);
}

}  // namespace D2V_ISA
}  // namespace d2v
