// Sums over the rows of a matrix, added to gradients of parameters; also the last step of sums that blocks made in part.
#pragma once

#include "launch.h"
#include "vectors.h"

namespace d2v::cuda {

constexpr int kColumnThreads = 1024;

/// first[c] += sum over rows of x[row * stride + c] for c < split, second[c - split] likewise from split on; null: skipped.
/// A lane has a column, the warps of a block share the rows; their sums are combined in order.
template <typename T>
D2V_KERNEL(kColumnThreads)
addColumnSums(float* first, float* second, int64_t split, const T* x, int64_t rows, int64_t stride, int64_t columns) {
  const int64_t c = static_cast<int64_t>(blockX()) * kWarp + lane();
  constexpr int warps = kColumnThreads / kWarp;
  float sum = 0;
  if (c < columns) {
#pragma unroll 4
    for (int64_t row = warp(); row < rows; row += warps) sum += toFloat(x[row * stride + c]);
  }
  float* sums = shared<float>();
  sums[threadX()] = sum;
  syncThreads();
  float* out = c < split ? first + c : second + (c - split);
  if (warp() != 0 || c >= columns || (c < split ? first : second) == nullptr) return;
  float total = 0;
  for (int w = 0; w < warps; ++w) total += sums[w * kWarp + lane()];
  *out += total;
}

/// Launches addColumnSums.
template <typename T>
void launchColumnSums(float* first, float* second, int64_t split, const T* x, int64_t rows, int64_t stride,
                      int64_t columns, Stream stream) {
  launch(addColumnSums<T>, Grid{blocksFor(columns, kWarp)}, kColumnThreads, kColumnThreads * sizeof(float), stream,
         first, second, split, x, rows, stride, columns);
}

}  // namespace d2v::cuda
