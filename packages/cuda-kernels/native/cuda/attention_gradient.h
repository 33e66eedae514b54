// What both ways of attention's backward pass share: where gradients of slopes and of the bias are gathered, and the
// passes that sum them, always in the same order.
#pragma once

#include <algorithm>

#include "../storage.h"
#include "attention_terms.h"
#include "launch.h"

namespace d2v::cuda {

/// dBias of the samples from `firstBatch` on, [.., heads, tq, tk]; null when it is not wanted.
struct BiasGradient {
  float* data;
  int64_t firstBatch;
  D2V_DEVICE float* of(const AttentionTerms& t, const AttentionHead& head) const {
    return data + ((head.b - firstBatch) * t.heads + head.h) * t.tq * t.tk;
  }
};

/// dSlopes[h] = -sum of parts[b, h, 0..each); one warp per head.
D2V_KERNEL(kWarp) sumSlopes(const float* parts, float* dSlopes, int64_t batch, int64_t heads, int64_t each) {
  const int64_t h = blockX();
  double sum = 0;
  for (int64_t i = lane(); i < batch * each; i += kWarp) {
    sum += static_cast<double>(parts[(i / each * heads + h) * each + i % each]);
  }
  sum = warpSum(sum);
  if (lane() == 0) dSlopes[h] = static_cast<float>(-sum);
}

/// y[i] (= or +=) sum over samples of x[b, i].
D2V_KERNEL(256) sumSamples(const float* x, float* y, int64_t samples, int64_t n, bool add) {
  const int64_t i = static_cast<int64_t>(blockX()) * threadCount() + threadX();
  if (i >= n) return;
  float sum = add ? y[i] : 0.0f;
  for (int64_t b = 0; b < samples; ++b) sum += x[b * n + i];
  y[i] = sum;
}

/// Calls run(firstBatch, samples, BiasGradient) for the whole batch. A bias gradient that samples share is gathered per
/// sample in scratch memory and summed in their order; in groups of samples, so that the scratch memory stays bounded.
template <typename Run>
void forSamples(const AttentionShape& s, float* dBias, Allocator& memory, Stream stream, const Run& run) {
  if (!dBias || s.biasBatchStride != 0) {
    run(0, s.batch, BiasGradient{dBias, 0});
    return;
  }
  constexpr int64_t kScratch = int64_t{1} << 26;  // elements
  const int64_t n = s.heads * s.tq * s.tk, group = std::clamp<int64_t>(kScratch / n, 1, s.batch);
  const Workspace parts(memory, static_cast<size_t>(group * n) * sizeof(float));
  for (int64_t b = 0; b < s.batch; b += group) {
    const int64_t samples = std::min(group, s.batch - b);
    run(b, samples, BiasGradient{parts.floats(), b});
    launch(sumSamples, {blocksFor(n, 256)}, 256, 0, stream, parts.floats(), dBias, samples, n, b > 0);
  }
}

/// The subtrahend of scores in powers of two: log2 sum exp2; infinite for a query without keys, whose probabilities
/// become 0.
D2V_DEVICE float backwardShift(float lse) { return lse == -kInfinity ? kInfinity : lse * kLog2e; }

}  // namespace d2v::cuda
