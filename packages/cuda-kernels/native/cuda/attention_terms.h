// What both passes of attention share: the problem as kernels see it, and what is added to q.k: bias, ALiBi, key padding,
// dropout. Scores are kept in powers of two: score2 = score * log2(e), so that a probability is one ex2.
#pragma once

#include <limits>

#include "../backend.h"
#include "device.h"

namespace d2v::cuda {

constexpr float kLog2e = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

D2V_BOTH constexpr int smaller(int a, int b) { return a < b ? a : b; }

/// AttentionShape with what follows from it. `bh` counts (sample, head) pairs, heads fastest.
struct AttentionTerms {
  int heads, headDim, tq, tk;
  int64_t ldq, ldk, ldo;  // row strides of q and dq; of k, v, dk and dv; of out and dout
  float scale, scale2;    // scale2 = scale * log2(e)
  const uint8_t* keyPadding;
  const float* slopes;
  const int32_t* positionsQ;
  const int32_t* positionsK;
  int positionDims;
  bool euclidean;
  const float* bias;
  int64_t biasBatchStride;
  bool drops;
  uint32_t dropThreshold;
  float keepScale;  // 1 without dropout
  RngKey key;
};

inline AttentionTerms termsOf(const AttentionShape& s) {
  AttentionTerms t{};
  t.heads = static_cast<int>(s.heads);
  t.headDim = static_cast<int>(s.headDim);
  t.tq = static_cast<int>(s.tq);
  t.tk = static_cast<int>(s.tk);
  t.ldq = s.ldq;
  t.ldk = s.ldk;
  t.ldo = s.heads * s.headDim;
  t.scale = s.scale;
  t.scale2 = s.scale * kLog2e;
  t.keyPadding = s.keyPadding;
  t.slopes = s.slopes;
  t.positionsQ = s.positionsQ;
  t.positionsK = s.positionsK;
  t.positionDims = static_cast<int>(s.positionDims);
  t.euclidean = s.euclidean;
  t.bias = s.bias;
  t.biasBatchStride = s.biasBatchStride;
  t.drops = s.dropout > 0;
  t.dropThreshold = dropThreshold(s.dropout);
  t.keepScale = static_cast<float>(1.0 / (1.0 - s.dropout));
  t.key = s.key;
  return t;
}

/// One head of one sample, where its rows begin.
struct AttentionHead {
  int b, h;
  int64_t bh;
  D2V_DEVICE AttentionHead(const AttentionTerms& t, int64_t index)
      : b(static_cast<int>(index / t.heads)), h(static_cast<int>(index % t.heads)), bh(index) {}
  D2V_DEVICE int64_t query(const AttentionTerms& t) const { return int64_t{b} * t.tq * t.ldq + h * t.headDim; }
  D2V_DEVICE int64_t key(const AttentionTerms& t) const { return int64_t{b} * t.tk * t.ldk + h * t.headDim; }
  D2V_DEVICE int64_t output(const AttentionTerms& t) const { return int64_t{b} * t.tq * t.ldo + h * t.headDim; }
  D2V_DEVICE const float* bias(const AttentionTerms& t) const {
    return t.bias + b * t.biasBatchStride + int64_t{h} * t.tq * t.tk;
  }
  D2V_DEVICE const int32_t* pointQ(const AttentionTerms& t, int i) const {
    return t.positionsQ + (int64_t{b} * t.tq + i) * t.positionDims;
  }
  D2V_DEVICE const int32_t* pointK(const AttentionTerms& t, int j) const {
    return t.positionsK + (int64_t{b} * t.tk + j) * t.positionDims;
  }
  D2V_DEVICE bool removed(const AttentionTerms& t, int j) const {
    return j >= t.tk || (t.keyPadding && t.keyPadding[int64_t{b} * t.tk + j]);
  }
  /// The first block of dropout words of query i.
  D2V_DEVICE uint64_t dropRow(const AttentionTerms& t, int i) const {
    return static_cast<uint64_t>(bh * t.tq + i) * static_cast<uint64_t>((t.tk + 3) / 4);
  }
};

/// Distances of two rows to two columns, out = {r0 c0, r0 c1, r1 c0, r1 c1}; the tokens' numbers, and where the positions
/// of this sample's tokens begin. Positions come from device memory: a warp reads few different ones, again and again, so
/// they lie in the first-level cache, and no shared memory is spent.
D2V_DEVICE void distances(const AttentionTerms& t, const int32_t* rows, int r0, int r1, const int32_t* columns, int c0,
                          int c1, float (&out)[4]) {
  const int dims = t.positionDims;
  r0 *= dims, r1 *= dims, c0 *= dims, c1 *= dims;
#pragma unroll
  for (int e = 0; e < 4; ++e) out[e] = 0;
  bool on[4] = {true, true, true, true};
#pragma unroll 1
  for (int p = 0; p < dims; ++p) {
    const int32_t x[2] = {rows[r0 + p], rows[r1 + p]}, y[2] = {columns[c0 + p], columns[c1 + p]};
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float d = static_cast<float>(y[e % 2]) - static_cast<float>(x[e / 2]);
      out[e] = t.euclidean ? fmaf(d, d, out[e]) : out[e] + fabsf(d);
      if (p == 0) on[e] = x[e / 2] >= 0 && y[e % 2] >= 0;
    }
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) out[e] = on[e] ? (t.euclidean ? sqrtf(out[e]) : out[e]) : 0.0f;
}

/// The same for sequences, whose positions are one number: those of a lane's two rows, which stay the same for all columns.
/// About twenty instructions per two columns instead of a hundred and fifty.
struct RowPositions {
  bool sequence;
  float x[2];
  bool on[2];
  D2V_DEVICE RowPositions(const AttentionTerms& t, const int32_t* rows, int r0, int r1)
      : sequence(t.slopes != nullptr && t.positionDims == 1), x{0, 0}, on{false, false} {
    if (!sequence) return;
    const int32_t x0 = rows[r0], x1 = rows[r1];
    x[0] = static_cast<float>(x0);
    x[1] = static_cast<float>(x1);
    on[0] = x0 >= 0;
    on[1] = x1 >= 0;
  }
  D2V_DEVICE void distances(const int32_t* columns, int c0, int c1, float (&out)[4]) const {
    const int32_t y[2] = {columns[c0], columns[c1]};
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float d = fabsf(static_cast<float>(y[e % 2]) - x[e / 2]);
      out[e] = on[e / 2] && y[e % 2] >= 0 ? d : 0.0f;
    }
  }
};
D2V_DEVICE float distance(const AttentionTerms& t, const int32_t* a, const int32_t* b) {
  if (a[0] < 0 || b[0] < 0) return 0;
  float sum = 0;
  for (int p = 0; p < t.positionDims; ++p) {
    const float d = static_cast<float>(b[p]) - static_cast<float>(a[p]);
    sum = t.euclidean ? fmaf(d, d, sum) : sum + fabsf(d);
  }
  return t.euclidean ? sqrtf(sum) : sum;
}

/// Bit e: word e of the block is kept.
D2V_DEVICE uint32_t keptWords(const AttentionTerms& t, uint64_t block) {
  uint32_t w[4];
  philox(t.key, block, w);
  uint32_t bits = 0;
#pragma unroll
  for (int e = 0; e < 4; ++e) bits |= (w[e] >= t.dropThreshold ? 1u : 0u) << e;
  return bits;
}

}  // namespace d2v::cuda
