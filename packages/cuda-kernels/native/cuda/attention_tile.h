// Tiles of bf16 rows in shared memory, and the matrix fragments read from them.
//
// A row of D elements takes D + 8: rows are an odd number of 16-byte pieces apart (D is a multiple of 16), so the eight
// rows that one ldmatrix phase reads lie in different banks, and so do the 16-byte pieces of a copy.
#pragma once

#include "device.h"
#include "vectors.h"

namespace d2v::cuda {

template <int D>
constexpr int kTileStride = D + 8;
template <int D>
D2V_BOTH constexpr int tileBytes(int rows) {
  return rows * kTileStride<D> * 2;
}

D2V_BOTH constexpr int roundUp16(int n) { return (n + 15) / 16 * 16; }

/// Starts copying `rows` rows of `columns` (<= D) elements to shared memory; rows from `valid` on and columns from
/// `columns` on become zeros. `vector`: the source's rows are 16-byte aligned and columns a multiple of 8; else elements
/// are moved one by one, at once. All threads of the block take part. The loops are not unrolled: nothing waits for a copy
/// that has been started, and addresses of several would take registers beside the accumulators.
template <int D>
D2V_DEVICE void loadTile(Bf16* tile, const Bf16* source, int64_t ld, int rows, int valid, int columns, bool vector) {
  constexpr int kPieces = D / 8;
  if (vector && kWarp % kPieces == 0) {  // a thread stays with its columns
    const int c = threadX() % kPieces * 8, each = threadCount() / kPieces;
    int r = threadX() / kPieces;
    const bool there = c < columns;
    source += r * ld + c;
    tile += r * kTileStride<D> + c;
#pragma unroll 1
    for (; r < rows; r += each) {
      copyAsync<16>(tile, source, there && r < valid);
      source += each * ld;
      tile += each * kTileStride<D>;
    }
  } else if (vector) {
#pragma unroll 1
    for (int i = threadX(); i < rows * kPieces; i += threadCount()) {
      const int r = i / kPieces, c = i % kPieces * 8;
      const bool there = r < valid && c < columns;
      copyAsync<16>(tile + r * kTileStride<D> + c, there ? source + r * ld + c : source, there);
    }
  } else {
#pragma unroll 1
    for (int i = threadX(); i < rows * D; i += threadCount()) {
      const int r = i / D, c = i % D;
      tile[r * kTileStride<D> + c] = r < valid && c < columns ? source[r * ld + c] : Bf16{0};
    }
  }
}

/// Copies 16 rows from shared memory, by one warp. `valid` rows of them exist (may be negative).
template <int D>
D2V_DEVICE void storeRows(Bf16* target, int64_t ld, const Bf16* tile, int valid, int columns, bool vector) {
  constexpr int kPieces = D / 8;
  if (vector && kWarp % kPieces == 0) {
    constexpr int each = kWarp / kPieces;
    const int c = lane() % kPieces * 8, first = lane() / kPieces;
    if (c >= columns) return;
    target += first * ld + c;
    tile += first * kTileStride<D> + c;
#pragma unroll
    for (int r = 0; r < 16; r += each) {
      if (first + r < valid) {
        *reinterpret_cast<Vec<uint32_t, 4>*>(target) = *reinterpret_cast<const Vec<uint32_t, 4>*>(tile + r * kTileStride<D>);
      }
      target += each * ld;
    }
  } else if (vector) {
#pragma unroll
    for (int i = lane(); i < 16 * kPieces; i += kWarp) {
      const int r = i / kPieces, c = i % kPieces * 8;
      if (r < valid && c < columns) {
        *reinterpret_cast<Vec<Bf16, 8>*>(target + r * ld + c) =
            *reinterpret_cast<const Vec<Bf16, 8>*>(tile + r * kTileStride<D> + c);
      }
    }
  } else {
    for (int i = lane(); i < 16 * D; i += kWarp) {
      const int r = i / D, c = i % D;
      if (r < valid && c < columns) target[r * ld + c] = tile[r * kTileStride<D> + c];
    }
  }
}

// Fragments. The tile's element (row, column) is at tile[row * stride + column]; `row` and `column` name the first of the
// 16 x 16 elements that a call reads.

/// A[m][k] = tile[row + m][column + k].
D2V_DEVICE void loadA(uint32_t (&a)[4], const Bf16* tile, int stride, int row, int column) {
  loadMatrices(a, tile + (row + lane() % 16) * stride + column + lane() / 16 * 8);
}
/// A[m][k] = tile[row + k][column + m].
D2V_DEVICE void loadATransposed(uint32_t (&a)[4], const Bf16* tile, int stride, int row, int column) {
  loadMatricesTransposed(a, tile + (row + lane() / 16 * 8 + lane() % 8) * stride + column + lane() / 8 % 2 * 8);
}
/// Two B of 8 columns each, side by side: B[k][n] = tile[row + n][column + k], n < 16.
D2V_DEVICE void loadB(uint32_t (&b)[2][2], const Bf16* tile, int stride, int row, int column) {
  uint32_t r[4];
  loadMatrices(r, tile + (row + lane() / 16 * 8 + lane() % 8) * stride + column + lane() / 8 % 2 * 8);
  b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
}
/// Two B of 8 columns each, side by side: B[k][n] = tile[row + k][column + n], n < 16.
D2V_DEVICE void loadBTransposed(uint32_t (&b)[2][2], const Bf16* tile, int stride, int row, int column) {
  uint32_t r[4];
  loadMatricesTransposed(r, tile + (row + lane() % 16) * stride + column + lane() / 16 * 8);
  b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
}
/// The A of 16 x 16 whose halves are two neighbouring C: what one product leaves is what the next one takes.
D2V_DEVICE void packA(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = packBf16(left[0], left[1]);
  a[1] = packBf16(left[2], left[3]);
  a[2] = packBf16(right[0], right[1]);
  a[3] = packBf16(right[2], right[3]);
}

/// Rounds a warp's 16 x D of C fragments, times `f0` (rows 0 to 7) and `f1`, into 16 rows of a tile.
template <int D>
D2V_DEVICE void putRows(Bf16* tile, const float (&c)[D / 8][4], float f0, float f1) {
  const int g = lane() / 4, t = lane() % 4;
#pragma unroll
  for (int n = 0; n < D / 8; ++n) {
    *reinterpret_cast<uint32_t*>(tile + g * kTileStride<D> + n * 8 + 2 * t) = packBf16(c[n][0] * f0, c[n][1] * f0);
    *reinterpret_cast<uint32_t*>(tile + (g + 8) * kTileStride<D> + n * 8 + 2 * t) =
        packBf16(c[n][2] * f1, c[n][3] * f1);
  }
}

}  // namespace d2v::cuda
