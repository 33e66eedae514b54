// Loops over all elements of a tensor, for ops that are bound by memory.
//
// As many blocks run as fill the GPU, and a thread takes every so many'th piece of N neighbours (16 bytes where the
// addresses allow it): 2048 threads per multiprocessor with one such load under way each keep 32 KiB in flight, more than
// bandwidth times latency of an H200 (about 22 KiB per multiprocessor).
#pragma once

#include "driver.h"
#include "launch.h"

namespace d2v::cuda {

constexpr int kLoopThreads = 256;
/// 2048 threads.
constexpr int kLoopBlocks = 8;

/// Blocks of kLoopThreads for a loop over so many pieces.
inline Grid loopGrid(int64_t pieces, const DeviceProperties& device) {
  const int64_t most = static_cast<int64_t>(device.multiprocessors) * kLoopBlocks;
  const int64_t blocks = blocksFor(pieces, kLoopThreads);
  return {blocks < 1 ? 1 : blocks < most ? blocks : most};
}

/// A number of elements known when a kernel is compiled (std::integral_constant has host functions only).
template <int N>
struct Width {
  D2V_BOTH constexpr operator int() const { return N; }
};

/// Calls body(i, width) for pieces of `width` (N, or 1 for the rest) elements from i on that cover [0, n), each
/// once in the grid.
template <int N, typename Body>
D2V_DEVICE void forPieces(int64_t n, const Body& body) {
  const int64_t first = static_cast<int64_t>(blockX()) * threadCount() + threadX();
  const int64_t step = static_cast<int64_t>(gridX()) * threadCount();
  const int64_t pieces = n / N;
  for (int64_t i = first; i < pieces; i += step) body(i * N, Width<N>());
  if constexpr (N > 1) {
    if (first < n % N) body(pieces * N + first, Width<1>());
  }
}

/// A block's way through rows of a matrix whose rows are pieces of N elements: neighbouring threads take neighbouring pieces
/// of a row, and as many rows as fit the block go side by side. The grid is columns x rows; a thread keeps its columns.
struct RowLoop {
  int perRow;     // threads side by side in a row
  int atOnce;     // rows that a block takes at once
  int64_t width;  // pieces of a row
};
constexpr int64_t kMostGridY = 65535;

inline RowLoop rowLoop(int64_t width) {
  const int perRow = width < kLoopThreads ? static_cast<int>(width) : kLoopThreads;
  return {perRow, kLoopThreads / perRow, width};
}
inline Grid rowGrid(const RowLoop& loop, int64_t rows, const DeviceProperties& device, int64_t z = 1) {
  const int64_t x = blocksFor(loop.width, loop.perRow);
  const int64_t fill = blocksFor(static_cast<int64_t>(device.multiprocessors) * kLoopBlocks, x * z);
  const int64_t y = blocksFor(rows, loop.atOnce);
  return {x, y < fill ? y : fill < kMostGridY ? fill : kMostGridY, z};
}
/// The thread's piece of each row, its first row, and the next one's distance; piece is -1 if it has nothing to do.
struct RowPlace {
  int64_t piece, row, step;
};
D2V_DEVICE RowPlace rowPlace(const RowLoop& loop) {
  const int side = threadX() / loop.perRow;
  const int64_t piece = static_cast<int64_t>(blockX()) * loop.perRow + threadX() % loop.perRow;
  return {side < loop.atOnce && piece < loop.width ? piece : -1, static_cast<int64_t>(blockY()) * loop.atOnce + side,
          static_cast<int64_t>(gridY()) * loop.atOnce};
}

}  // namespace d2v::cuda
