// Attention, forward: softmax(scale Q K^T + terms) V of one head, for a strip of queries per block, with the softmax
// computed as the keys come by (running maximum and sum per query), so that scores live in registers only.
//
//   block   up to 8 warps (6 with extra terms, which take registers), each with 16 queries; a head's queries are divided
//           evenly over the fewest blocks (40 queries: one block of 3 warps; 197: two of 7). Blocks of one head are
//           neighbours, so K and V come from the second-level cache after the first. A strip is short on purpose: several blocks share a multiprocessor, one computes
//           while another loads; with sequences as short as ours (and 768 to 12288 heads per call) that replaces
//           everything that longer pipelines are for. It is also why heads need not share a block.
//   keys    tiles of 64 rows of K and V in shared memory, by asynchronous copies. Up to 64 keys: one tile, K and V of
//           the head whole. More: two buffers, the next tile is under way while this one is used. Products skip the
//           groups of 16 keys that a short tile lacks.
//   warp    Q (16 x D) stays in registers as A fragments. S = Q K^T: 8 C fragments of 16 x 8. exp2 and the row sums work
//           on them in place, and pairs of them are, rounded to bf16, the A fragments of P V.
//   shared  (16 W + 2 stages * 64) rows of D + 8 elements. D = 64: 21 KiB for 40 tokens, 52 KiB for 197 and more.
//   out     goes through the warp's own rows of the Q tile, to be written in 16-byte pieces.
//
// What it costs, per head at D = 64: 4 tq tk D FLOPs against (2 tq + 2 tk) D * 2 bytes: T / 2 FLOPs per byte when tq = tk
// = T. An H200 does some 125 per byte with mma.sync, so up to about 250 tokens the memory is the floor, and the kernel's
// target is its bandwidth; see docs/cuda.md.
//
// bf16 and heads of up to 128 go this way, zero padded to D = 32, 64, 80 or 128. f32 and larger heads: attention_plain.h.
#include "attention_plain.h"
#include "attention_terms.h"
#include "attention_tile.h"
#include "cuda_backend.h"
#include "launch.h"

