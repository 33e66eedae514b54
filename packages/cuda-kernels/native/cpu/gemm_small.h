// Products inside one thread, on operands that are already packed: attention heads.
#pragma once

#include "gemm_pack.h"

namespace d2v {
namespace D2V_ISA {

constexpr int64_t roundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/// Floats of a packed operand of `depth` rows and n columns.
inline int64_t packedSize(int64_t depth, int64_t n) { return depth * roundUp(n, kNR); }

/// Packs a row-major [depth, n] matrix into panels: panel after panel, each [depth, kNR].
inline void packColumns(const float* b, int64_t ldb, int64_t depth, int64_t n, float* dst) {
  for (int64_t j = 0; j < n; j += kNR) packPanel(b + j, ldb, depth, n - j < kNR ? n - j : kNR, dst + j * depth);
}

/// Packs the transpose of a row-major [n, depth] matrix.
inline void packRows(const float* b, int64_t ldb, int64_t n, int64_t depth, float* dst) {
  for (int64_t j = 0; j < n; j += kNR) {
    packPanelTransposed(b + j * ldb, ldb, depth, n - j < kNR ? n - j : kNR, dst + j * depth);
  }
}

/// c[m, n] (= or +=) alpha * a[m, depth] b, b packed with `packedDepth` rows of which [first, first + depth) are used.
/// Columns n.. of the last vector are written too when `n` is a multiple of kLanes; otherwise nothing behind n is.
inline void multiplyPacked(const float* a, int64_t lda, int64_t m, int64_t depth, const float* packed,
                           int64_t packedDepth, int64_t first, int64_t n, float* c, int64_t ldc, float alpha,
                           bool accumulate) {
  constexpr int64_t kBlock = 320;
  const RowTiles tiles(m);
  const int64_t zero = 0;
  for (int64_t k = 0; k < depth; k += kBlock) {
    const Stretches all{&zero, 1, depth - k < kBlock ? depth - k : kBlock};
    for (int64_t j = 0; j < n; j += kNR) {
      const float* panel = packed + j * packedDepth + (first + k) * kNR;
      const int64_t cols = n - j < kNR ? n - j : kNR;
      for (int64_t t = 0; t < tiles.count; ++t) {
        const int64_t i = tiles.begin(t), rows = tiles.begin(t + 1) - i;
        const float* pointers[kMR];
        for (int64_t r = 0; r < rows; ++r) pointers[r] = a + (i + r) * lda + k;
        microTileFor(rows, cols)(pointers, all, panel, c + i * ldc + j, ldc, cols, alpha, accumulate || k > 0);
      }
    }
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
