// Copies matrix blocks into the layouts that gemm_micro.h reads.
#pragma once

#include <cstring>

#include "gemm_micro.h"

namespace d2v {
namespace D2V_ISA {

#if defined(__AVX2__)
/// dst[j * ldd + i] = src[i * lds + j] for an 8 x 8 block.
D2V_INLINE void transpose8x8(const float* src, int64_t lds, float* dst, int64_t ldd) {
  __m256 r[8], t[8];
#pragma GCC unroll 8
  for (int i = 0; i < 4; ++i) {  // lanes: rows i and i + 4, so that one level of shuffles is done by the loads
    r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src + i * lds)),
                                _mm_loadu_ps(src + (i + 4) * lds), 1);
    r[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src + i * lds + 4)),
                                    _mm_loadu_ps(src + (i + 4) * lds + 4), 1);
  }
#pragma GCC unroll 2
  for (int h = 0; h < 8; h += 4) {
    t[h] = _mm256_unpacklo_ps(r[h], r[h + 1]);
    t[h + 1] = _mm256_unpackhi_ps(r[h], r[h + 1]);
    t[h + 2] = _mm256_unpacklo_ps(r[h + 2], r[h + 3]);
    t[h + 3] = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
    _mm256_storeu_ps(dst + (h + 0) * ldd, _mm256_shuffle_ps(t[h], t[h + 2], 0x44));
    _mm256_storeu_ps(dst + (h + 1) * ldd, _mm256_shuffle_ps(t[h], t[h + 2], 0xEE));
    _mm256_storeu_ps(dst + (h + 2) * ldd, _mm256_shuffle_ps(t[h + 1], t[h + 3], 0x44));
    _mm256_storeu_ps(dst + (h + 3) * ldd, _mm256_shuffle_ps(t[h + 1], t[h + 3], 0xEE));
  }
}
#endif

/// dst[j, i] = src[i, j]; src has `rows` rows of `cols`, with row strides lds and ldd.
inline void transposeBlock(const float* src, int64_t lds, int64_t rows, int64_t cols, float* dst, int64_t ldd) {
  int64_t i = 0;
#if defined(__AVX2__)
  for (; i + 8 <= rows; i += 8) {
    int64_t j = 0;
    for (; j + 8 <= cols; j += 8) transpose8x8(src + i * lds + j, lds, dst + j * ldd + i, ldd);
    for (; j < cols; ++j) {
      for (int64_t e = 0; e < 8; ++e) dst[j * ldd + i + e] = src[(i + e) * lds + j];
    }
  }
#endif
  for (; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) dst[j * ldd + i] = src[i * lds + j];
  }
}

/// Packs one panel: dst[k, 0..kNR) for k in [0, depth) from columns of a row-major [depth, >= cols] matrix.
inline void packPanel(const float* b, int64_t ldb, int64_t depth, int64_t cols, float* dst) {
  if (cols == kNR) {
    for (int64_t k = 0; k < depth; ++k) {
      const float* s = b + k * ldb;
      float* d = dst + k * kNR;
#pragma GCC unroll 4
      for (int j = 0; j < kNV; ++j) vstore(d + j * kLanes, vload(s + j * kLanes));
    }
    return;
  }
  for (int64_t k = 0; k < depth; ++k) {
    std::memcpy(dst + k * kNR, b + k * ldb, static_cast<size_t>(cols) * sizeof(float));
    std::memset(dst + k * kNR + cols, 0, static_cast<size_t>(kNR - cols) * sizeof(float));
  }
}

/// The same from a matrix that is stored transposed: `cols` rows of [>= depth].
inline void packPanelTransposed(const float* b, int64_t ldb, int64_t depth, int64_t cols, float* dst) {
  transposeBlock(b, ldb, cols, depth, dst, kNR);
  if (cols < kNR) {
    for (int64_t k = 0; k < depth; ++k) {
      std::memset(dst + k * kNR + cols, 0, static_cast<size_t>(kNR - cols) * sizeof(float));
    }
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