namespace d2v::cuda {
namespace {

template <bool Extra>
constexpr int kWarps = Extra ? 6 : 8;  // most warps of a block: two blocks' registers fit a multiprocessor at D <= 64
constexpr int kKeyTile = 64;           // keys per tile

/// How the queries of a head are divided, and the layout of shared memory.
struct ForwardPlan {
  int queryTiles, tileRows;
  bool vector;
};

/// Adds bias and ALiBi to four scores, rows i and i + 8, columns j and j + 1. Those outside are computed like the last.
/// `points`: positions of the sample's keys.
D2V_DEVICE void addTerms(const AttentionTerms& t, const AttentionHead& head, const RowPositions& rows,
                         const int32_t* points, int i, int j, float slope2, float (&s)[4]) {
  const int i0 = smaller(i, t.tq - 1), i1 = smaller(i + 8, t.tq - 1), j0 = smaller(j, t.tk - 1), j1 = smaller(j + 1, t.tk - 1);
  if (t.bias) {
    const float* bias = head.bias(t);
    const float* row0 = bias + static_cast<int64_t>(i0) * t.tk;
    const float* row1 = bias + static_cast<int64_t>(i1) * t.tk;
    s[0] = fmaf(row0[j0], kLog2e, s[0]);
    s[1] = fmaf(row0[j1], kLog2e, s[1]);
    s[2] = fmaf(row1[j0], kLog2e, s[2]);
    s[3] = fmaf(row1[j1], kLog2e, s[3]);
  }
  if (t.slopes) {
    float d[4];
    if (rows.sequence) rows.distances(points, j0, j1, d);
    else distances(t, head.pointQ(t, 0), i0, i1, points, j0, j1, d);
#pragma unroll
    for (int e = 0; e < 4; ++e) s[e] = fmaf(-slope2, d[e], s[e]);
  }
}

/// Sets dropped probabilities to zero: rows i and i + 8, columns j and j + 1, where the lanes of a quad have
/// neighbouring columns. A block of Philox is four columns of a row, two lanes' worth: the even lane computes the one of
/// row i, the odd lane that of row i + 8, and they tell each other.
D2V_DEVICE void dropProbabilities(const AttentionTerms& t, uint64_t ownRow, int j, float (&p)[4]) {
  const uint32_t own = keptWords(t, ownRow + static_cast<uint64_t>(j / 4));
  const uint32_t other = shuffleXor(own, 1);
  const bool odd = lane() % 2 == 1;
  const uint32_t upper = odd ? other >> 2 : own, lower = odd ? own >> 2 : other;
  if (!(upper & 1)) p[0] = 0;
  if (!(upper & 2)) p[1] = 0;
  if (!(lower & 1)) p[2] = 0;
  if (!(lower & 2)) p[3] = 0;
}

/// Extra: with bias, ALiBi or dropout, or a scale that is not positive.
template <int D, bool Extra>
D2V_KERNEL(kWarps<Extra>* kWarp)
attentionForward(AttentionTerms t, const Bf16* q, const Bf16* k, const Bf16* v, Bf16* out, float* lse,
                 ForwardPlan plan) {
  constexpr int kStride = kTileStride<D>;
  const AttentionHead head(t, blockX() / plan.queryTiles);
  const int strip = threadCount() / kWarp * 16;
  const int first = blockX() % plan.queryTiles * strip;  // of the block's queries
  const int g = lane() / 4, c = lane() % 4;
  const int own = first + warp() * 16;  // first of the warp's queries
  const int i = own + g;                // this lane has rows i and i + 8

  Bf16* tileQ = shared<Bf16>();
  Bf16* tiles = shared<Bf16>(tileBytes<D>(strip));
  const int tileSize = plan.tileRows * kStride;  // K, V of stage 0, K, V of stage 1
  k += head.key(t);
  v += head.key(t);
  const auto loadKeys = [&](int j0, int stage) {
    const int valid = t.tk - j0, rows = smaller(kKeyTile, roundUp16(valid));
    Bf16* to = tiles + stage * 2 * tileSize;
    loadTile<D>(to, k + j0 * t.ldk, t.ldk, rows, valid, t.headDim, plan.vector);
    loadTile<D>(to + tileSize, v + j0 * t.ldk, t.ldk, rows, valid, t.headDim, plan.vector);
    commitCopies();
  };
  loadTile<D>(tileQ, q + head.query(t) + first * t.ldq, t.ldq, strip, t.tq - first, t.headDim, plan.vector);
  loadKeys(0, 0);

  uint32_t fragQ[D / 16][4];
  float o[D / 8][4];
#pragma unroll
  for (int n = 0; n < D / 8; ++n) o[n][0] = o[n][1] = o[n][2] = o[n][3] = 0;
  float most[2] = {-kInfinity, -kInfinity};  // of the scores so far, rows i and i + 8
  float sum[2] = {0, 0};                     // of exp2(score - most), this lane's columns only
  // Scores are in powers of two, or, without extra terms, still to be multiplied by `factor`.
  const float factor = Extra ? 1.0f : t.scale2;
  const float slope2 = Extra && t.slopes ? t.slopes[head.h] * kLog2e : 0.0f;
  const int32_t* points = Extra && t.slopes ? head.pointK(t, 0) : nullptr;
  const RowPositions positions(t, Extra && t.slopes ? head.pointQ(t, 0) : nullptr, smaller(i, t.tq - 1),
                               smaller(i + 8, t.tq - 1));
  const uint64_t dropRow = head.dropRow(t, smaller(c % 2 == 0 ? i : i + 8, t.tq - 1));

  for (int j0 = 0, stage = 0; j0 < t.tk; j0 += kKeyTile, stage ^= 1) {
    if (j0 + kKeyTile < t.tk) {
      loadKeys(j0 + kKeyTile, stage ^ 1);
      waitCopies<1>();
    } else {
      waitCopies<0>();
    }
    syncThreads();
    const Bf16* tileK = tiles + stage * 2 * tileSize;
    const Bf16* tileV = tileK + tileSize;
    const int groups = smaller(kKeyTile, roundUp16(t.tk - j0)) / 16;  // of 16 keys
    if (j0 == 0) {
#pragma unroll
      for (int d = 0; d < D / 16; ++d) loadA(fragQ[d], tileQ, kStride, warp() * 16, d * 16);
    }

    float s[kKeyTile / 8][4];
#pragma unroll
    for (int n = 0; n < kKeyTile / 16; ++n) {
      if (n >= groups) break;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int e = 0; e < 4; ++e) s[2 * n + half][e] = 0;
      }
#pragma unroll
      for (int d = 0; d < D / 16; ++d) {
        uint32_t b[2][2];
        loadB(b, tileK, kStride, n * 16, d * 16);
        multiply(s[2 * n], fragQ[d], b[0]);
        multiply(s[2 * n + 1], fragQ[d], b[1]);
      }
    }

    if constexpr (Extra) {
#pragma unroll
      for (int n = 0; n < kKeyTile / 8; ++n) {
        if (n >= 2 * groups) break;
#pragma unroll
        for (int e = 0; e < 4; ++e) s[n][e] *= t.scale2;
        addTerms(t, head, positions, points, i, j0 + n * 8 + 2 * c, slope2, s[n]);
      }
    }
    const auto remove = [&](const auto& removed) {
#pragma unroll
      for (int n = 0; n < kKeyTile / 8; ++n) {
        if (n >= 2 * groups) break;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const bool gone = removed(j0 + n * 8 + 2 * c + half);
          s[n][half] = gone ? -kInfinity : s[n][half];
          s[n][2 + half] = gone ? -kInfinity : s[n][2 + half];
        }
      }
    };
    if (j0 + groups * 16 > t.tk) remove([&](int j) { return j >= t.tk; });
    if (t.keyPadding) {
      const uint8_t* padding = t.keyPadding + int64_t{head.b} * t.tk;
      remove([&](int j) { return padding[smaller(j, t.tk - 1)] != 0; });
    }
    float top[2] = {most[0], most[1]};
#pragma unroll
    for (int n = 0; n < kKeyTile / 8; ++n) {
      if (n >= 2 * groups) break;
      top[0] = fmaxf(top[0], fmaxf(s[n][0], s[n][1]));
      top[1] = fmaxf(top[1], fmaxf(s[n][2], s[n][3]));
    }
    float shift[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      top[r] = fmaxf(top[r], shuffleXor(top[r], 1));
      top[r] = fmaxf(top[r], shuffleXor(top[r], 2));
      shift[r] = top[r] == -kInfinity ? 0.0f : top[r] * factor;  // no key yet: every exp2 below is 0
      const float shrink = fastExp2(fmaf(most[r], factor, -shift[r]));
      most[r] = top[r];
      sum[r] *= shrink;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        o[n][2 * r] *= shrink;
        o[n][2 * r + 1] *= shrink;
      }
    }

