// Attention without matrix units: one warp per query (or, for dK and dV, per key), f32 arithmetic. For f32 operands, where
// the checks want 1e-4 of the CPU's result (tf32 products do not give that), and for heads of more than 128.
//
// A lane takes every 32nd key and computes its score alone, reading whole rows of K, which stay in the first-level cache
// while they serve 32 scores' worth of columns; then the warp adds up the rows of V, lanes along columns. Accumulators
// and the warp's own rows lie in shared memory, so any head size works.
#pragma once

#include <algorithm>

#include "attention_terms.h"
#include "launch.h"

namespace d2v::cuda {

constexpr int kPlainWarps = 4;

/// Whether rows of `columns` bf16, `ld` apart, from `data` on, can be moved in 16-byte pieces. So can every head's.
inline bool rowsAligned(const void* data, int64_t ld, int64_t columns) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && ld % 8 == 0 && columns % 8 == 0;
}

/// score2 of query i and key j, with its terms; -inf for a removed key.
template <typename T>
D2V_DEVICE float plainScore(const AttentionTerms& t, const AttentionHead& head, const float* q, const T* k, int i,
                            int j) {
  if (head.removed(t, j)) return -kInfinity;
  float dot = 0;
  for (int d = 0; d < t.headDim; ++d) dot = fmaf(q[d], toFloat(k[d]), dot);
  float score = dot * t.scale2;
  if (t.bias) score = fmaf(head.bias(t)[static_cast<int64_t>(i) * t.tk + j], kLog2e, score);
  if (t.slopes) score = fmaf(-t.slopes[head.h] * kLog2e, distance(t, head.pointQ(t, i), head.pointK(t, j)), score);
  return score;
}

/// 0 or 1 / (1 - p) of query i and key j.
D2V_DEVICE float plainDrop(const AttentionTerms& t, const AttentionHead& head, int i, int j) {
  if (!t.drops) return 1;
  return keptWords(t, head.dropRow(t, i) + static_cast<uint64_t>(j / 4)) >> (j % 4) & 1 ? t.keepScale : 0.0f;
}

template <typename T>
D2V_KERNEL(kPlainWarps* kWarp)
plainForward(AttentionTerms t, const T* q, const T* k, const T* v, T* out, float* lse, int64_t rows) {
  const int64_t row = static_cast<int64_t>(blockX()) * kPlainWarps + warp();  // (sample, head, query)
  if (row >= rows) return;
  const AttentionHead head(t, row / t.tq);
  const int i = static_cast<int>(row % t.tq);
  float* query = shared<float>() + warp() * 2 * t.headDim;
  float* o = query + t.headDim;
  q += head.query(t) + i * t.ldq;
  k += head.key(t);
  v += head.key(t);
  for (int d = lane(); d < t.headDim; d += kWarp) {
    query[d] = toFloat(q[d]);
    o[d] = 0;
  }
  syncWarp();
  float most = -kInfinity, sum = 0;
  for (int j0 = 0; j0 < t.tk; j0 += kWarp) {
    const int j = j0 + lane(), count = smaller(kWarp, t.tk - j0);
    const float score = plainScore(t, head, query, k + smaller(j, t.tk - 1) * t.ldk, i, j);
    const float top = fmaxf(most, warpMax(score));
    const float shift = top == -kInfinity ? 0.0f : top;
    const float shrink = fastExp2(most - shift);
    const float p = fastExp2(score - shift);
    most = top;
    sum = sum * shrink + p;
    const float kept = j < t.tk ? p * plainDrop(t, head, i, j) : 0.0f;
    for (int d0 = 0; d0 < t.headDim; d0 += kWarp) {
      const int d = d0 + lane();
      float value = d < t.headDim ? o[d] * shrink : 0.0f;
      for (int e = 0; e < count; ++e) {
        const float pe = shuffle(kept, e);
        if (d < t.headDim) value = fmaf(pe, toFloat(v[(j0 + e) * t.ldk + d]), value);
      }
      if (d < t.headDim) o[d] = value;
    }
  }
  sum = warpSum(sum);
  const bool any = most != -kInfinity;
  if (lane() == 0) lse[row] = any ? fmaf(most, kLn2, logf(sum)) : -kInfinity;
  const float inverse = any ? 1.0f / sum : 0.0f;
  out += head.output(t) + i * t.ldo;
  for (int d = lane(); d < t.headDim; d += kWarp) out[d] = fromFloat<T>(o[d] * inverse);
}

template <typename T>
void plainAttention(const AttentionArgs& a, Stream stream) {
  const AttentionTerms t = termsOf(a.shape);
  const int64_t rows = a.shape.batch * a.shape.heads * a.shape.tq;
  const size_t bytes = static_cast<size_t>(kPlainWarps * 2 * t.headDim) * sizeof(float);
  launch(plainForward<T>, {blocksFor(rows, kPlainWarps)}, kPlainWarps * kWarp, bytes, stream, t,
         static_cast<const T*>(a.q.data), static_cast<const T*>(a.k.data), static_cast<const T*>(a.v.data),
         static_cast<T*>(a.out.data), a.lse, rows);
}

}  // namespace d2v::cuda
