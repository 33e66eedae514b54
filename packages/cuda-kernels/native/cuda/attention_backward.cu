// Attention, backward, from the saved log sum exp: no scores were kept. One block per head, every product computed once:
//
//   P^T = exp2(scores^T - lse)     dP^T = V dO^T     delta = rowsum(dO * O)     dS^T = P^T * (drop * dP^T - delta)
//   dV = (drop * P^T) dO           dK = scale dS^T Q                            dQ = scale dS K
//
//   block   a warp per 16 keys; the block's chunk of keys is in shared memory whole, queries come by in tiles of up to 64
//           rows of Q, dO and O: two buffers, asynchronous copies. Up to 192 keys are one chunk (128 at D > 64, whose
//           registers leave no more warps). More are divided into chunks of up to half as many where two blocks then fit a
//           multiprocessor: one computes while the other waits at the three barriers of a tile.
//   warp    dK and dV of its 16 keys stay in registers (2 D / 8 C fragments). Scores are held transposed, keys by queries,
//           so that P^T and dS^T, rounded to bf16, are the A fragments of dV and dK as they are.
//   dQ      sums over keys, so over warps: dS^T of the chunk goes to shared memory, and after a barrier the warps divide
//           the tile of dQ among them (units of 16 queries by 32 columns) and read dS^T transposed.
//           With several chunks, the block adds its dQ up in scratch memory, f32, each element always by the same thread:
//           no atomics, and 4 D bytes per query that stay in the second-level cache.
//           Two kernels (dK and dV by keys, dQ by queries) would need no scratch memory, but S, dP, the softmax and the
//           dropout words twice: 7 products instead of 5. The words weigh most: 10 rounds of Philox per four scores.
//   few heads   (evaluation, tests): the chunks of a head go to several blocks, each with dQ of its own, which are
//           summed in order afterwards.
//   shared  K and V and dS: 2 (D + 8) + 72 elements per key; Q, dO, O: 3 (D + 8) per query, twice if there is a second
//           tile. D = 64: 41 KiB for 40 tokens, 95 KiB for a chunk of 96 and two buffers, 136 KiB for one of 192. Tiles and
//           chunks shrink where a device has less.
//
// Costs per head at D = 64: 10 tq tk D FLOPs; 16 T D bytes with one chunk (q, k, v, o, do read, dq, dk, dv written).
#include <cstdint>

#include "attention_gradient.h"
#include "attention_plain_backward.h"
#include "attention_terms.h"
#include "attention_tile.h"
#include "cuda_backend.h"
#include "launch.h"