#pragma unroll
    for (int n = 0; n < kKeyTile / 16; ++n) {
      if (n >= groups) break;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float(&p)[4] = s[2 * n + half];
#pragma unroll
        for (int e = 0; e < 4; ++e) p[e] = fastExp2(fmaf(p[e], factor, -shift[e / 2]));
        sum[0] += p[0] + p[1];
        sum[1] += p[2] + p[3];
        if (Extra && t.drops) dropProbabilities(t, dropRow, j0 + (2 * n + half) * 8 + 2 * c, p);
      }
      uint32_t a[4];
      packA(a, s[2 * n], s[2 * n + 1]);
#pragma unroll
      for (int d = 0; d < D / 16; ++d) {
        uint32_t b[2][2];
        loadBTransposed(b, tileV, kStride, n * 16, d * 16);
        multiply(o[2 * d], a, b[0]);
        multiply(o[2 * d + 1], a, b[1]);
      }
    }
    syncThreads();  // before the buffer is filled again
  }

  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += shuffleXor(sum[r], 1);
    sum[r] += shuffleXor(sum[r], 2);
    const bool any = most[r] != -kInfinity;
    inverse[r] = any ? (Extra ? t.keepScale : 1.0f) / sum[r] : 0.0f;
    const int row = i + 8 * r;
    if (c == 0 && row < t.tq) {
      lse[head.bh * t.tq + row] = any ? fmaf(most[r] * factor, kLn2, logf(sum[r])) : -kInfinity;
    }
  }
  Bf16* rows = tileQ + warp() * 16 * kStride;
  putRows<D>(rows, o, inverse[0], inverse[1]);
  syncWarp();
  storeRows<D>(out + head.output(t) + own * t.ldo, t.ldo, rows, t.tq - own, t.headDim, plan.vector);
}

template <int D>
void forward(const AttentionArgs& a, const DeviceProperties& device, Stream stream) {
  const AttentionShape& s = a.shape;
  const AttentionTerms t = termsOf(s);
  const bool extra = t.bias || t.slopes || t.drops || !(t.scale > 0);
  const int64_t heads = s.batch * s.heads, groups = blocksFor(s.tq, 16);
  ForwardPlan plan{};
  plan.tileRows = smaller(kKeyTile, roundUp16(t.tk));
  const int stages = t.tk > kKeyTile ? 2 : 1;
  const auto bytes = [&](int64_t warps) {
    return tileBytes<D>(static_cast<int>(warps) * 16 + stages * 2 * plan.tileRows);
  };
  int64_t most = extra ? kWarps<true> : kWarps<false>;
  while (most > 1 && bytes(most) > device.sharedPerBlock) --most;
  // The fewest strips; more where they would leave multiprocessors without work.
  int64_t warps = blocksFor(groups, blocksFor(groups, most));
  while (warps > 1 && heads * blocksFor(groups, warps) < 2 * device.multiprocessors) warps = (warps + 1) / 2;
  plan.queryTiles = static_cast<int>(blocksFor(groups, warps));
  plan.vector = rowsAligned(a.q.data, t.ldq, t.headDim) && rowsAligned(a.k.data, t.ldk, t.headDim) &&
                rowsAligned(a.v.data, t.ldk, t.headDim) && rowsAligned(a.out.data, t.ldo, t.headDim);
  launch(extra ? attentionForward<D, true> : attentionForward<D, false>, {heads * plan.queryTiles},
         static_cast<int>(warps) * kWarp, static_cast<size_t>(bytes(warps)), stream, t, static_cast<const Bf16*>(a.q.data),
         static_cast<const Bf16*>(a.k.data), static_cast<const Bf16*>(a.v.data), static_cast<Bf16*>(a.out.data), a.lse,
         plan);
}

}  // namespace

void CudaBackend::attention(const AttentionArgs& a) {
  if (a.q.dtype != DType::BF16) return plainAttention<float>(a, stream_);
  const int64_t d = a.shape.headDim;
  if (d <= 32) return forward<32>(a, properties_, stream_);
  if (d <= 64) return forward<64>(a, properties_, stream_);
  if (d <= 80) return forward<80>(a, properties_, stream_);
  if (d <= 128) return forward<128>(a, properties_, stream_);
  plainAttention<Bf16>(a, stream_);
}

}  // namespace d2v::cuda
