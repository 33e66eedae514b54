// Attention, forward. One (sample, head) per task, one thread per task:
//
//   pack K^T and V of the head; then for blocks of queries, small enough for the second-level cache:
//   S = scale Q K^T (register tiles), softmax of each row with bias, ALiBi, padding and dropout, O = P V.
//
// Only a block of S exists per thread. Rows of S are padded to whole vectors; the filling and padded keys are -inf, so
// their probability is an exact 0. Tokens are strided: a head reads its columns of the packed q|k|v in place.
#include <algorithm>
#include <cmath>

#include "attention_terms.h"
#include "cpu_backend.h"
#include "gemm_small.h"
#include "vec_math.h"

namespace d2v {
namespace D2V_ISA {
namespace {

/// Offsets of the pieces of one thread's scratch memory, in floats.
struct Layout {
  int64_t block, ldS, keys, values, scores, keyMask, positions, drop, total;

  explicit Layout(const AttentionShape& s) {
    ldS = roundUp(s.tk, kLanes);
    block = std::min(roundUp(s.tq, kMR), std::clamp<int64_t>(24576 / ldS / kMR * kMR, 2 * kMR, 16 * kMR));
    int64_t at = 0;
    const auto take = [&at](int64_t floats) {
      const int64_t begin = at;
      at += roundUp(floats, 16);
      return begin;
    };
    keys = take(packedSize(s.headDim, s.tk));
    values = take(packedSize(s.tk, s.headDim));
    scores = take(block * ldS);
    keyMask = take(ldS);
    positions = take(s.slopes ? (s.positionDims + 1) * ldS : 0);
    drop = take(s.dropout > 0 ? ldS : 0);
    total = roundUp(at, 1024) + 16;  // threads on different pages
  }
};

/// Turns a row of scaled products into probabilities in place. Returns log sum exp, -inf for a row without keys.
float softmaxRow(const AttentionShape& s, const Layout& layout, float* scratch, float* row, int64_t b, int64_t h,
                 int64_t i) {
  const int64_t ld = layout.ldS;
  if (s.bias) {
    const float* bias = s.bias + b * s.biasBatchStride + (h * s.tq + i) * s.tk;
    forVectors(s.tk, [&](auto load, auto store) D2V_LAMBDA { store(row, load(row) + load(bias)); });
  }
  if (s.slopes) {
    const int32_t* point = s.positionsQ + (b * s.tq + i) * s.positionDims;
    if (point[0] >= 0) {
      const Vf slope = vset(-s.slopes[h]);
      for (int64_t j = 0; j < ld; j += kLanes) {
        const Vf dist = distances(point, scratch + layout.positions, ld, s.positionDims, s.euclidean, j);
        vstore(row + j, vfma(slope, dist, vload(row + j)));
      }
    }
  }
  const float* mask = scratch + layout.keyMask;  // 0 for a key, -1 for none
  Vf most = vset(-kInfinity);
  for (int64_t j = 0; j < ld; j += kLanes) {
    const Vf v = vselectGe(vload(mask + j), vzero(), vload(row + j), vset(-kInfinity));
    vstore(row + j, v);
    most = vmax(v, most);
  }
  const float top = vmaxOf(most);
  if (top == -kInfinity) {
    for (int64_t j = 0; j < ld; j += kLanes) vstore(row + j, vzero());
    return -kInfinity;
  }
  const Vf shift = vset(top);
  Vf sum0 = vzero(), sum1 = vzero();
  int64_t j = 0;
  for (; j + 2 * kLanes <= ld; j += 2 * kLanes) {
    const Vf p0 = vexpSmall(vload(row + j) - shift), p1 = vexpSmall(vload(row + j + kLanes) - shift);
    vstore(row + j, p0);
    vstore(row + j + kLanes, p1);
    sum0 = sum0 + p0;
    sum1 = sum1 + p1;
  }
  if (j < ld) {
    const Vf p = vexpSmall(vload(row + j) - shift);
    vstore(row + j, p);
    sum0 = sum0 + p;
  }
  const float sum = vsum(sum0 + sum1);
  const Vf inverse = vset(1.0f / sum);
  if (s.dropout > 0) {
    float* drop = scratch + layout.drop;
    dropoutRow(s, (b * s.heads + h) * s.tq + i, 0, s.tk, drop);
    forVectors(s.tk, [&](auto load, auto store) D2V_LAMBDA { store(row, load(row) * inverse * load(drop)); });
  } else {
    for (j = 0; j < ld; j += kLanes) vstore(row + j, vload(row + j) * inverse);
  }
  return top + std::log(sum);
}

void forwardHead(const AttentionArgs& a, const Layout& layout, float* scratch, int64_t b, int64_t h) {
  const AttentionShape& s = a.shape;
  const float* q = static_cast<const float*>(a.q) + headOffset(s, b, h, s.tq, s.ldq);
  const float* k = static_cast<const float*>(a.k) + headOffset(s, b, h, s.tk, s.ldk);
  const float* v = static_cast<const float*>(a.v) + headOffset(s, b, h, s.tk, s.ldk);
  const int64_t ldo = s.heads * s.headDim;
  float* out = static_cast<float*>(a.out) + headOffset(s, b, h, s.tq, ldo);
  float* lse = a.lse + (b * s.heads + h) * s.tq;
  float* keys = scratch + layout.keys;
  float* values = scratch + layout.values;
  float* scores = scratch + layout.scores;
  packRows(k, s.ldk, s.tk, s.headDim, keys);
  packColumns(v, s.ldk, s.tk, s.headDim, values);
  float* mask = scratch + layout.keyMask;
  const uint8_t* padding = s.keyPadding ? s.keyPadding + b * s.tk : nullptr;
  for (int64_t j = 0; j < layout.ldS; ++j) mask[j] = j < s.tk && !(padding && padding[j]) ? 0.0f : -1.0f;
  if (s.slopes) {
    loadPositions(s.positionsK + b * s.tk * s.positionDims, s.tk, s.positionDims, scratch + layout.positions,
                  layout.ldS);
  }
  for (int64_t i0 = 0; i0 < s.tq; i0 += layout.block) {
    const int64_t rows = std::min(layout.block, s.tq - i0);
    multiplyPacked(q + i0 * s.ldq, s.ldq, rows, s.headDim, keys, s.headDim, 0, layout.ldS, scores, layout.ldS, s.scale,
                   false);
    for (int64_t i = 0; i < rows; ++i) {
      lse[i0 + i] = softmaxRow(s, layout, scratch, scores + i * layout.ldS, b, h, i0 + i);
    }
    multiplyPacked(scores, layout.ldS, rows, s.tk, values, s.tk, 0, s.headDim, out + i0 * ldo, ldo, 1.0f, false);
  }
}

}  // namespace

void CpuBackend::attention(const AttentionArgs& a) {
  const Layout layout(a.shape);
  const int64_t heads = a.shape.heads;
  Workspace memory(memory_, static_cast<size_t>(layout.total * threadCount()) * sizeof(float));
  parallelItems(a.shape.batch * heads, [&](int64_t i) {
    forwardHead(a, layout, memory.floats() + threadIndex() * layout.total, i / heads, i % heads);
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