namespace d2v::cuda {
namespace {

constexpr int kQueryTile = 64;                // most queries per tile
constexpr int kStrideS = kQueryTile + 8;      // of dS^T in shared memory
constexpr int kReserved = 1024;               // bytes of shared memory that a block takes beside its own
/// Most warps of a block: 12 leave 168 registers per thread, 8 leave 255.
template <int D>
constexpr int kWarps = D <= 64 ? 12 : 8;

struct BackwardPlan {
  int chunks, splits;  // chunks of keys of a head, blocks that they are dealt to
  int queryRows;       // rows of a tile of queries
  bool vector;
};

struct BackwardPointers {
  const Bf16 *dout, *out, *q, *k, *v;
  const float* lse;
  Bf16 *dq, *dk, *dv;
  float* dqParts;     // [splits, batch * heads, tq, D], for more than one chunk
  float* slopeParts;  // [batch * heads, splits], null when not wanted
  BiasGradient dBias;
};

template <int D>
constexpr int sharedBytes(int warps, int queryRows, int stages) {
  return tileBytes<D>(2 * warps * 16 + stages * 3 * queryRows) + warps * 16 * kStrideS * 2 +
         2 * kQueryTile * static_cast<int>(sizeof(float));
}

/// Adds bias and ALiBi to four transposed scores: keys j and j + 8, queries i and i + 1. Those outside are computed like
/// the last. `points`: positions of the sample's queries; `dist`: the distances, with ALiBi.
D2V_DEVICE void addTermsTransposed(const AttentionTerms& t, const AttentionHead& head, const RowPositions& keys,
                                   const int32_t* points, int i, int j, float slope2, float (&s)[4], float (&dist)[4]) {
  const int i0 = smaller(i, t.tq - 1), i1 = smaller(i + 1, t.tq - 1);
  const int j0 = smaller(j, t.tk - 1), j1 = smaller(j + 8, t.tk - 1);
  if (t.bias) {
    const float* bias = head.bias(t);
    s[0] = fmaf(bias[i0 * t.tk + j0], kLog2e, s[0]);
    s[1] = fmaf(bias[i1 * t.tk + j0], kLog2e, s[1]);
    s[2] = fmaf(bias[i0 * t.tk + j1], kLog2e, s[2]);
    s[3] = fmaf(bias[i1 * t.tk + j1], kLog2e, s[3]);
  }
  if (t.slopes) {
    if (keys.sequence) keys.distances(points, i0, i1, dist);
    else distances(t, head.pointK(t, 0), j0, j1, points, i0, i1, dist);
#pragma unroll
    for (int e = 0; e < 4; ++e) s[e] = fmaf(-slope2, dist[e], s[e]);
  }
}

/// Bit e: element e of this lane's fragment (keys j and j + 8, queries i and i + 1) is kept. A block of Philox is four
/// keys of a query, so four lanes, 4 apart, need the same four blocks: each computes one and they share the bits.
D2V_DEVICE uint32_t keptTransposed(const AttentionTerms& t, const AttentionHead& head, int i, int j) {
  const int e = lane() / 4 % 4;
  const uint64_t block = head.dropRow(t, i + e % 2) + static_cast<uint64_t>(j / 4 + e / 2 * 2);
  uint32_t bits = keptWords(t, block) << (4 * e);
  bits |= shuffleXor(bits, 4);
  bits |= shuffleXor(bits, 8);
  bits >>= e;
  return (bits & 1) | (bits >> 3 & 2) | (bits >> 6 & 4) | (bits >> 9 & 8);
}

/// Shift and delta of the queries of a tile, eight lanes per query.
template <int D>
D2V_DEVICE void rowStatistics(const float* lse, const Bf16* tileDout, const Bf16* tileOut, int rows, int valid,
                              float* shift, float* delta) {
  for (int r = warp() * 4 + lane() / 8; r < rows; r += threadCount() / 8) {  // rows is a multiple of 16: whole warps
    float sum = 0;
#pragma unroll
    for (int k = 0; k < D; k += 64) {
      const int c = k + lane() % 8 * 8;
      if (D % 64 != 0 && c >= D) continue;
      float a[8], b[8];
      load(a, tileDout + r * kTileStride<D> + c);
      load(b, tileOut + r * kTileStride<D> + c);
#pragma unroll
      for (int e = 0; e < 8; ++e) sum = fmaf(a[e], b[e], sum);
    }
    sum += shuffleXor(sum, 4);
    sum += shuffleXor(sum, 2);
    sum += shuffleXor(sum, 1);
    if (lane() % 8 == 0) {
      const float s = r < valid ? backwardShift(lse[r]) : kInfinity;
      shift[r] = s;
      delta[r] = s == kInfinity ? 0.0f : sum;
    }
  }
}

/// A tile's rows of dQ from this block's chunk of keys: `groups` groups of 16 keys in `tileS` (dS^T) and `tileK`. They are
/// added to `parts` (unless `begins`, written) or, at the end, to dq.
template <int D>
D2V_DEVICE void queryGradient(const AttentionTerms& t, const Bf16* tileS, const Bf16* tileK, int groups, int rows,
                              int valid, float* parts, bool begins, Bf16* dq, bool vector) {
  constexpr int kColumns = D % 32 == 0 ? 32 : 16;  // of a unit
  constexpr int kUnits = D / kColumns;             // per 16 queries
  const int g = lane() / 4, c = lane() % 4;
  for (int unit = warp(); unit < rows / 16 * kUnits; unit += threadCount() / kWarp) {
    const int row = unit / kUnits * 16, column = unit % kUnits * kColumns;
    float acc[kColumns / 8][4];
    const int64_t place = static_cast<int64_t>(row + g) * D + column + 2 * c;  // in parts
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bool there = !begins && row + g + 8 * half < valid;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        Vec<float, 2> before{{0, 0}};
        if (there) before = *reinterpret_cast<const Vec<float, 2>*>(parts + place + 8 * half * D + n * 8);
        acc[n][2 * half] = before[0];
        acc[n][2 * half + 1] = before[1];
      }
    }
#pragma unroll 2
    for (int k = 0; k < groups; ++k) {
      uint32_t a[4];
      loadATransposed(a, tileS, kStrideS, k * 16, row);
#pragma unroll
      for (int n = 0; n < kColumns / 16; ++n) {
        uint32_t b[2][2];
        loadBTransposed(b, tileK, kTileStride<D>, k * 16, column + n * 16);
        multiply(acc[2 * n], a, b[0]);
        multiply(acc[2 * n + 1], a, b[1]);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + g + 8 * half;
      if (r >= valid) continue;
      Bf16* to = dq + r * t.ldq + column + 2 * c;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        const int left = t.headDim - column - n * 8 - 2 * c;  // columns that there are
        const float x = acc[n][2 * half], y = acc[n][2 * half + 1];
        if (!dq) {
          *reinterpret_cast<Vec<float, 2>*>(parts + place + 8 * half * D + n * 8) = Vec<float, 2>{{x, y}};
        } else if (vector) {
          if (left > 0) *reinterpret_cast<uint32_t*>(to + n * 8) = packBf16(x * t.scale, y * t.scale);
        } else {
          if (left > 0) to[n * 8] = toBf16(x * t.scale);
          if (left > 1) to[n * 8 + 1] = toBf16(y * t.scale);
        }
      }
    }
  }
}

