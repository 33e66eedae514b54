// The built-in GEMM. Plan:
//
//   1. op(b) is packed whole, in parallel, into panels of kNR columns, cut along k into blocks of at most kBlockK so
//      that one panel block (20 KB with AVX2) stays in a near cache.
//   2. c is cut into tiles of tileM x tileN. A tile goes through the k blocks; in each, a panel of b meets all rows of
//      the tile before the next panel is taken. Rows of a are read in place when they are contiguous along k.
//      A transposed a (weight gradients) is transposed per tile and block into scratch memory, and summed on the way
//      for the bias gradient.
//   3. The epilogue runs on each register tile when its last k block is done, while it is in the first-level cache.
//      When k has several blocks, partial sums wait in scratch memory, because c may hold a value to be added to.
//
// Tile sizes depend on the shape only, so the order of every sum, and the result, is the same for any thread count.
#include <algorithm>

#include "../parallel.h"
#include "gemm.h"
#include "gemm_pack.h"
#include "vec_math.h"

namespace d2v {
namespace D2V_ISA {
namespace {

// Measured: with AVX-512 a panel block comes from the second-level cache at full speed, so deep blocks win, which write
// partial sums seldom; and wide tiles, for which a's rows are copied less often.
#if defined(__AVX512F__)
constexpr int64_t kBlockK = 384;
constexpr int64_t kTileN = 384;
#else
constexpr int64_t kBlockK = 320;
constexpr int64_t kTileN = 192;
#endif
constexpr int64_t kTileM = 16 * kMR;
constexpr int64_t kPackLimit = int64_t{8} << 20;  // floats of b packed at a time
constexpr int64_t kStripFloats = 256 * 1024;      // of a long b, so that they stay in the cache until they are used
static_assert(kTileN % kNR == 0, "tiles begin at panels");

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Cuts of k, nearly equal.
struct KBlocks {
  int64_t k, count, size;
  explicit KBlocks(int64_t n) : k(n), count(ceilDiv(n, kBlockK)), size(ceilDiv(ceilDiv(n, count), 8) * 8) {
    count = ceilDiv(n, size);
  }
  int64_t depth(int64_t block) const { return std::min(size, k - block * size); }
};

struct Plan {
  KBlocks blocks;
  int64_t panels, tileM, tileN;
  bool copyA;

  explicit Plan(const GemmProblem& p) : blocks(p.k), panels(ceilDiv(p.n, kNR)), tileM(kTileM), tileN(kTileN) {
    // Rows that lie a multiple of 2 KB apart would share a few cache sets.
    copyA = p.transA || (p.lda % 512 == 0 && p.m > kMR);
    // Enough tiles to share out.
    if (ceilDiv(p.m, tileM) * ceilDiv(p.n, tileN) < 16) tileM = 8 * kMR;
    if (ceilDiv(p.m, tileM) * ceilDiv(p.n, tileN) < 16) tileN = kTileN / 2 / kNR * kNR;
    if (tileN < kNR) tileN = kNR;
    tileM = ceilDiv(ceilDiv(p.m, ceilDiv(p.m, tileM)), kMR) * kMR;
  }
  int64_t packedFloats() const { return panels * kNR * blocks.k; }
  int64_t scratchFloats() const { return tileM * blocks.size * (copyA ? 1 : 0) + tileM * tileN; }
  /// Panel j of block kb; blocks follow each other, each holds all panels.
  int64_t panelOffset(int64_t kb, int64_t panel) const {
    return kb * blocks.size * panels * kNR + panel * kNR * blocks.depth(kb);
  }
};

void packB(const GemmProblem& p, const Plan& plan, float* packed, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t kb = i / plan.panels, panel = i % plan.panels;
    const int64_t k0 = kb * plan.blocks.size, n0 = panel * kNR;
    const int64_t cols = std::min<int64_t>(kNR, p.n - n0);
    float* dst = packed + plan.panelOffset(kb, panel);
    if (p.transB) {
      packPanelTransposed(p.b + n0 * p.ldb + k0, p.ldb, plan.blocks.depth(kb), cols, dst);
    } else {
      packPanel(p.b + k0 * p.ldb + n0, p.ldb, plan.blocks.depth(kb), cols, dst);
    }
  }
}

float sumOf(const float* x, int64_t n) {
  Vf s = vzero();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) s = s + vload(x + i);
  if (i < n) s = s + vloadN(x + i, n - i);
  return vsum(s);
}

/// Finishes `rows` x `cols` elements: c (= or +=) epilogue(v). `c`, `pre` and `geluPre` point at the first of them.
void finishTile(const float* v, int64_t ldv, int64_t rows, int64_t cols, float* c, int64_t ldc, bool accumulate,
                const float* bias, float* pre, bool gelu, const float* geluPre) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* src = v + i * ldv;
    float* dst = c + i * ldc;
    float* preRow = pre ? pre + i * ldc : nullptr;
    const float* slopeRow = geluPre ? geluPre + i * ldc : nullptr;
    forVectors(cols, [&](auto load, auto store) D2V_LAMBDA {
      Vf x = load(src);
      if (bias) x = x + load(bias);
      if (preRow) store(preRow, x);
      if (gelu) x = vgelu(x);
      if (slopeRow) x = x * vgeluSlope(load(slopeRow));
      if (accumulate) x = x + load(dst);
      store(dst, x);
    });
  }
}

