// Losses with their gradients in the same pass; the loss is summed in f64 in a fixed order: lanes, warps, blocks, then one
// block over the parts of all blocks (ordered_sum.h).
//
// maskedLoss is bound by memory and touches masked positions only: 8 bytes per element of the prediction in bf16 (pred 2,
// target 4, dpred 2), of which the target's are shared by the copies of a sample and mostly come from the second-level cache.
// A warp per row; a lane's few elements of one row are added in f32 (an error of 1e-7), all else in f64.
//
// crossEntropy: a block per row, which reads it once from memory and twice more from cache. 4 bytes per logit.
#include "cuda_backend.h"
#include "launch.h"
#include "ordered_sum.h"
#include "rows.h"

namespace d2v::cuda {

namespace {

constexpr int kLossThreads = 256, kLossWarps = kLossThreads / kWarp;

template <typename T>
struct Masked {
  const T* pred;
  const float* target;
  const int32_t* ids;
  T* dpred;
  int64_t rows, perSample, t, d;  // rows of pred in all, and of one sample
  float beta, slope;
};

/// parts[block] = sum of the block's element losses.
template <typename T, int N>
D2V_KERNEL(kLossThreads)
maskedLossRows(Masked<T> a, double* parts) {
  constexpr int steps = N > 1 ? 24 / N : 8;
  const float inverse = a.beta > 0 ? 1 / a.beta : 0, half = 0.5f * a.beta;
  const float inside = a.beta > 0 ? a.slope * inverse : 2 * a.slope, square = a.beta > 0 ? 0.5f * inverse : 1;
  double total = 0;
  for (int64_t row = static_cast<int64_t>(blockX()) * kLossWarps + warp(); row < a.rows;
       row += static_cast<int64_t>(gridX()) * kLossWarps) {
    const T* pred = a.pred + row * a.d;
    const float* target = a.target + (row / a.perSample * a.t + a.ids[row]) * a.d;
    T* dpred = a.dpred + row * a.d;
    float sum = 0;
    for (int64_t tile = 0; tile < a.d; tile += steps * kWarp * N) {
      float p[steps][N], y[steps][N];
#pragma unroll
      for (int s = 0; s < steps; ++s) {
        const int64_t c = tile + pieceAt<N>(s);
        if (c < a.d) {
          load(p[s], pred + c);
          load(y[s], target + c);
        }
      }
#pragma unroll
      for (int s = 0; s < steps; ++s) {
        const int64_t c = tile + pieceAt<N>(s);
        if (c >= a.d) break;
#pragma unroll
        for (int i = 0; i < N; ++i) {
          const float diff = p[s][i] - y[s][i], size = fabsf(diff);
          if (a.beta == 0 || size < a.beta) {
            sum = fmaf(square * diff, diff, sum);
            p[s][i] = inside * diff;
          } else {
            sum += size - half;
            p[s][i] = diff == diff ? (diff > 0 ? a.slope : -a.slope) : diff;
          }
        }
        store(dpred + c, p[s]);
      }
    }
    total += static_cast<double>(sum);
  }
  total = blockSum(total, shared<double>());
  if (threadX() == 0) parts[blockX()] = total;
}

D2V_DEVICE float blockMax(float value, float* scratch) {
  value = warpMax(value);
  syncThreads();
  if (lane() == 0) scratch[warp()] = value;
  syncThreads();
  return warpMax(scratch[lane() < kLossWarps ? lane() : 0]);
}

template <typename T>
struct Entropy {
  const T* logits;
  const int32_t* labels;
  T* dlogits;
  int64_t n, c, ignore;
  double smoothing;
  float scale;
};

/// losses[row] of a block per row. Target probabilities: smoothing / c everywhere, and 1 - smoothing more at the label.
template <typename T>
D2V_KERNEL(kLossThreads)
crossEntropyRow(Entropy<T> a, double* losses) {
  const int64_t row = blockX();
  const T* x = a.logits + row * a.c;
  T* g = a.dlogits + row * a.c;
  const int32_t label = a.labels[row];
  if (label == a.ignore) {
    for (int64_t i = threadX(); i < a.c; i += kLossThreads) g[i] = fromFloat<T>(0.0f);
    if (threadX() == 0) losses[row] = 0;
    return;
  }
  float most = toFloat(x[0]);
  for (int64_t i = threadX(); i < a.c; i += kLossThreads) most = fmaxf(most, toFloat(x[i]));
  most = blockMax(most, shared<float>());
  double sum = 0, all = 0;
  for (int64_t i = threadX(); i < a.c; i += kLossThreads) {
    const float v = toFloat(x[i]);
    sum += static_cast<double>(expf(v - most));
    all += static_cast<double>(v) - static_cast<double>(most);
  }
  sum = blockSum(sum, shared<double>());
  all = blockSum(all, shared<double>());
  if (threadX() == 0) {
    const double logSum = log(sum);
    double loss = -(1 - a.smoothing) * (static_cast<double>(toFloat(x[label])) - static_cast<double>(most) - logSum);
    if (a.smoothing > 0) loss -= a.smoothing / static_cast<double>(a.c) * (all - static_cast<double>(a.c) * logSum);
    losses[row] = loss;
  }
  const float inverse = static_cast<float>(1 / sum), even = static_cast<float>(a.smoothing / static_cast<double>(a.c));
  const float peak = static_cast<float>(1 - a.smoothing);
  for (int64_t i = threadX(); i < a.c; i += kLossThreads) {
    const float probability = expf(toFloat(x[i]) - most) * inverse;
    g[i] = fromFloat<T>(a.scale * (probability - even - (i == label ? peak : 0.0f)));
  }
}

/// *count = labels that are not `ignore`.
D2V_KERNEL(kLossThreads) countLabels(double* count, const int32_t* labels, int64_t n, int64_t ignore) {
  double sum = 0;
  for (int64_t i = threadX(); i < n; i += kLossThreads) sum += labels[i] != ignore ? 1.0 : 0.0;
  sum = blockSum(sum, shared<double>());
  if (threadX() == 0) *count = sum;
}

constexpr size_t kLossShared = kLossWarps * sizeof(double);

}  // namespace

void CudaBackend::maskedLoss(const MaskedLossArgs& a) {
  forFloatType(a.pred.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Masked<T> m{typed<T>(a.pred, "maskedLoss: pred"),
                      a.target,
                      a.ids,
                      typed<T>(a.dpred, "maskedLoss: dpred"),
                      a.rows * a.n,
                      a.rows / a.samples * a.n,
                      a.t,
                      a.d,
                      static_cast<float>(a.beta),
                      static_cast<float>(a.scale * a.gradScale)};
    const bool wide = fitsWide(m.pred, m.d) && fitsWide(m.target, m.d) && fitsWide(m.dpred, m.d);
    const int64_t needed = blocksFor(m.rows, kLossWarps), most = int64_t{4} * properties_.multiprocessors;
    const int64_t blocks = needed < most ? needed : most;
    const Workspace parts(memory_, static_cast<size_t>(blocks) * sizeof(double));
    launch(wide ? maskedLossRows<T, kWide<T>> : maskedLossRows<T, 1>, Grid{blocks}, kLossThreads, kLossShared, stream_,
           m, parts.as<double>());
    launchOrderedSum(a.loss, parts.as<double>(), blocks, a.scale, stream_);
  });
}

void CudaBackend::crossEntropy(In logits, const int32_t* labels, Out dlogits, double* result, int64_t n, int64_t c,
                               double smoothing, int64_t ignore, double gradScale) {
  forFloatType(logits.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Entropy<T> a{typed<T>(logits, "crossEntropy: logits"),
                       labels,
                       typed<T>(dlogits, "crossEntropy: dlogits"),
                       n,
                       c,
                       ignore,
                       smoothing,
                       static_cast<float>(gradScale)};
    const Workspace losses(memory_, static_cast<size_t>(n) * sizeof(double));
    launch(crossEntropyRow<T>, Grid{n}, kLossThreads, kLossShared, stream_, a, losses.as<double>());
    launchOrderedSum(result, losses.as<double>(), n, 1.0, stream_);
  });
  launch(countLabels, Grid{}, kLossThreads, kLossShared, stream_, result + 1, labels, n, ignore);
}

}  // namespace d2v::cuda
