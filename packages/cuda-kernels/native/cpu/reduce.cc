// Sums and means. The order of additions is fixed by the sizes, never by the number of threads.
#include "loops.h"

namespace d2v {
namespace D2V_ISA {

namespace {

/// Sum of f(x[i]) in double over [begin, end): 32 sums side by side, so that additions do not wait for each other.
template <typename F>
double wideSum(const float* x, int64_t begin, int64_t end, const F& f) {
  constexpr int64_t lanes = 32;
  double sums[lanes] = {};
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
#pragma omp simd
    for (int64_t l = 0; l < lanes; ++l) sums[l] += f(static_cast<double>(x[i + l]));
  }
  for (int64_t l = 0; i + l < end; ++l) sums[l] += f(static_cast<double>(x[i + l]));
  for (int64_t half = lanes / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half; ++l) sums[l] += sums[l + half];
  }
  return sums[0];
}

double sumOf(Allocator& memory, const float* x, int64_t n) {
  return chunkedSum(memory, n, kChunk, [=](int64_t begin, int64_t end) {
    return wideSum(x, begin, end, [](double v) { return v; });
  });
}

}  // namespace

void CpuBackend::sum(In x, int64_t n, double* result) { *result = sumOf(memory_, x, n); }

void CpuBackend::sumSquares(In x, int64_t n, double* result) {
  const float* in = x;
  *result = chunkedSum(memory_, n, kChunk, [=](int64_t begin, int64_t end) {
    return wideSum(in, begin, end, [](double v) { return v * v; });
  });
}

void CpuBackend::sumTo(In x, Out y, int64_t outer, int64_t inner) {
  const float* in = x;
  float* out = y;
  if (inner == 1) {
    out[0] = static_cast<float>(sumOf(memory_, in, outer));
    return;
  }
  // Rows are summed in chunks, then the chunks: short chains of additions keep rounding small.
  const int64_t chunk = std::max<int64_t>(16, rowGrain(inner));
  const int64_t parts = (outer + chunk - 1) / chunk;
  Workspace partial(memory_, static_cast<size_t>(parts * inner) * sizeof(float));
  float* sums = partial.floats();
  parallelChunks(outer, chunk, [=](int64_t part, int64_t begin, int64_t end) {
    float* s = sums + part * inner;
    std::copy(in + begin * inner, in + (begin + 1) * inner, s);
    for (int64_t row = begin + 1; row < end; ++row) {
      const float* from = in + row * inner;
#pragma omp simd
      for (int64_t i = 0; i < inner; ++i) s[i] += from[i];
    }
  });
  parallelFor(inner, rowGrain(parts), [=](int64_t begin, int64_t end) {
    std::copy(sums + begin, sums + end, out + begin);
    for (int64_t part = 1; part < parts; ++part) {
      const float* s = sums + part * inner;
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) out[i] += s[i];
    }
  });
}

void CpuBackend::meanTokens(In x, Out y, int64_t b, int64_t t, int64_t d, int64_t skip) {
  const float* in = x;
  float* out = y;
  const float factor = static_cast<float>(1.0 / static_cast<double>(t - skip));
  parallelBlocks(b, d, 256, [=](int64_t sample, int64_t first, int64_t columns) {
    const float* from = in + sample * t * d + first;
    float* to = out + sample * d + first;
    std::fill(to, to + columns, 0.0f);
    for (int64_t i = skip; i < t; ++i) {
      const float* row = from + i * d;
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) to[c] += row[c];
    }
    for (int64_t c = 0; c < columns; ++c) to[c] *= factor;
  });
}

void CpuBackend::meanTokensBackward(In dy, Out dx, int64_t b, int64_t t, int64_t d, int64_t skip) {
  const float* g = dy;
  float* out = dx;
  const float factor = static_cast<float>(1.0 / static_cast<double>(t - skip));
  parallelFor(b * t, rowGrain(d), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float scale = row % t < skip ? 0.0f : factor;
      const float* from = g + row / t * d;
      float* to = out + row * d;
#pragma omp simd
      for (int64_t c = 0; c < d; ++c) to[c] = scale * from[c];
    }
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
