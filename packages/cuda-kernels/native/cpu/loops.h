// Small helpers of the bandwidth-bound kernels.
#pragma once

#include <cstdint>

#include "cpu_backend.h"

namespace d2v {
namespace D2V_ISA {

/// Elements below which a second thread costs more than it saves.
constexpr int64_t kGrain = 16384;

/// Elements per chunk of a reduction: fixed, so that sums do not depend on the number of threads.
constexpr int64_t kChunk = 32768;

/// Rows of `width` elements that make a worthwhile piece of work.
inline int64_t rowGrain(int64_t width) { return width >= kGrain ? 1 : kGrain / width; }

/// body(row, firstColumn, columns) over all rows and blocks of at most `block` columns, in parallel.
template <typename Body>
inline void parallelBlocks(int64_t rows, int64_t columns, int64_t block, const Body& body) {
  const int64_t blocks = (columns + block - 1) / block;
  parallelFor(rows * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * block;
      body(i / blocks, first, columns - first < block ? columns - first : block);
    }
  });
}

/// Sum of body(begin, end) over fixed chunks of [0, n), combined in order.
template <typename Body>
inline double chunkedSum(Allocator& memory, int64_t n, int64_t chunk, const Body& body) {
  const int64_t parts = (n + chunk - 1) / chunk;
  if (parts == 1) return body(static_cast<int64_t>(0), n);
  Workspace partial(memory, static_cast<size_t>(parts) * sizeof(double));
  double* sums = partial.as<double>();
  parallelChunks(n, chunk, [&](int64_t i, int64_t begin, int64_t end) { sums[i] = body(begin, end); });
  double total = 0;
  for (int64_t i = 0; i < parts; ++i) total += sums[i];
  return total;
}

}  // namespace D2V_ISA
}  // namespace d2v
