// Attention, backward. One (sample, head) per task; P is recomputed from the saved log sum exp.
//
// Everything is held transposed, keys by queries, so that the row statistics (lse, delta) are vectors along a row and
// dK, dV need no transposition. For blocks of keys:
//
//   P^T = exp(scale K Q^T + terms - lse)          dP^T = V dO^T        delta = rowsum(dO * O)
//   dS^T = P^T * (drop * dP^T - delta)            dV = (drop * P^T) dO            dK = scale dS^T Q
//   dQ += scale dS K  (dS^T transposed once per block)
//
// Queries without keys have lse -inf: they are given +inf here, which makes their P 0. dSlopes and a bias gradient
// shared by the batch are summed in a fixed order.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention_terms.h"
#include "cpu_backend.h"
#include "gemm_small.h"
#include "vec_math.h"

namespace d2v {
namespace D2V_ISA {
namespace {

struct Layout {
  int64_t block, ldT, ldS;
  int64_t queriesT, doutT, queries, dout, keys;  // packed operands
  int64_t p, dp, ds, lse, delta, positions, drop, dropT, total;

  explicit Layout(const AttentionShape& s) {
    ldT = roundUp(s.tq, kLanes);
    block = std::min(roundUp(s.tk, kMR), std::clamp<int64_t>(16384 / ldT / kMR * kMR, 2 * kMR, 16 * kMR));
    block = roundUp(block, 4);  // dropout words come in blocks of four
    ldS = roundUp(block, kLanes);
    int64_t at = 0;
    const auto take = [&at](int64_t floats) {
      const int64_t begin = at;
      at += roundUp(floats, 16);
      return begin;
    };
    queriesT = take(packedSize(s.headDim, s.tq));
    doutT = take(packedSize(s.headDim, s.tq));
    queries = take(packedSize(s.tq, s.headDim));
    dout = take(packedSize(s.tq, s.headDim));
    keys = take(packedSize(s.tk, s.headDim));
    p = take(block * ldT);
    dp = take(block * ldT);
    ds = take(s.tq * ldS);
    lse = take(ldT);
    delta = take(ldT);
    positions = take(s.slopes ? (s.positionDims + 1) * ldT : 0);
    const bool extra = s.dropout > 0 || s.bias;
    drop = take(extra ? s.tq * ldS : 0);
    dropT = take(extra ? block * ldT : 0);
    total = roundUp(at, 1024) + 16;
  }
};

struct Head {
  const AttentionBackwardArgs& a;
  const AttentionShape& s;
  const Layout& layout;
  float* scratch;
  int64_t b, h;
  float slopeGrad = 0;

  float* at(int64_t offset) const { return scratch + offset; }

  void prepare() const {
    const int64_t ldo = s.heads * s.headDim;
    const float* q = static_cast<const float*>(a.q) + headOffset(s, b, h, s.tq, s.ldq);
    const float* k = static_cast<const float*>(a.k) + headOffset(s, b, h, s.tk, s.ldk);
    const float* dout = static_cast<const float*>(a.dout) + headOffset(s, b, h, s.tq, ldo);
    const float* out = static_cast<const float*>(a.out) + headOffset(s, b, h, s.tq, ldo);
    packRows(q, s.ldq, s.tq, s.headDim, at(layout.queriesT));
    packRows(dout, ldo, s.tq, s.headDim, at(layout.doutT));
    packColumns(q, s.ldq, s.tq, s.headDim, at(layout.queries));
    packColumns(dout, ldo, s.tq, s.headDim, at(layout.dout));
    packColumns(k, s.ldk, s.tk, s.headDim, at(layout.keys));
    const float* lse = a.lse + (b * s.heads + h) * s.tq;
    float* shift = at(layout.lse);
    float* delta = at(layout.delta);
    for (int64_t i = 0; i < layout.ldT; ++i) {
      const bool live = i < s.tq && lse[i] != -kInfinity;
      shift[i] = live ? lse[i] : kInfinity;
      Vf sum = vzero();
      if (live) {
        const float* x = out + i * ldo;
        const float* y = dout + i * ldo;
        forVectors(s.headDim, [&](auto load, auto) D2V_LAMBDA { sum = vfma(load(x), load(y), sum); });
      }
      delta[i] = vsum(sum);
    }
    if (s.slopes) {
      loadPositions(s.positionsQ + b * s.tq * s.positionDims, s.tq, s.positionDims, at(layout.positions), layout.ldT);
    }
  }

