// Convolutions whose groups have few channels: P groups side by side in the lanes of a vector.
//
// With 12 channels per group a vector of 8 would work on 12 of 16 lanes. Instead the channels of P groups are
// interleaved so that P * 12 of them fill three vectors exactly:
//
//   slab     [pixel][source channel][group]         weights  [k][target channel][group] = three vectors
//
// and one broadcast of the P neighbouring values of a source channel multiplies every lane with its own group's value:
// one load, three multiply-adds, no lane lost. P = 2 with AVX2, 4 with AVX-512 (12 channels); P = 1 covers groups that
// fill three vectors by themselves. A register tile is kLaneRows pixels x three vectors.
#pragma once

#include "conv_slab.h"
#include "gemm_micro.h"

namespace d2v {
namespace D2V_ISA {

#if defined(__AVX512F__)
constexpr int kLaneRows = 8;
#else
constexpr int kLaneRows = 4;
#endif
constexpr int kLaneVectors = 3;
constexpr int kLaneWidth = kLaneVectors * kLanes;

/// Groups to put side by side for `channels` target channels per group: 0 when they do not fill three vectors.
inline int64_t lanesFor(int64_t groups, int64_t channels) {
#if defined(__AVX512F__)
  constexpr int64_t most = 4;
#elif defined(__AVX2__)
  constexpr int64_t most = 2;
#else
  constexpr int64_t most = 1;
#endif
  for (int64_t p = 1; p <= most; p *= 2) {
    if (channels * p == kLaneWidth && groups % p == 0) return p;
  }
  return 0;
}

/// P values from memory, repeated over the vector.
template <int P>
D2V_INLINE Vf vrepeat(const float* p) {
#if defined(__AVX512F__)
  if (P == 4) return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
  if (P == 2) return _mm512_castpd_ps(_mm512_set1_pd(*reinterpret_cast<const double*>(p)));
#elif defined(__AVX2__)
  if (P == 2) return _mm256_castpd_ps(_mm256_broadcast_sd(reinterpret_cast<const double*>(p)));
#endif
  return vset(*p);
}

/// Stores the kLanes / P channels of each of P interleaved groups at out, out + step, ...
template <int P>
D2V_INLINE void vstoreGroups(float* out, int64_t step, Vf v) {
#if defined(__AVX512F__)
  if (P == 4) {
    const __m512 t =
        _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
    _mm_storeu_ps(out, _mm512_extractf32x4_ps(t, 0));
    _mm_storeu_ps(out + step, _mm512_extractf32x4_ps(t, 1));
    _mm_storeu_ps(out + 2 * step, _mm512_extractf32x4_ps(t, 2));
    _mm_storeu_ps(out + 3 * step, _mm512_extractf32x4_ps(t, 3));
    return;
  }
  if (P == 2) {
    const __m512 t =
        _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15), v);
    _mm256_storeu_ps(out, _mm512_castps512_ps256(t));
    _mm256_storeu_ps(out + step, _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(t), 1)));
    return;
  }
#elif defined(__AVX2__)
  if (P == 2) {
    const __m256 t = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    _mm_storeu_ps(out, _mm256_castps256_ps128(t));
    _mm_storeu_ps(out + step, _mm256_extractf128_ps(t, 1));
    return;
  }
#endif
  (void)step;
  vstore(out, v);
}

/// dst[channel * P + p] = src[p * channels + channel].
template <int P>
D2V_INLINE void interleave(float* dst, const float* src, int64_t channels) {
  int64_t c = 0;
#if defined(__AVX512F__)
  if (P == 2) {
    const __m512i pairs = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    for (; c + 8 <= channels; c += 8) {
      const __m512 a = _mm512_castps256_ps512(_mm256_loadu_ps(src + c));
      const __m512 b = _mm512_castps256_ps512(_mm256_loadu_ps(src + channels + c));
      _mm512_storeu_ps(dst + 2 * c, _mm512_permutex2var_ps(a, pairs, b));
    }
  }
  if (P == 4) {
    const __m512i square = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (; c + 4 <= channels; c += 4) {
      __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(src + c));
      v = _mm512_insertf32x4(v, _mm_loadu_ps(src + channels + c), 1);
      v = _mm512_insertf32x4(v, _mm_loadu_ps(src + 2 * channels + c), 2);
      v = _mm512_insertf32x4(v, _mm_loadu_ps(src + 3 * channels + c), 3);
      _mm512_storeu_ps(dst + 4 * c, _mm512_permutexvar_ps(square, v));
    }
  }
#endif
#if defined(__AVX2__)
  if (P == 2) {
    for (; c + 8 <= channels; c += 8) {
      const __m256 a = _mm256_loadu_ps(src + c), b = _mm256_loadu_ps(src + channels + c);
      const __m256 lo = _mm256_unpacklo_ps(a, b), hi = _mm256_unpackhi_ps(a, b);
      _mm256_storeu_ps(dst + 2 * c, _mm256_permute2f128_ps(lo, hi, 0x20));
      _mm256_storeu_ps(dst + 2 * c + 8, _mm256_permute2f128_ps(lo, hi, 0x31));
    }
    for (; c + 4 <= channels; c += 4) {
      const __m128 a = _mm_loadu_ps(src + c), b = _mm_loadu_ps(src + channels + c);
      _mm_storeu_ps(dst + 2 * c, _mm_unpacklo_ps(a, b));
      _mm_storeu_ps(dst + 2 * c + 4, _mm_unpackhi_ps(a, b));
    }
  }
