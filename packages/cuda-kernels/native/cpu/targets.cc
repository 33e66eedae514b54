// The running target, and losses with their gradients in the same pass.
#include <cmath>

#include "loops.h"
#include "vec_math.h"

namespace d2v {
namespace D2V_ISA {

namespace {

/// acc[i] += factor * (x[i] - mean[i]) * rstd[i] for `rows` rows of `columns` channels, d apart, normalised per channel
/// over the rows of all samples, `sampleStride` and `accStride` apart.
void normaliseColumns(float* acc, const float* x, int64_t samples, int64_t accStride, int64_t sampleStride,
                      int64_t rows, int64_t columns, int64_t d, float factor, float eps) {
  constexpr int64_t widest = 128;
  float mean[widest] = {}, scale[widest] = {};
  const float inverse = 1.0f / static_cast<float>(samples * rows);
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = x + s * sampleStride + i * d;
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) mean[c] += row[c];
    }
  }
  for (int64_t c = 0; c < columns; ++c) mean[c] *= inverse;
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = x + s * sampleStride + i * d;
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) scale[c] += (row[c] - mean[c]) * (row[c] - mean[c]);
    }
  }
  for (int64_t c = 0; c < columns; ++c) scale[c] = factor / std::sqrt(scale[c] * inverse + eps);
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = x + s * sampleStride + i * d;
      float* to = acc + s * accStride + i * d;
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) to[c] += (row[c] - mean[c]) * scale[c];
    }
  }
}

void normaliseRow(float* acc, const float* x, int64_t d, float factor, float eps) {
  float mean = 0, variance = 0;
#pragma omp simd reduction(+ : mean)
  for (int64_t c = 0; c < d; ++c) mean += x[c];
  mean /= static_cast<float>(d);
#pragma omp simd reduction(+ : variance)
  for (int64_t c = 0; c < d; ++c) variance += (x[c] - mean) * (x[c] - mean);
  const float scale = factor / std::sqrt(variance / static_cast<float>(d) + eps);
#pragma omp simd
  for (int64_t c = 0; c < d; ++c) acc[c] += (x[c] - mean) * scale;
}

}  // namespace

void CpuBackend::accumulateTarget(float* acc, In layer, int64_t b, int64_t t, int64_t d, int64_t skip, TargetNorm norm,
                                  double scale, double eps) {
  const float* x = static_cast<const float*>(layer) + skip * d;
  const int64_t stride = (skip + t) * d;
  const float factor = static_cast<float>(scale), epsilon = static_cast<float>(eps);
  if (norm == TargetNorm::Instance) {
    parallelBlocks(b, d, 128, [=](int64_t sample, int64_t first, int64_t columns) {
      normaliseColumns(acc + sample * t * d + first, x + sample * stride + first, 1, 0, 0, t, columns, d, factor,
                       epsilon);
    });
    return;
  }
  if (norm == TargetNorm::Batch) {
    parallelBlocks(1, d, 64, [=](int64_t, int64_t first, int64_t columns) {
      normaliseColumns(acc + first, x + first, b, t * d, stride, t, columns, d, factor, epsilon);
    });
    return;
  }
  parallelFor(b * t, rowGrain(2 * d), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row / t * stride + row % t * d;
      float* to = acc + row * d;
      if (norm == TargetNorm::Layer) {
        normaliseRow(to, from, d, factor, epsilon);
      } else {
#pragma omp simd
        for (int64_t c = 0; c < d; ++c) to[c] += factor * from[c];
      }
    }
  });
}

void CpuBackend::maskedLoss(const MaskedLossArgs& a) {
  const float *pred = a.pred, *target = a.target;
  float* dpred = a.dpred;
  const int32_t* ids = a.ids;
  const int64_t copies = a.rows / a.samples, n = a.n, d = a.d, t = a.t;
  const float beta = static_cast<float>(a.beta);
  const float slope = static_cast<float>(a.scale * a.gradScale);
  const double total = chunkedSum(memory_, a.rows * n, rowGrain(d), [=](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t row = begin; row < end; ++row) {
      const float* p = pred + row * d;
      const float* y = target + (row / n / copies * t + ids[row]) * d;
      float* g = dpred + row * d;
      double s = 0;
      if (beta == 0) {
        const float twice = 2 * slope;
#pragma omp simd reduction(+ : s)
        for (int64_t c = 0; c < d; ++c) {
          const float diff = p[c] - y[c];
          s += static_cast<double>(diff) * static_cast<double>(diff);
          g[c] = twice * diff;
        }
      } else {
        const float inverse = 1 / beta, half = 0.5f * beta, steep = slope * inverse;
#pragma omp simd reduction(+ : s)
        for (int64_t c = 0; c < d; ++c) {
          const float diff = p[c] - y[c], size = std::fabs(diff);
          const bool inside = size < beta;
          const float element = inside ? 0.5f * diff * diff * inverse : size - half;
          const float sign = diff > 0 ? slope : -slope;
          s += static_cast<double>(element);
          g[c] = inside ? steep * diff : (diff == diff ? sign : diff);
        }
      }
      sum += s;
    }
    return sum;
  });
  *a.loss = total * a.scale;
}

