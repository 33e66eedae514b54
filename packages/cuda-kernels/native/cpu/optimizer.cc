// Clipping, Adam and the moving average: one pass over the arenas, bound by memory bandwidth.
#include <algorithm>
#include <cmath>

#include "loops.h"

namespace d2v {
namespace D2V_ISA {

namespace {

struct Coefficients {
  float gradScale, beta1, rest1, beta2, rest2, decay, step, eps, ema, restEma;
};

template <bool Zero, bool Teacher>
void adamRange(const Coefficients& c, float* __restrict p, float* __restrict g, float* __restrict m,
               float* __restrict v, float* __restrict teacher, int64_t n) {
  const Coefficients k = c;  // a copy, so that stores cannot change it
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float grad = g[i] * k.gradScale;
    const float m1 = m[i] * k.beta1 + k.rest1 * grad;
    const float v1 = v[i] * k.beta2 + k.rest2 * (grad * grad);
    m[i] = m1;
    v[i] = v1;
    const float decayed = p[i] - k.decay * p[i];
    const float next = decayed - k.step * (m1 / (std::sqrt(v1) + k.eps));
    p[i] = next;
    if constexpr (Zero) g[i] = 0;
    if constexpr (Teacher) teacher[i] = teacher[i] * k.ema + k.restEma * next;
  }
}

}  // namespace

void CpuBackend::gradControl(const double* squares, int64_t nSquares, const double* losses, int64_t nLosses,
                             double gradScale, double clipNorm, double* control) {
  double sum = 0;
  for (int64_t i = 0; i < nSquares; ++i) sum += squares[i];
  const double norm = std::sqrt(sum) * gradScale;
  const bool applied = std::isfinite(norm) && std::all_of(losses, losses + nLosses, [](double loss) {
    return std::isfinite(loss);
  });
  const double clip = clipNorm > 0 ? std::min(1.0, clipNorm / (norm + 1e-6)) : 1;
  control[kGradNorm] = norm;
  control[kGradFactor] = gradScale * clip;
  control[kGradApplied] = applied ? 1 : 0;
}

void CpuBackend::adam(const AdamArgs& a) {
  if (a.control != nullptr && a.control[kGradApplied] == 0) {
    if (a.zeroGrad) fill(a.g, DType::F32, 0, a.n);
    return;
  }
  Coefficients c;
  c.gradScale = static_cast<float>(a.control != nullptr ? a.control[kGradFactor] : a.gradScale);
  c.beta1 = static_cast<float>(a.beta1);
  c.rest1 = static_cast<float>(1 - a.beta1);
  c.beta2 = static_cast<float>(a.beta2);
  c.rest2 = static_cast<float>(1 - a.beta2);
  c.decay = static_cast<float>(a.lr * a.weightDecay);
  const double step = static_cast<double>(a.step);
  c.step = static_cast<float>(a.lr * std::sqrt(1 - std::pow(a.beta2, step)) / (1 - std::pow(a.beta1, step)));
  c.eps = static_cast<float>(a.eps);
  c.ema = static_cast<float>(a.emaDecay);
  c.restEma = static_cast<float>(1 - a.emaDecay);
  const bool teacher = a.teacher != nullptr && a.emaDecay < 1;
  parallelFor(a.n, kGrain, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    float *p = a.p + begin, *g = a.g + begin, *m = a.m + begin, *v = a.v + begin;
    if (a.zeroGrad && teacher) adamRange<true, true>(c, p, g, m, v, a.teacher + begin, n);
    else if (a.zeroGrad) adamRange<true, false>(c, p, g, m, v, nullptr, n);
    else if (teacher) adamRange<false, true>(c, p, g, m, v, a.teacher + begin, n);
    else adamRange<false, false>(c, p, g, m, v, nullptr, n);
  });
}

void CpuBackend::ema(float* teacher, const float* student, double decay, int64_t n, const double* control) {
  if (decay >= 1 || (control != nullptr && control[kGradApplied] == 0)) return;
  const float keep = static_cast<float>(decay), rest = static_cast<float>(1 - decay);
  parallelFor(n, kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) teacher[i] = teacher[i] * keep + rest * student[i];
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