void computeTile(const GemmProblem& p, const Plan& plan, const float* packed, float* scratch, int64_t m0, int64_t n0) {
  const int64_t m = std::min(plan.tileM, p.m - m0), n = std::min(plan.tileN, p.n - n0);
  const bool direct = !p.epilogue.any();
  float* partial = scratch;
  float* copied = scratch + plan.tileM * plan.tileN;
  const RowTiles tiles(m);
  const int64_t zero = 0;
  for (int64_t kb = 0; kb < plan.blocks.count; ++kb) {
    const int64_t k0 = kb * plan.blocks.size, depth = plan.blocks.depth(kb);
    const float* a = p.a + m0 * p.lda + k0;
    int64_t lda = p.lda;
    if (plan.copyA) {
      if (p.transA) {
        transposeBlock(p.a + k0 * p.lda + m0, p.lda, depth, m, copied, plan.blocks.size);
        if (p.sumA && n0 == 0) {
          for (int64_t i = 0; i < m; ++i) p.sumA[m0 + i] += sumOf(copied + i * plan.blocks.size, depth);
        }
      } else {
        for (int64_t i = 0; i < m; ++i) {
          std::memcpy(copied + i * plan.blocks.size, a + i * lda, static_cast<size_t>(depth) * sizeof(float));
        }
      }
      a = copied;
      lda = plan.blocks.size;
    }
    const bool last = kb + 1 == plan.blocks.count;
    const Stretches all{&zero, 1, depth};
    for (int64_t j = 0; j < n; j += kNR) {
      const float* panel = packed + plan.panelOffset(kb, (n0 + j) / kNR);
      const int64_t cols = std::min<int64_t>(kNR, n - j);
      for (int64_t t = 0; t < tiles.count; ++t) {
        const int64_t i = tiles.begin(t), rows = tiles.begin(t + 1) - i;
        const float* pointers[kMR];
        for (int64_t r = 0; r < rows; ++r) pointers[r] = a + (i + r) * lda;
        const MicroTile micro = microTileFor(rows, cols);
        const int64_t at = (m0 + i) * p.ldc + n0 + j;
        if (direct) {
          micro(pointers, all, panel, p.c + at, p.ldc, cols, p.alpha, p.accumulate || kb > 0);
          continue;
        }
        // One block: the tile is finished at once, and its place in scratch memory is reused by the next one.
        const bool single = plan.blocks.count == 1;
        float* v = single ? partial : partial + i * plan.tileN + j;
        const int64_t ldv = single ? kNR : plan.tileN;
        micro(pointers, all, panel, v, ldv, cols, p.alpha, kb > 0);
        if (last) {
          const Epilogue& e = p.epilogue;
          finishTile(v, ldv, rows, cols, p.c + at, p.ldc, p.accumulate, e.bias ? e.bias + n0 + j : nullptr,
                     e.pre ? e.pre + at : nullptr, e.gelu, e.geluPre ? e.geluPre + at : nullptr);
        }
      }
    }
  }
}