/// Extra: with bias, ALiBi or dropout.
template <int D, bool Extra>
D2V_KERNEL(kWarps<D>* kWarp)
attentionBackward(AttentionTerms t, BackwardPointers p, int64_t firstHead, int64_t allHeads, BackwardPlan plan) {
  constexpr int kStride = kTileStride<D>;
  const AttentionHead head(t, firstHead + blockX() / plan.splits);
  const int split = blockX() % plan.splits;
  const int strip = threadCount() / kWarp * 16;  // keys of a chunk
  const int g = lane() / 4, c = lane() % 4;

  Bf16* tileK = shared<Bf16>();
  Bf16* tileV = tileK + strip * kStride;
  Bf16* tileS = tileV + strip * kStride;  // dS^T
  float* shift = shared<float>(tileBytes<D>(2 * strip) + strip * kStrideS * 2);
  float* delta = shift + kQueryTile;
  Bf16* queries = reinterpret_cast<Bf16*>(delta + kQueryTile);  // Q, dO, O of stage 0, then of stage 1
  const int tileSize = plan.queryRows * kStride;
  
  const auto loadQueries = [&](int i0, int stage) {
    const int valid = t.tq - i0, rows = smaller(plan.queryRows, roundUp16(valid));
    const int64_t atQ = head.query(t) + i0 * t.ldq, atO = head.output(t) + i0 * t.ldo;
    Bf16* to = queries + stage * 3 * tileSize;
    loadTile<D>(to, p.q + atQ, t.ldq, rows, valid, t.headDim, plan.vector);
    loadTile<D>(to + tileSize, p.dout + atO, t.ldo, rows, valid, t.headDim, plan.vector);
    loadTile<D>(to + 2 * tileSize, p.out + atO, t.ldo, rows, valid, t.headDim, plan.vector);
    commitCopies();
  };
  const float slope2 = Extra && t.slopes ? t.slopes[head.h] * kLog2e : 0.0f;
  float slopeSum = 0;

  for (int chunk = split; chunk < plan.chunks; chunk += plan.splits) {
    const int j0 = chunk * strip, valid = t.tk - j0;
    const int own = warp() * 16;  // first of the warp's keys in the chunk
    const int j = j0 + own + g;   // this lane has keys j and j + 8
    loadTile<D>(tileK, p.k + head.key(t) + j0 * t.ldk, t.ldk, strip, valid, t.headDim, plan.vector);
    loadTile<D>(tileV, p.v + head.key(t) + j0 * t.ldk, t.ldk, strip, valid, t.headDim, plan.vector);
    loadQueries(0, 0);
    const bool removed[2] = {head.removed(t, j), head.removed(t, j + 8)};
    const int groups = smaller(strip, roundUp16(valid)) / 16;  // of 16 keys, in this chunk
    const int32_t* points = Extra && t.slopes ? head.pointQ(t, 0) : nullptr;
    const RowPositions positions(t, Extra && t.slopes ? head.pointK(t, 0) : nullptr, smaller(j, t.tk - 1),
                                 smaller(j + 8, t.tk - 1));
    float dk[D / 8][4], dv[D / 8][4];
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) dk[n][e] = dv[n][e] = 0;
    }

    for (int i0 = 0, stage = 0; i0 < t.tq; i0 += plan.queryRows, stage ^= 1) {
      if (i0 + plan.queryRows < t.tq) {
        loadQueries(i0 + plan.queryRows, stage ^ 1);  // nobody reads that buffer since the barrier before dQ
        waitCopies<1>();
      } else {
        waitCopies<0>();
      }
      syncThreads();
      const Bf16* tileQ = queries + stage * 3 * tileSize;
      const Bf16* tileDout = tileQ + tileSize;
      const int rows = smaller(plan.queryRows, roundUp16(t.tq - i0));
      rowStatistics<D>(p.lse + head.bh * t.tq + i0, tileDout, tileDout + tileSize, rows, t.tq - i0, shift, delta);
      syncThreads();

#pragma unroll 1
      for (int n = 0; n < rows; n += 16) {  // 16 keys x 16 queries
        float s[2][4], ds[2][4];
#pragma unroll
        for (int e = 0; e < 4; ++e) s[0][e] = s[1][e] = ds[0][e] = ds[1][e] = 0;
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
          uint32_t a[4], b[2][2];
          loadA(a, tileK, kStride, own, d * 16);
          loadB(b, tileQ, kStride, n, d * 16);
          multiply(s[0], a, b[0]);
          multiply(s[1], a, b[1]);
          loadA(a, tileV, kStride, own, d * 16);
          loadB(b, tileDout, kStride, n, d * 16);
          multiply(ds[0], a, b[0]);
          multiply(ds[1], a, b[1]);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int r = n + half * 8 + 2 * c, i = i0 + r;  // this lane has queries i and i + 1
          const float shifts[2] = {shift[r], shift[r + 1]}, deltas[2] = {delta[r], delta[r + 1]};
          float(&x)[4] = s[half];
          float(&y)[4] = ds[half];
          float dist[4] = {0, 0, 0, 0};
          if constexpr (Extra) {
#pragma unroll
            for (int e = 0; e < 4; ++e) x[e] *= t.scale2;
            addTermsTransposed(t, head, positions, points, i, j, slope2, x, dist);
          }
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const float score = Extra ? x[e] - shifts[e % 2] : fmaf(x[e], t.scale2, -shifts[e % 2]);
            x[e] = removed[e / 2] ? 0.0f : fastExp2(score);
          }
          if (Extra && t.drops) {
            const uint32_t kept = keptTransposed(t, head, i, j0 + own + g / 4 * 4);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const bool keeps = kept >> e & 1;
              y[e] = x[e] * ((keeps ? y[e] * t.keepScale : 0.0f) - deltas[e % 2]);
              if (!keeps) x[e] = 0;
            }
          } else {
#pragma unroll
            for (int e = 0; e < 4; ++e) y[e] = x[e] * (y[e] - deltas[e % 2]);
          }
          if constexpr (Extra) {
#pragma unroll
            for (int e = 0; e < 4; ++e) slopeSum = fmaf(dist[e], y[e], slopeSum);
            if (p.dBias.data) {
              float* to = p.dBias.of(t, head);
#pragma unroll
              for (int e = 0; e < 4; ++e) {
                const int row = i + e % 2, column = j + e / 2 * 8;
                if (row < t.tq && column < t.tk) to[row * t.tk + column] = y[e];
              }
            }
          }
        }
        uint32_t a[4];
        packA(a, s[0], s[1]);
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
          uint32_t b[2][2];
          loadBTransposed(b, tileDout, kStride, n, d * 16);
          multiply(dv[2 * d], a, b[0]);
          multiply(dv[2 * d + 1], a, b[1]);
        }
        packA(a, ds[0], ds[1]);
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
          uint32_t b[2][2];
          loadBTransposed(b, tileQ, kStride, n, d * 16);
          multiply(dk[2 * d], a, b[0]);
          multiply(dk[2 * d + 1], a, b[1]);
        }
        Bf16* to = tileS + (own + g) * kStrideS + n + 2 * c;
        *reinterpret_cast<uint32_t*>(to) = a[0];
        *reinterpret_cast<uint32_t*>(to + 8 * kStrideS) = a[1];
        *reinterpret_cast<uint32_t*>(to + 8) = a[2];
        *reinterpret_cast<uint32_t*>(to + 8 * kStrideS + 8) = a[3];
      }
      syncThreads();
      const bool ends = plan.splits == 1 && chunk + 1 == plan.chunks;
      float* parts = p.dqParts ? p.dqParts + ((split * allHeads + head.bh) * t.tq + i0) * D : nullptr;
      queryGradient<D>(t, tileS, tileK, groups, rows, t.tq - i0, parts, chunk == split,
                       ends ? p.dq + head.query(t) + i0 * t.ldq : nullptr, plan.vector);
    }

    syncThreads();  // dQ has been read out of K
    Bf16* rowsK = tileK + own * kStride;
    Bf16* rowsV = tileV + own * kStride;
    putRows<D>(rowsK, dk, t.scale, t.scale);
    putRows<D>(rowsV, dv, t.keepScale, t.keepScale);  // 1 without dropout
    syncWarp();
    const int64_t at = head.key(t) + (j0 + own) * t.ldk;
    storeRows<D>(p.dk + at, t.ldk, rowsK, valid - own, t.headDim, plan.vector);
    storeRows<D>(p.dv + at, t.ldk, rowsV, valid - own, t.headDim, plan.vector);
    syncThreads();  // before the next chunk
  }
  if constexpr (Extra) {
    if (p.slopeParts) {
      slopeSum = blockSum(slopeSum, shift);
      if (threadX() == 0) p.slopeParts[head.bh * plan.splits + split] = slopeSum;
    }
  }
}