void CpuBackend::featureStd(In x, const int32_t* ids, int64_t b, int64_t t, int64_t rows, int64_t n, int64_t d,
                            double* result) {
  constexpr int64_t block = 64;
  const float* in = x;
  const int64_t all = rows * n, copies = rows / b;
  const int64_t blocks = (d + block - 1) / block;
  Workspace partial(memory_, static_cast<size_t>(blocks) * sizeof(double));
  double* sums = partial.as<double>();
  parallelBlocks(1, d, block, [=](int64_t, int64_t first, int64_t columns) {
    double mean[block] = {}, square[block] = {};
    const auto rowAt = [=](int64_t i) {
      return in + (ids == nullptr ? i : i / n / copies * t + ids[i]) * d + first;
    };
    for (int64_t i = 0; i < all; ++i) {
      const float* row = rowAt(i);
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) mean[c] += static_cast<double>(row[c]);
    }
    for (int64_t c = 0; c < columns; ++c) mean[c] /= static_cast<double>(all);
    for (int64_t i = 0; i < all; ++i) {
      const float* row = rowAt(i);
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) {
        const double diff = static_cast<double>(row[c]) - mean[c];
        square[c] += diff * diff;
      }
    }
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += std::sqrt(square[c] / static_cast<double>(all - 1) + 1e-6);
    sums[first / block] = sum;
  });
  double total = 0;
  for (int64_t i = 0; i < blocks; ++i) total += sums[i];
  *result = total / static_cast<double>(d);
}

void CpuBackend::crossEntropy(In logits, const int32_t* labels, Out dlogits, double* result, int64_t n, int64_t c,
                              double smoothing, int64_t ignore, double gradScale) {
  // Target probabilities: smoothing / c everywhere, and 1 - smoothing more at the label.
  const float* in = logits;
  float* out = dlogits;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += labels[i] != ignore;
  result[1] = static_cast<double>(count);
  const float scale = static_cast<float>(gradScale), even = static_cast<float>(smoothing / static_cast<double>(c));
  const float peak = static_cast<float>(1 - smoothing);
  result[0] = chunkedSum(memory_, n, rowGrain(4 * c), [=](int64_t begin, int64_t end) {
    double total = 0;
    for (int64_t row = begin; row < end; ++row) {
      const float* x = in + row * c;
      float* g = out + row * c;
      if (labels[row] == ignore) {
        std::fill(g, g + c, 0.0f);
        continue;
      }
      float most = x[0];
      for (int64_t i = 1; i < c; ++i) most = x[i] > most ? x[i] : most;
      double sum = 0, all = 0;
      int64_t i = 0;
      for (; i < c; i += kLanes) {
        const int64_t count = c - i < kLanes ? c - i : kLanes;
        float e[kLanes];
        vstore(e, vexpSmall(vloadN(x + i, count < kLanes ? count : kLanes) - vset(most)));
        for (int64_t j = 0; j < count; ++j) {
          g[i + j] = e[j];
          sum += static_cast<double>(e[j]);
          all += static_cast<double>(x[i + j]) - static_cast<double>(most);
        }
      }
      const double logSum = std::log(sum);
      const double atLabel = static_cast<double>(x[labels[row]]) - static_cast<double>(most) - logSum;
      total -= (1 - smoothing) * atLabel;
      if (smoothing > 0) {
        total -= smoothing / static_cast<double>(c) * (all - static_cast<double>(c) * logSum);
      }
      const float inverse = static_cast<float>(1 / sum);
#pragma omp simd
      for (int64_t k = 0; k < c; ++k) g[k] = scale * (g[k] * inverse - even);
      g[labels[row]] -= scale * peak;
    }
    return total;
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