#endif
  if (P == 1) {
    copyShort(dst, src, channels);
    return;
  }
  for (; c < channels; ++c) {
    for (int64_t p = 0; p < P; ++p) dst[c * P + p] = src[p * channels + c];
  }
}

/// fillSlab (conv_slab.h) for P groups of `channels`, interleaved.
template <int P>
void fillLaneSlab(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width, int64_t channels,
                  float* slab) {
  const int64_t pixel = channels * P;
  const int64_t first = left < 0 ? (-left < width ? -left : width) : 0;
  const int64_t end = image.w - left < width ? (image.w - left > first ? image.w - left : first) : width;
  for (int64_t y = 0; y < height; ++y) {
    float* row = slab + y * width * pixel;
    const int64_t source = top + y;
    if (source < 0 || source >= image.h || first >= end) {
      std::memset(row, 0, static_cast<size_t>(width * pixel) * sizeof(float));
      continue;
    }
    const float* src = image.data + (source * image.w + left + first) * image.ld;
    for (int64_t i = 0; i < first * pixel; ++i) row[i] = 0.0f;
    for (int64_t x = first; x < end; ++x, src += image.ld) {
      // The next set of groups lies beside this one, in lines that no hardware foresees.
      for (int64_t i = 0; i < pixel; i += 64 / sizeof(float)) __builtin_prefetch(src + pixel + i);
      interleave<P>(row + x * pixel, src, channels);
    }
    for (int64_t i = end * pixel; i < width * pixel; ++i) row[i] = 0.0f;
  }
}

/// kLaneRows pixels: out[i] (first group; the others follow at distance `step`) = start + sum_k a_i[k, p] * weights[k].
/// Stretches count values of k, not floats. `start`: three vectors or null.
template <int P>
void laneTile(const float* const* rows, const Stretches& s, const float* weights, const float* start,
              float* const* out, int64_t step) {
  Vf acc[kLaneRows][kLaneVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kLaneRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kLaneVectors; ++j) acc[i][j] = start ? vload(start + j * kLanes) : vzero();
  }
  for (int64_t r = 0; r < s.count; ++r) {
    const float* a[kLaneRows];
#pragma GCC unroll 8
    for (int i = 0; i < kLaneRows; ++i) a[i] = rows[i] + s.offset[r];
#pragma GCC unroll 4
    for (int64_t k = 0; k < s.len; ++k, weights += kLaneWidth) {
      Vf w[kLaneVectors];
#pragma GCC unroll 4
      for (int j = 0; j < kLaneVectors; ++j) w[j] = vload(weights + j * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kLaneRows; ++i) {
        const Vf v = vrepeat<P>(a[i] + k * P);
#pragma GCC unroll 4
        for (int j = 0; j < kLaneVectors; ++j) acc[i][j] = vfma(v, w[j], acc[i][j]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kLaneRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kLaneVectors; ++j) vstoreGroups<P>(out[i] + j * (kLanes / P), step, acc[i][j]);
  }
}

/// Gradient of kLaneRows rows (tap, source channel) of weights: acc[i] += sum over pixels of a_i[pixel, p] * dy[pixel].
/// Pixels: `images` x `lines` x `length`, a_i advancing by imageStep, lineStep and step floats, dy by three vectors.
template <int P>
void laneWeightTile(const float* const* rows, const float* dy, int64_t images, int64_t imageStep, int64_t lines,
                    int64_t lineStep, int64_t length, int64_t step, float* const* out) {
  Vf acc[kLaneRows][kLaneVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kLaneRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kLaneVectors; ++j) acc[i][j] = vload(out[i] + j * kLanes);
  }
  for (int64_t b = 0; b < images; ++b) {
    for (int64_t y = 0; y < lines; ++y) {
      const float* a[kLaneRows];
#pragma GCC unroll 8
      for (int i = 0; i < kLaneRows; ++i) a[i] = rows[i] + b * imageStep + y * lineStep;
#pragma GCC unroll 4
      for (int64_t x = 0; x < length; ++x, dy += kLaneWidth) {
        Vf w[kLaneVectors];
#pragma GCC unroll 4
        for (int j = 0; j < kLaneVectors; ++j) w[j] = vload(dy + j * kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < kLaneRows; ++i) {
          const Vf v = vrepeat<P>(a[i] + x * step);
#pragma GCC unroll 4
          for (int j = 0; j < kLaneVectors; ++j) acc[i][j] = vfma(v, w[j], acc[i][j]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kLaneRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kLaneVectors; ++j) vstore(out[i] + j * kLanes, acc[i][j]);
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