/// dq[b, i, head's columns] = scale * sum over splits of parts[split, b, head, i, 0..headDim), rows of `d` in parts.
D2V_KERNEL(256) sumQueryGradients(AttentionTerms t, const float* parts, Bf16* dq, int64_t rows, int d, int splits) {
  const int64_t i = static_cast<int64_t>(blockX()) * threadCount() + threadX();
  const int64_t row = i / d;  // (sample, head, query)
  const int column = static_cast<int>(i % d);
  if (row >= rows || column >= t.headDim) return;
  float sum = 0;
  for (int s = 0; s < splits; ++s) sum += parts[s * rows * d + i];
  dq[AttentionHead(t, row / t.tq).query(t) + row % t.tq * t.ldq + column] = toBf16(sum * t.scale);
}

/// False when the device has too little shared memory for heads of D.
template <int D>
bool backward(const AttentionBackwardArgs& a, const DeviceProperties& device, Allocator& memory, Stream stream) {
  const AttentionShape& s = a.shape;
  const AttentionTerms t = termsOf(s);
  const int64_t heads = s.batch * s.heads, groups = blocksFor(s.tk, 16);
  BackwardPlan plan{};
  plan.queryRows = smaller(kQueryTile, roundUp16(t.tq));
  const bool extra = t.bias || t.slopes || t.drops;
  const auto kernel = extra ? attentionBackward<D, true> : attentionBackward<D, false>;
  int warps = kWarps<D> / 2;  // if the keys are more than one chunk and two blocks fit a multiprocessor
  const auto bytes = [&] { return sharedBytes<D>(warps, plan.queryRows, t.tq > plan.queryRows ? 2 : 1); };
  const bool twoFit = 2 * (bytes() + kReserved) <= device.sharedPerBlock + kReserved;
  if (groups <= kWarps<D>) {
    warps = static_cast<int>(groups);
  } else if (!twoFit) {
    warps = kWarps<D>;
  }
  // Where shared memory is short: smaller tiles of queries, then fewer warps.
  if (bytes() > device.sharedPerBlock) plan.queryRows = smaller(plan.queryRows, 32);
  while (warps > 1 && bytes() > device.sharedPerBlock) --warps;
  if (bytes() > device.sharedPerBlock) return false;
  warps = static_cast<int>(blocksFor(groups, blocksFor(groups, warps)));
  plan.chunks = static_cast<int>(blocksFor(groups, warps));
  plan.splits = static_cast<int>(std::min<int64_t>(plan.chunks, blocksFor(2 * device.multiprocessors, heads)));
  plan.vector = true;
  for (const void* data : {a.q.data, static_cast<const void*>(a.dq.data)}) {
    plan.vector = plan.vector && rowsAligned(data, t.ldq, t.headDim);
  }
  for (const void* data : {a.k.data, a.v.data, static_cast<const void*>(a.dk.data), static_cast<const void*>(a.dv.data)}) {
    plan.vector = plan.vector && rowsAligned(data, t.ldk, t.headDim);
  }
  for (const void* data : {a.out.data, a.dout.data}) plan.vector = plan.vector && rowsAligned(data, t.ldo, t.headDim);

  const int64_t rows = heads * s.tq;
  const size_t partBytes = plan.chunks > 1 ? static_cast<size_t>(plan.splits * rows * D) * sizeof(float) : 0;
  const Workspace dqParts(memory, std::max<size_t>(partBytes, 1));
  const Workspace slopeParts(memory, static_cast<size_t>(heads * plan.splits) * sizeof(float));
  BackwardPointers p{};
  p.dout = static_cast<const Bf16*>(a.dout.data);
  p.out = static_cast<const Bf16*>(a.out.data);
  p.q = static_cast<const Bf16*>(a.q.data);
  p.k = static_cast<const Bf16*>(a.k.data);
  p.v = static_cast<const Bf16*>(a.v.data);
  p.lse = a.lse;
  p.dq = static_cast<Bf16*>(a.dq.data);
  p.dk = static_cast<Bf16*>(a.dk.data);
  p.dv = static_cast<Bf16*>(a.dv.data);
  p.dqParts = plan.chunks > 1 ? dqParts.floats() : nullptr;
  p.slopeParts = a.dSlopes ? slopeParts.floats() : nullptr;
  forSamples(s, a.dBias, memory, stream, [&](int64_t first, int64_t samples, BiasGradient dBias) {
    p.dBias = dBias;
    launch(kernel, {samples * s.heads * plan.splits}, warps * kWarp, static_cast<size_t>(bytes()), stream, t, p,
           first * s.heads, heads, plan);
  });
  if (plan.splits > 1) {
    launch(sumQueryGradients, {blocksFor(rows * D, 256)}, 256, 0, stream, t, dqParts.floats(), p.dq, rows, D,
           plan.splits);
  }
  if (a.dSlopes) {
    launch(sumSlopes, {s.heads}, kWarp, 0, stream, slopeParts.floats(), a.dSlopes, s.batch, s.heads,
           int64_t{plan.splits});
  }
  return true;
}

}  // namespace

void CudaBackend::attentionBackward(const AttentionBackwardArgs& a) {
  if (a.q.dtype != DType::BF16) return plainAttentionBackward<float>(a, memory_, stream_);
  const int64_t d = a.shape.headDim;
  const bool small = a.shape.tq * a.shape.tk <= INT32_MAX;  // a head's bias has 32-bit offsets
  if (small && d <= 32 && backward<32>(a, properties_, memory_, stream_)) return;
  if (small && d > 32 && d <= 64 && backward<64>(a, properties_, memory_, stream_)) return;
  if (small && d > 64 && d <= 80 && backward<80>(a, properties_, memory_, stream_)) return;
  if (small && d > 80 && d <= 128 && backward<128>(a, properties_, memory_, stream_)) return;
  plainAttentionBackward<Bf16>(a, memory_, stream_);
}

}  // namespace d2v::cuda