/// The part of a problem in columns [n0, n0 + n).
GemmProblem columns(const GemmProblem& p, int64_t n0, int64_t n) {
  GemmProblem q = p;
  q.n = n;
  q.b += p.transB ? n0 * p.ldb : n0;
  q.c += n0;
  if (q.epilogue.bias) q.epilogue.bias += n0;
  if (q.epilogue.pre) q.epilogue.pre += n0;
  if (q.epilogue.geluPre) q.epilogue.geluPre += n0;
  if (n0 > 0) q.sumA = nullptr;
  return q;
}

}  // namespace

void gemm(Allocator& memory, const GemmProblem& p) {
  // A very large b (a vocabulary) is packed in strips.
  const int64_t strip = std::max<int64_t>(kPackLimit / p.k / kTileN, 1) * kTileN;
  if (p.n > strip) {
    for (int64_t n0 = 0; n0 < p.n; n0 += strip) gemm(memory, columns(p, n0, std::min(strip, p.n - n0)));
    return;
  }
  // So is a long b (a weight gradient over many tokens).
  const int64_t rows = std::max<int64_t>(2, kStripFloats / p.n / kBlockK) * kBlockK;
  if (p.transA && !p.transB && !p.epilogue.any() && p.k > rows + rows / 2) {
    for (int64_t k0 = 0; k0 < p.k; k0 += rows) {
      GemmProblem q = p;
      q.k = std::min(rows, p.k - k0);
      q.a += k0 * p.lda;
      q.b += k0 * p.ldb;
      q.accumulate = p.accumulate || k0 > 0;
      gemm(memory, q);
    }
    return;
  }
  const Plan plan(p);
  const int64_t tilesM = ceilDiv(p.m, plan.tileM), tilesN = ceilDiv(p.n, plan.tileN);
  const bool small = p.m * p.n * p.k < 100000;  // microseconds: not worth a fork
  const int64_t slice = plan.scratchFloats(), threads = small ? 1 : threadCount();
  Workspace packed(memory, static_cast<size_t>(plan.packedFloats()) * sizeof(float));
  Workspace scratch(memory, static_cast<size_t>(slice * threads) * sizeof(float));
  const int64_t panels = plan.panels * plan.blocks.count;
  const auto tile = [&](int64_t i) {
    float* mine = scratch.floats() + (small ? 0 : threadIndex() * slice);
    computeTile(p, plan, packed.floats(), mine, i % tilesM * plan.tileM, i / tilesM * plan.tileN);
  };
  if (small) {
    packB(p, plan, packed.floats(), 0, panels);
    for (int64_t i = 0; i < tilesM * tilesN; ++i) tile(i);
    return;
  }
  parallelFor(panels, 4, [&](int64_t begin, int64_t end) { packB(p, plan, packed.floats(), begin, end); });
  parallelItems(tilesM * tilesN, tile);
}

int64_t gemmSerialScratch(const GemmProblem& p) {
  const Plan plan(p);
  return plan.packedFloats() + plan.scratchFloats();
}

void gemmSerial(const GemmProblem& p, float* scratch) {
  const Plan plan(p);
  packB(p, plan, scratch, 0, plan.panels * plan.blocks.count);
  float* rest = scratch + plan.packedFloats();
  for (int64_t n0 = 0; n0 < p.n; n0 += plan.tileN) {
    for (int64_t m0 = 0; m0 < p.m; m0 += plan.tileM) computeTile(p, plan, scratch, rest, m0, n0);
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