  /// Copies columns [j0, j0 + n) of this head's [tq, tk] matrix into the transposed block.
  void transposedBias(int64_t j0, int64_t n) const {
    const float* bias = s.bias + b * s.biasBatchStride + h * s.tq * s.tk + j0;
    transposeBlock(bias, s.tk, s.tq, n, at(layout.dropT), layout.ldT);
  }

  /// scores -> probabilities, keys [j0, j0 + n).
  void probabilities(int64_t j0, int64_t n) {
    float* p = at(layout.p);
    const float* shift = at(layout.lse);
    if (s.bias) {
      transposedBias(j0, n);
      const float* bias = at(layout.dropT);
      for (int64_t j = 0; j < n; ++j) {
        float* row = p + j * layout.ldT;
        const float* add = bias + j * layout.ldT;
        forVectors(s.tq, [&](auto load, auto store) D2V_LAMBDA { store(row, load(row) + load(add)); });
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      float* row = p + j * layout.ldT;
      if (s.keyPadding && s.keyPadding[b * s.tk + j0 + j]) {
        std::memset(row, 0, static_cast<size_t>(layout.ldT) * sizeof(float));
        continue;
      }
      const int32_t* point = s.slopes ? s.positionsK + (b * s.tk + j0 + j) * s.positionDims : nullptr;
      if (point && point[0] >= 0) {
        const Vf slope = vset(-s.slopes[h]);
        for (int64_t i = 0; i < layout.ldT; i += kLanes) {
          const Vf dist = distances(point, at(layout.positions), layout.ldT, s.positionDims, s.euclidean, i);
          vstore(row + i, vexpSmall(vfma(slope, dist, vload(row + i)) - vload(shift + i)));
        }
      } else {
        for (int64_t i = 0; i < layout.ldT; i += kLanes) {
          vstore(row + i, vexpSmall(vload(row + i) - vload(shift + i)));
        }
      }
    }
  }

  /// dp -> ds (in place), p -> dropped p (in place).
  void scoreGradients(int64_t j0, int64_t n) {
    const float* delta = at(layout.delta);
    if (s.dropout > 0) {
      for (int64_t i = 0; i < s.tq; ++i) {
        dropoutRow(s, (b * s.heads + h) * s.tq + i, j0, n, at(layout.drop) + i * layout.ldS);
      }
      // The filling of a row meets p = 0, but must be finite.
      std::memset(at(layout.dropT), 0, static_cast<size_t>(n * layout.ldT) * sizeof(float));
      transposeBlock(at(layout.drop), layout.ldS, s.tq, n, at(layout.dropT), layout.ldT);
    }
    Vf slope = vzero();
    for (int64_t j = 0; j < n; ++j) {
      float* p = at(layout.p) + j * layout.ldT;
      float* dp = at(layout.dp) + j * layout.ldT;
      const float* drop = at(layout.dropT) + j * layout.ldT;
      if (s.dropout > 0) {
        for (int64_t i = 0; i < layout.ldT; i += kLanes) {
          const Vf pi = vload(p + i), m = vload(drop + i);
          vstore(dp + i, pi * (m * vload(dp + i) - vload(delta + i)));
          vstore(p + i, pi * m);
        }
      } else {
        for (int64_t i = 0; i < layout.ldT; i += kLanes) {
          vstore(dp + i, vload(p + i) * (vload(dp + i) - vload(delta + i)));
        }
      }
      const int32_t* point = a.dSlopes ? s.positionsK + (b * s.tk + j0 + j) * s.positionDims : nullptr;
      if (point && point[0] >= 0) {
        for (int64_t i = 0; i < layout.ldT; i += kLanes) {
          const Vf dist = distances(point, at(layout.positions), layout.ldT, s.positionDims, s.euclidean, i);
          slope = vfma(dist, vload(dp + i), slope);
        }
      }
    }
    slopeGrad -= vsum(slope);
  }

  void run(bool addBias) {
    prepare();
    const int64_t ldo = s.heads * s.headDim, d = s.headDim, ldT = layout.ldT;
    const float* k = static_cast<const float*>(a.k) + headOffset(s, b, h, s.tk, s.ldk);
    const float* v = static_cast<const float*>(a.v) + headOffset(s, b, h, s.tk, s.ldk);
    float* dq = static_cast<float*>(a.dq) + headOffset(s, b, h, s.tq, s.ldq);
    float* dk = static_cast<float*>(a.dk) + headOffset(s, b, h, s.tk, s.ldk);
    float* dv = static_cast<float*>(a.dv) + headOffset(s, b, h, s.tk, s.ldk);
    (void)ldo;
    for (int64_t j0 = 0; j0 < s.tk; j0 += layout.block) {
      const int64_t n = std::min(layout.block, s.tk - j0);
      multiplyPacked(k + j0 * s.ldk, s.ldk, n, d, at(layout.queriesT), d, 0, ldT, at(layout.p), ldT, s.scale, false);
      probabilities(j0, n);
      multiplyPacked(v + j0 * s.ldk, s.ldk, n, d, at(layout.doutT), d, 0, ldT, at(layout.dp), ldT, 1.0f, false);
      scoreGradients(j0, n);
      multiplyPacked(at(layout.p), ldT, n, s.tq, at(layout.dout), s.tq, 0, d, dv + j0 * s.ldk, s.ldk, 1.0f, false);
      multiplyPacked(at(layout.dp), ldT, n, s.tq, at(layout.queries), s.tq, 0, d, dk + j0 * s.ldk, s.ldk, s.scale,
                     false);
      transposeBlock(at(layout.dp), ldT, n, s.tq, at(layout.ds), layout.ldS);
      multiplyPacked(at(layout.ds), layout.ldS, s.tq, n, at(layout.keys), s.tk, j0, d, dq, s.ldq, s.scale, j0 > 0);
      if (a.dBias) {
        float* db = a.dBias + b * s.biasBatchStride + h * s.tq * s.tk + j0;
        for (int64_t i = 0; i < s.tq; ++i) {
          const float* src = at(layout.ds) + i * layout.ldS;
          float* dst = db + i * s.tk;
          for (int64_t j = 0; j < n; ++j) dst[j] = addBias ? dst[j] + src[j] : src[j];
        }
      }
    }
  }
};

}  // namespace

void CpuBackend::attentionBackward(const AttentionBackwardArgs& a) {
  const AttentionShape& s = a.shape;
  const Layout layout(s);
  const int64_t slice = layout.total;
  Workspace memory(memory_, static_cast<size_t>(slice * threadCount()) * sizeof(float));
  Workspace slopes(memory_, static_cast<size_t>(s.batch * s.heads) * sizeof(float));
  const auto head = [&](int64_t b, int64_t h, bool addBias) {
    Head task{a, s, layout, memory.floats() + threadIndex() * slice, b, h};
    task.run(addBias);
    slopes.floats()[b * s.heads + h] = task.slopeGrad;
  };
  if (a.dBias && s.biasBatchStride == 0) {  // the batch adds up in one place: samples in order
    parallelItems(s.heads, [&](int64_t h) {
      for (int64_t b = 0; b < s.batch; ++b) head(b, h, b > 0);
    });
  } else {
    parallelItems(s.batch * s.heads, [&](int64_t i) { head(i / s.heads, i % s.heads, false); });
  }
  if (a.dSlopes) {
    for (int64_t h = 0; h < s.heads; ++h) {
      double sum = 0;
      for (int64_t b = 0; b < s.batch; ++b) sum += static_cast<double>(slopes.floats()[b * s.heads + h]);
      a.dSlopes[h] = static_cast<float>(sum);
    }
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
