// Statistics down the columns of a token-major matrix: a block takes a tile of columns and all rows of a chunk.
//
// Eight lanes side by side read 128 bytes of a row (wide pieces), so a block of 256 threads has 32 rows under way at once,
// and each thread every 32nd row of its columns. With `Held` > 0 a thread keeps up to that many pieces in registers, as the
// bits that came from memory: mean, distances from the mean and whatever follows look at them there, and memory is read
// once. With Held = 0 (chunks of any length) each look reads again, from cache.
#pragma once

#include "rows.h"

namespace d2v::cuda {

constexpr int kTileThreads = 256;
/// Lanes side by side, and rows of a block at once.
template <int N>
constexpr int kTileLanes = N > 1 ? 8 : kWarp;
template <int N>
constexpr int kTileRows = kTileThreads / kTileLanes<N>;
template <int N>
constexpr int kTileColumns = kTileLanes<N> * N;
/// Shared memory of a tile.
template <int N>
constexpr size_t kTileShared = kTileThreads / kWarp * kTileColumns<N> * sizeof(float);

/// One thread's share of a tile: columns `column` .. + N - 1 of the rows first(), first() + kTileRows ... < rows.
template <typename T, int N, int Held>
class ColumnTile {
 public:
  /// at(i): address of element 0 of row i. All threads of the block come here and to moments().
  template <typename At>
  D2V_DEVICE ColumnTile(int64_t tile, int64_t rows, int64_t d, const At& at)
      : column_(tile * kTileColumns<N> + threadX() % kTileLanes<N> * N), rows_(column_ < d ? rows : 0) {
    if constexpr (Held > 0) {
#pragma unroll
      for (int k = 0; k < Held; ++k) {
        if (row(k) < rows_) held_[k].read(at(row(k)) + column_);
      }
    }
  }

  D2V_DEVICE int64_t column() const { return column_; }
  /// The thread's first row is that of no other thread with these columns.
  D2V_DEVICE bool leads() const { return rows_ > 0 && first() == 0; }

  /// body(i, values) for each row i.
  template <typename At, typename Body>
  D2V_DEVICE void each(const At& at, const Body& body) const {
    float v[N];
    if constexpr (Held > 0) {
#pragma unroll
      for (int k = 0; k < Held; ++k) {
        if (row(k) >= rows_) break;
        held_[k].widen(v);
        body(row(k), v);
      }
    } else {
      for (int64_t i = first(); i < rows_; i += kTileRows<N>) {
        load(v, at(i) + column_);
        body(i, v);
      }
    }
  }

  /// Mean of each column over the `rows` of the chunk, and the sum of squared distances from it.
  template <typename At>
  D2V_DEVICE void moments(const At& at, int64_t rows, float* scratch, float (&mean)[N], float (&squares)[N]) const {
#pragma unroll
    for (int i = 0; i < N; ++i) mean[i] = squares[i] = 0;
    each(at, [&](int64_t, const float(&v)[N]) {
#pragma unroll
      for (int i = 0; i < N; ++i) mean[i] += v[i];
    });
    sum(mean, scratch);
#pragma unroll
    for (int i = 0; i < N; ++i) mean[i] /= static_cast<float>(rows);
    each(at, [&](int64_t, const float(&v)[N]) {
#pragma unroll
      for (int i = 0; i < N; ++i) squares[i] = fmaf(v[i] - mean[i], v[i] - mean[i], squares[i]);
    });
    sum(squares, scratch);
  }

 private:
  D2V_DEVICE static int first() { return threadX() / kTileLanes<N>; }
  D2V_DEVICE static int row(int k) { return first() + k * kTileRows<N>; }

  /// Over the threads with the same columns, in every one of them.
  D2V_DEVICE static void sum(float (&v)[N], float* scratch) {
    constexpr int lanes = kTileLanes<N>, columns = kTileColumns<N>;
#pragma unroll
    for (int i = 0; i < N; ++i) {
#pragma unroll
      for (int mask = lanes; mask < kWarp; mask *= 2) v[i] += shuffleXor(v[i], mask);
    }
    syncThreads();
    if (lane() < lanes) store(scratch + warp() * columns + lane() * N, v);
    syncThreads();
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] = 0;
#pragma unroll
    for (int w = 0; w < kTileThreads / kWarp; ++w) {
      float part[N];
      load(part, scratch + w * columns + lane() % lanes * N);
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] += part[i];
    }
  }

  const int64_t column_, rows_;  // no rows where there is no column
  RawPiece<T, N> held_[Held > 0 ? Held : 1];
};

/// Calls body(Constant<N>, Constant<Held>) for chunks of `rows` rows.
template <typename T, typename Body>
inline void forTileShape(int64_t rows, bool wide, const Body& body) {
  using Wide = Constant<kWide<T>>;
  constexpr int atOnce = kTileRows<Wide::value>;
  if (!wide) {
    body(Constant<1>(), Constant<0>());
  } else if (rows <= 8 * atOnce) {
    body(Wide(), Constant<8>());
  } else if (rows <= 19 * atOnce) {
    body(Wide(), Constant<19>());
  } else {
    body(Wide(), Constant<0>());
  }
}

}  // namespace d2v::cuda
