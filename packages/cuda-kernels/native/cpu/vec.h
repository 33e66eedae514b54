// One vector type `Vf` of kLanes floats for the instruction set that this file is compiled for, and the few operations
// the kernels need. AVX-512 and AVX2 use intrinsics; everything else uses the compilers' vector extension, which
// becomes SSE2, NEON or scalar code. Vf supports + - * / and unary minus on every path.
//
// loadN/storeN handle the first n < kLanes floats of a row's tail and touch no memory beyond them.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
// GCC 12 reports its own AVX-512 intrinsics, which begin with an undefined vector on purpose (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef D2V_ISA
#define D2V_ISA isa_base
#endif

#define D2V_INLINE inline __attribute__((always_inline))
#define D2V_LAMBDA __attribute__((always_inline))

namespace d2v {
namespace D2V_ISA {

#if defined(__AVX512F__)

constexpr int kLanes = 16;
using Vf = __m512;

D2V_INLINE Vf vset(float x) { return _mm512_set1_ps(x); }
D2V_INLINE Vf vzero() { return _mm512_setzero_ps(); }
D2V_INLINE Vf vload(const float* p) { return _mm512_loadu_ps(p); }
D2V_INLINE void vstore(float* p, Vf v) { _mm512_storeu_ps(p, v); }
D2V_INLINE Vf vloadN(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
}
D2V_INLINE void vstoreN(float* p, Vf v, int64_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), v);
}
/// a * b + c
D2V_INLINE Vf vfma(Vf a, Vf b, Vf c) { return _mm512_fmadd_ps(a, b, c); }
/// b where either is NaN.
D2V_INLINE Vf vmax(Vf a, Vf b) { return _mm512_max_ps(a, b); }
D2V_INLINE Vf vmin(Vf a, Vf b) { return _mm512_min_ps(a, b); }
D2V_INLINE Vf vabs(Vf a) { return _mm512_abs_ps(a); }
D2V_INLINE Vf vsqrt(Vf a) { return _mm512_sqrt_ps(a); }
D2V_INLINE Vf vround(Vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/// a >= b ? x : y (y where either is NaN)
D2V_INLINE Vf vselectGe(Vf a, Vf b, Vf x, Vf y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), y, x);
}
/// 2^n for integral n in [-126, 127].
D2V_INLINE Vf vpow2(Vf n) {
  const __m512i i = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(i, 23));
}
/// |a| with the sign of b.
D2V_INLINE Vf vcopysign(Vf a, Vf b) {
  const __m512i m = _mm512_set1_epi32(INT32_MIN);
  return _mm512_castsi512_ps(_mm512_or_si512(_mm512_andnot_si512(m, _mm512_castps_si512(a)),
                                             _mm512_and_si512(m, _mm512_castps_si512(b))));
}
D2V_INLINE float vsum(Vf v) {
  const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v),
                                 _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
D2V_INLINE float vmaxOf(Vf v) { return _mm512_reduce_max_ps(v); }

#elif defined(__AVX2__) && defined(__FMA__)

constexpr int kLanes = 8;
using Vf = __m256;

