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

#if defined(__AVX2__)
/// The same for the first `rows` x `cols` (at most 8 x 8) values; `keep` lanes of each of the `cols` rows are written,
/// zeros behind the first `rows`.
D2V_INLINE void transposeCorner(const float* src, int64_t lds, int64_t rows, int64_t cols, float* dst, int64_t ldd,
                                int64_t keep) {
  alignas(32) static const int32_t bits[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  const __m256i in = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits + 8 - cols));
  const __m256i out = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits + 8 - keep));
  alignas(32) float square[64], turned[64];
  for (int64_t i = 0; i < 8; ++i) {
    _mm256_store_ps(square + 8 * i, i < rows ? _mm256_maskload_ps(src + i * lds, in) : _mm256_setzero_ps());
  }
  transpose8x8(square, 8, turned, 8);
  for (int64_t j = 0; j < cols; ++j) _mm256_maskstore_ps(dst + j * ldd, out, _mm256_load_ps(turned + 8 * j));
}
#endif

/// dst[j, i] = src[i, j]; src has `rows` rows of `cols`, with row strides lds and ldd.
inline void transposeBlock(const float* src, int64_t lds, int64_t rows, int64_t cols, float* dst, int64_t ldd) {
#if defined(__AVX2__)
  for (int64_t i = 0; i < rows; i += 8) {
    const int64_t height = rows - i < 8 ? rows - i : 8;
    for (int64_t j = 0; j < cols; j += 8) {
      const float* from = src + i * lds + j;
      float* to = dst + j * ldd + i;
      if (height == 8 && j + 8 <= cols) {
        transpose8x8(from, lds, to, ldd);
      } else {
        transposeCorner(from, lds, height, cols - j < 8 ? cols - j : 8, to, ldd, height);
      }
    }
  }
#else
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) dst[j * ldd + i] = src[i * lds + j];
  }
#endif
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
#if defined(__AVX2__)
  for (int64_t i = 0; i < kNR; i += 8) {
    const int64_t rows = cols - i < 8 ? (cols > i ? cols - i : 0) : 8;
    for (int64_t k = 0; k < depth; k += 8) {
      const float* from = b + i * ldb + k;
      float* to = dst + k * kNR + i;
      if (rows == 8 && k + 8 <= depth) {
        transpose8x8(from, ldb, to, kNR);
      } else if (rows > 0) {
        transposeCorner(from, ldb, rows, depth - k < 8 ? depth - k : 8, to, kNR, 8);
      } else {
        for (int64_t e = k; e < depth && e < k + 8; ++e) _mm256_storeu_ps(dst + e * kNR + i, _mm256_setzero_ps());
      }
    }
  }
#else
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t j = 0; j < kNR; ++j) dst[k * kNR + j] = j < cols ? b[j * ldb + k] : 0.0f;
  }
#endif
}

}  // namespace D2V_ISA
}  // namespace d2v
