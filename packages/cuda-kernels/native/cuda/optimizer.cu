// Clipping, Adam and the moving average: one pass over the arenas, bound by memory. A launch per range of weights with settings
// of their own (with and without decay, with and without a teacher: four in a `base` model).
//
// Per weight, Adam reads p, g, m, v and writes p, m, v (28 bytes), 4 more with the gradient set to zero and 8 with the
// teacher's average. All of it in pieces of 16 bytes: five loads of a thread are under way at once.
#include <cmath>
#include <type_traits>

#include "cuda_backend.h"
#include "operands.h"

namespace d2v::cuda {

namespace {

struct Coefficients {
  float gradScale, beta1, rest1, beta2, rest2, decay, step, eps, ema, restEma;
};

template <int N, bool Zero, bool Teacher>
D2V_KERNEL(kLoopThreads)
adamKernel(float* p, float* g, float* m, float* v, float* teacher, int64_t n, Coefficients k, const double* control) {
  const bool applied = control == nullptr || control[kGradApplied] != 0;
  if (!applied && !Zero) return;
  const float gradScale = control == nullptr ? k.gradScale : static_cast<float>(control[kGradFactor]);
  forPieces<N>(n, [&](int64_t i, auto width) {
    if (applied) {
      float weights[width], gradients[width], means[width], squares[width];
      [[maybe_unused]] float averages[width];
      load(gradients, g + i);
      load(means, m + i);
      load(squares, v + i);
      load(weights, p + i);
      if constexpr (Teacher) load(averages, teacher + i);
#pragma unroll
      for (int e = 0; e < width; ++e) {
        const float grad = gradients[e] * gradScale;
        means[e] = means[e] * k.beta1 + k.rest1 * grad;
        squares[e] = squares[e] * k.beta2 + k.rest2 * (grad * grad);
        const float decayed = weights[e] - k.decay * weights[e];
        weights[e] = decayed - k.step * (means[e] / (sqrtf(squares[e]) + k.eps));
        if constexpr (Teacher) averages[e] = averages[e] * k.ema + k.restEma * weights[e];
      }
      store(m + i, means);
      store(v + i, squares);
      store(p + i, weights);
      if constexpr (Teacher) store(teacher + i, averages);
    }
    if constexpr (Zero) {
      const float zeros[width] = {};
      store(g + i, zeros);
    }
  });
}

template <int N>
D2V_KERNEL(kLoopThreads)
emaKernel(float* teacher, const float* student, float keep, float rest, int64_t n, const double* control) {
  if (control != nullptr && control[kGradApplied] == 0) return;
  forPieces<N>(n, [&](int64_t i, auto width) {
    float averages[width], weights[width];
    load(averages, teacher + i);
    load(weights, student + i);
#pragma unroll
    for (int e = 0; e < width; ++e) averages[e] = averages[e] * keep + rest * weights[e];
    store(teacher + i, averages);
  });
}

/// A handful of numbers: one thread.
D2V_KERNEL(kWarp)
controlKernel(const double* squares, int64_t nSquares, const double* losses, int64_t nLosses, double gradScale,
              double clipNorm, double* control) {
  if (threadX() != 0) return;
  double sum = 0;
  for (int64_t i = 0; i < nSquares; ++i) sum += squares[i];
  const double norm = sqrt(sum) * gradScale;
  // x - x is 0 for finite numbers and NaN else.
  bool applied = norm - norm == 0;
  for (int64_t i = 0; i < nLosses; ++i) applied = applied && losses[i] - losses[i] == 0;
  const double ratio = clipNorm / (norm + 1e-6);
  control[kGradNorm] = norm;
  control[kGradFactor] = gradScale * (clipNorm > 0 && ratio < 1 ? ratio : 1.0);
  control[kGradApplied] = applied ? 1 : 0;
}

/// Calls body(width, zero, teacher), all constants.
template <typename Body>
void withAdamKernel(bool wide, bool zero, bool teacher, const Body& body) {
  const auto withWidth = [&](auto z, auto t) {
    if (wide) body(Width<4>(), z, t);
    else body(Width<1>(), z, t);
  };
  const auto withTeacher = [&](auto z) {
    if (teacher) withWidth(z, std::true_type());
    else withWidth(z, std::false_type());
  };
  if (zero) withTeacher(std::true_type());
  else withTeacher(std::false_type());
}

}  // namespace

void CudaBackend::gradControl(const double* squares, int64_t nSquares, const double* losses, int64_t nLosses,
                              double gradScale, double clipNorm, double* control) {
  launch(controlKernel, Grid{1}, kWarp, 0, stream_, squares, nSquares, losses, nLosses, gradScale, clipNorm, control);
}

void CudaBackend::adam(const AdamArgs& a) {
  Coefficients c;
  c.gradScale = static_cast<float>(a.gradScale);
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
  const bool wide = allAligned({a.p, a.g, a.m, a.v, teacher ? a.teacher : nullptr}, 16);
  withAdamKernel(wide, a.zeroGrad, teacher, [&](auto width, auto zero, auto average) {
    launch(adamKernel<width, zero, average>, loopGrid(a.n / width, properties_), kLoopThreads, 0, stream_, a.p, a.g, a.m,
           a.v, a.teacher, a.n, c, a.control);
  });
}

void CudaBackend::ema(float* teacher, const float* student, double decay, int64_t n, const double* control) {
  if (decay >= 1) return;
  const float keep = static_cast<float>(decay), rest = static_cast<float>(1 - decay);
  if (allAligned({teacher, student}, 16)) {
    launch(emaKernel<4>, loopGrid(n / 4, properties_), kLoopThreads, 0, stream_, teacher, student, keep, rest, n,
           control);
  } else {
    launch(emaKernel<1>, loopGrid(n, properties_), kLoopThreads, 0, stream_, teacher, student, keep, rest, n, control);
  }
}

}  // namespace d2v::cuda