D2V_INLINE __m256i vtailMask(int64_t n) {
  alignas(32) static const int32_t bits[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bits + 8 - n));
}
D2V_INLINE Vf vset(float x) { return _mm256_set1_ps(x); }
D2V_INLINE Vf vzero() { return _mm256_setzero_ps(); }
D2V_INLINE Vf vload(const float* p) { return _mm256_loadu_ps(p); }
D2V_INLINE void vstore(float* p, Vf v) { _mm256_storeu_ps(p, v); }
D2V_INLINE Vf vloadN(const float* p, int64_t n) { return _mm256_maskload_ps(p, vtailMask(n)); }
D2V_INLINE void vstoreN(float* p, Vf v, int64_t n) { _mm256_maskstore_ps(p, vtailMask(n), v); }
D2V_INLINE Vf vfma(Vf a, Vf b, Vf c) { return _mm256_fmadd_ps(a, b, c); }
D2V_INLINE Vf vmax(Vf a, Vf b) { return _mm256_max_ps(a, b); }
D2V_INLINE Vf vmin(Vf a, Vf b) { return _mm256_min_ps(a, b); }
D2V_INLINE Vf vabs(Vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
D2V_INLINE Vf vsqrt(Vf a) { return _mm256_sqrt_ps(a); }
D2V_INLINE Vf vround(Vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
D2V_INLINE Vf vselectGe(Vf a, Vf b, Vf x, Vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GE_OQ)); }
D2V_INLINE Vf vpow2(Vf n) {
  const __m256i i = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(i, 23));
}
D2V_INLINE Vf vcopysign(Vf a, Vf b) {
  const __m256 m = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(m, a), _mm256_and_ps(m, b));
}
D2V_INLINE float vsum(Vf v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
D2V_INLINE float vmaxOf(Vf v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#else

constexpr int kLanes = 4;
typedef float Vf __attribute__((vector_size(16)));
typedef int32_t Vi __attribute__((vector_size(16)));

D2V_INLINE Vf vset(float x) { return Vf{x, x, x, x}; }
D2V_INLINE Vf vzero() { return Vf{0, 0, 0, 0}; }
D2V_INLINE Vf vload(const float* p) {
  Vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
D2V_INLINE void vstore(float* p, Vf v) { std::memcpy(p, &v, sizeof v); }
D2V_INLINE Vf vloadN(const float* p, int64_t n) {
  Vf v = vzero();
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
D2V_INLINE void vstoreN(float* p, Vf v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}
D2V_INLINE Vf vfma(Vf a, Vf b, Vf c) { return a * b + c; }
D2V_INLINE Vf vmax(Vf a, Vf b) { return a > b ? a : b; }
D2V_INLINE Vf vmin(Vf a, Vf b) { return a < b ? a : b; }
D2V_INLINE Vf vabs(Vf a) { return reinterpret_cast<Vf>(reinterpret_cast<Vi>(a) & 0x7fffffff); }
D2V_INLINE Vf vsqrt(Vf a) {
  for (int i = 0; i < kLanes; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
/// Nearest integer, for |a| < 2^22.
D2V_INLINE Vf vround(Vf a) {
  const Vf magic = vset(12582912.0f);
  return (a + magic) - magic;
}
D2V_INLINE Vf vselectGe(Vf a, Vf b, Vf x, Vf y) { return a >= b ? x : y; }
D2V_INLINE Vf vpow2(Vf n) {
  return reinterpret_cast<Vf>((__builtin_convertvector(n, Vi) + 127) << 23);
}
D2V_INLINE Vf vcopysign(Vf a, Vf b) {
  return reinterpret_cast<Vf>((reinterpret_cast<Vi>(a) & 0x7fffffff) | (reinterpret_cast<Vi>(b) & INT32_MIN));
}
D2V_INLINE float vsum(Vf v) { return (v[0] + v[2]) + (v[1] + v[3]); }
D2V_INLINE float vmaxOf(Vf v) {
  const float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
  return a > b ? a : b;
}

#endif

/// Calls body(i, load, store) for every vector of a row of n floats; the two functions move that vector, or the
/// tail of the row, from and to a pointer to the row's start.
template <typename Body>
D2V_INLINE void forVectors(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    body([i](const float* p) D2V_LAMBDA { return vload(p + i); }, [i](float* p, Vf v) D2V_LAMBDA { vstore(p + i, v); });
  }
  if (i < n) {
    const int64_t tail = n - i;
    body([i, tail](const float* p) D2V_LAMBDA { return vloadN(p + i, tail); },
         [i, tail](float* p, Vf v) D2V_LAMBDA { vstoreN(p + i, v, tail); });
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
