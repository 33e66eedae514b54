// Backward pass of attention_plain.h, two launches: a warp per query for dQ, delta, dBias and the slopes' parts; a warp
// per key for dK and dV.
#pragma once

#include "attention_gradient.h"
#include "attention_plain.h"

namespace d2v::cuda {

/// The operands, with the rows of one head.
template <typename T>
struct PlainBackward {
  const T *dout, *out, *q, *k, *v;
  const float* lse;
  T *dq, *dk, *dv;
  float* delta;       // [batch, heads, tq], written by the first launch, read by the second
  float* slopeParts;  // the same shape, null when not wanted
};

/// Probability and dropped probability of query i and key j, and the gradient of their score.
struct PlainGradient {
  float dropped, score;
  D2V_DEVICE PlainGradient(const AttentionTerms& t, const AttentionHead& head, int i, int j, float score2, float shift,
                           float dp, float delta) {
    const float p = fastExp2(score2 - shift), drop = plainDrop(t, head, i, j);
    dropped = p * drop;
    score = p * (drop * dp - delta);
  }
};

template <typename T>
D2V_DEVICE float plainDot(const AttentionTerms& t, const float* x, const T* y) {
  float dot = 0;
  for (int d = 0; d < t.headDim; ++d) dot = fmaf(x[d], toFloat(y[d]), dot);
  return dot;
}

template <typename T>
D2V_KERNEL(kPlainWarps* kWarp)
plainBackwardQueries(AttentionTerms t, PlainBackward<T> p, BiasGradient dBias, int64_t firstRow, int64_t rows) {
  const int64_t local = static_cast<int64_t>(blockX()) * kPlainWarps + warp();
  if (local >= rows) return;
  const int64_t row = firstRow + local;  // (sample, head, query)
  const AttentionHead head(t, row / t.tq);
  const int i = static_cast<int>(row % t.tq);
  float* query = shared<float>() + warp() * 3 * t.headDim;
  float* dout = query + t.headDim;
  float* dq = dout + t.headDim;
  const int64_t atQ = head.query(t) + i * t.ldq, atO = head.output(t) + i * t.ldo;
  const T* k = p.k + head.key(t);
  const T* v = p.v + head.key(t);
  float delta = 0;
  for (int d = lane(); d < t.headDim; d += kWarp) {
    query[d] = toFloat(p.q[atQ + d]);
    dout[d] = toFloat(p.dout[atO + d]);
    dq[d] = 0;
    delta = fmaf(dout[d], toFloat(p.out[atO + d]), delta);
  }
  syncWarp();
  const float shift = backwardShift(p.lse[row]);
  delta = shift == kInfinity ? 0.0f : warpSum(delta);
  float slopeSum = 0;
  for (int j0 = 0; j0 < t.tk; j0 += kWarp) {
    const int j = j0 + lane(), near = smaller(j, t.tk - 1), count = smaller(kWarp, t.tk - j0);
    const float score2 = plainScore(t, head, query, k + near * t.ldk, i, j);
    const PlainGradient gradient(t, head, i, near, score2, shift, plainDot(t, dout, v + near * t.ldk), delta);
    if (j < t.tk) {
      if (dBias.data) dBias.of(t, head)[static_cast<int64_t>(i) * t.tk + j] = gradient.score;
      if (p.slopeParts) slopeSum = fmaf(distance(t, head.pointQ(t, i), head.pointK(t, j)), gradient.score, slopeSum);
    }
    for (int d0 = 0; d0 < t.headDim; d0 += kWarp) {
      const int d = d0 + lane();
      float value = d < t.headDim ? dq[d] : 0.0f;
      for (int e = 0; e < count; ++e) {
        const float ds = shuffle(gradient.score, e);
        if (d < t.headDim) value = fmaf(ds, toFloat(k[(j0 + e) * t.ldk + d]), value);
      }
      if (d < t.headDim) dq[d] = value;
    }
  }
  for (int d = lane(); d < t.headDim; d += kWarp) p.dq[atQ + d] = fromFloat<T>(dq[d] * t.scale);
  slopeSum = warpSum(slopeSum);
  if (lane() == 0) {
    p.delta[row] = delta;
    if (p.slopeParts) p.slopeParts[row] = slopeSum;
  }
}

template <typename T>
D2V_KERNEL(kPlainWarps* kWarp) plainBackwardKeys(AttentionTerms t, PlainBackward<T> p, int64_t rows) {
  const int64_t row = static_cast<int64_t>(blockX()) * kPlainWarps + warp();  // (sample, head, key)
  if (row >= rows) return;
  const AttentionHead head(t, row / t.tk);
  const int j = static_cast<int>(row % t.tk);
  float* key = shared<float>() + warp() * 4 * t.headDim;
  float* value = key + t.headDim;
  float* dk = value + t.headDim;
  float* dv = dk + t.headDim;
  const int64_t at = head.key(t) + j * t.ldk;
  const T* q = p.q + head.query(t);
  const T* dout = p.dout + head.output(t);
  for (int d = lane(); d < t.headDim; d += kWarp) {
    key[d] = toFloat(p.k[at + d]);
    value[d] = toFloat(p.v[at + d]);
    dk[d] = dv[d] = 0;
  }
  syncWarp();
  for (int i0 = 0; i0 < t.tq; i0 += kWarp) {
    const int i = smaller(i0 + lane(), t.tq - 1), count = smaller(kWarp, t.tq - i0);
    const int64_t query = head.bh * t.tq + i;
    const float score2 = plainScore(t, head, key, q + i * t.ldq, i, j);
    const PlainGradient gradient(t, head, i, j, score2, backwardShift(p.lse[query]),
                                 plainDot(t, value, dout + i * t.ldo), p.delta[query]);
    for (int d0 = 0; d0 < t.headDim; d0 += kWarp) {
      const int d = d0 + lane();
      float sumK = d < t.headDim ? dk[d] : 0.0f, sumV = d < t.headDim ? dv[d] : 0.0f;
      for (int e = 0; e < count; ++e) {
        const float ds = shuffle(gradient.score, e), pe = shuffle(gradient.dropped, e);
        if (d < t.headDim) {
          sumK = fmaf(ds, toFloat(q[(i0 + e) * t.ldq + d]), sumK);
          sumV = fmaf(pe, toFloat(dout[(i0 + e) * t.ldo + d]), sumV);
        }
      }
      if (d < t.headDim) dk[d] = sumK, dv[d] = sumV;
    }
  }
  for (int d = lane(); d < t.headDim; d += kWarp) {
    p.dk[at + d] = fromFloat<T>(dk[d] * t.scale);
    p.dv[at + d] = fromFloat<T>(dv[d]);
  }
}

template <typename T>
void plainAttentionBackward(const AttentionBackwardArgs& a, Allocator& memory, Stream stream) {
  const AttentionShape& s = a.shape;
  const AttentionTerms t = termsOf(s);
  const int64_t heads = s.batch * s.heads, rows = heads * s.tq;
  const Workspace scratch(memory, static_cast<size_t>(2 * rows) * sizeof(float));
  PlainBackward<T> p{};
  p.dout = static_cast<const T*>(a.dout.data);
  p.out = static_cast<const T*>(a.out.data);
  p.q = static_cast<const T*>(a.q.data);
  p.k = static_cast<const T*>(a.k.data);
  p.v = static_cast<const T*>(a.v.data);
  p.lse = a.lse;
  p.dq = static_cast<T*>(a.dq.data);
  p.dk = static_cast<T*>(a.dk.data);
  p.dv = static_cast<T*>(a.dv.data);
  p.delta = scratch.floats();
  p.slopeParts = a.dSlopes ? scratch.floats() + rows : nullptr;
  const auto bytes = [&](int vectors) {
    return static_cast<size_t>(kPlainWarps * vectors * t.headDim) * sizeof(float);
  };
  forSamples(s, a.dBias, memory, stream, [&](int64_t first, int64_t samples, BiasGradient dBias) {
    const int64_t each = s.heads * s.tq;
    launch(plainBackwardQueries<T>, {blocksFor(samples * each, kPlainWarps)}, kPlainWarps * kWarp, bytes(3), stream, t,
           p, dBias, first * each, samples * each);
  });
  launch(plainBackwardKeys<T>, {blocksFor(heads * s.tk, kPlainWarps)}, kPlainWarps * kWarp, bytes(4), stream, t, p,
         heads * s.tk);
  if (a.dSlopes) launch(sumSlopes, {s.heads}, kWarp, 0, stream, p.slopeParts, a.dSlopes, s.batch, s.heads, s.tq);
}

}  // namespace d2v::cuda
