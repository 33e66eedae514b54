// Copying rows of bytes from where a map says to where it says: gathers, repeats, slices, embeddings.
//
// A row is moved in units of up to 16 bytes, the widest that fit its length and all addresses, by a power of two of lanes
// side by side: so few for short rows that a warp takes several of them, and never more than a block. A lane has up to four
// units in flight. Rows that are longer than that are cut into pieces, which are spread over the grid like rows.
#pragma once

#include <initializer_list>

#include "launch.h"

namespace d2v::cuda {

constexpr int kCopyThreads = 256, kCopyUnits = 4;

/// `map.source(row)` and `map.target(row)` give the first byte of a row of `units` units.
template <typename Unit, typename Map>
D2V_KERNEL(kCopyThreads)
copyRowsKernel(Map map, int64_t rows, int64_t units, int64_t pieces, int lanesLog2) {
  const int64_t thread = static_cast<int64_t>(blockX()) * kCopyThreads + threadX(), item = thread >> lanesLog2;
  const int lanes = 1 << lanesLog2, side = static_cast<int>(thread & (lanes - 1));
  const int64_t row = pieces == 1 ? item : item / pieces;
  if (row >= rows) return;
  const int64_t first = (item - row * pieces) * lanes * kCopyUnits + side;
  const Unit* from = reinterpret_cast<const Unit*>(map.source(row));
  Unit* to = reinterpret_cast<Unit*>(map.target(row));
  Unit unit[kCopyUnits];
#pragma unroll
  for (int k = 0; k < kCopyUnits; ++k) {
    if (first + k * lanes < units) unit[k] = from[first + k * lanes];
  }
#pragma unroll
  for (int k = 0; k < kCopyUnits; ++k) {
    if (first + k * lanes < units) to[first + k * lanes] = unit[k];
  }
}

/// Starts the copy of `rows` rows of `rowBytes` bytes. `steps`: every distance between rows of either side, in bytes;
/// `bases`: the addresses that the map counts from.
template <typename Map>
void copyRows(const Map& map, int64_t rows, int64_t rowBytes, std::initializer_list<int64_t> steps,
              std::initializer_list<const void*> bases, Stream stream) {
  uint64_t all = static_cast<uint64_t>(rowBytes);
  for (const int64_t step : steps) all |= static_cast<uint64_t>(step);
  for (const void* base : bases) all |= reinterpret_cast<uintptr_t>(base);
  const auto start = [&](auto unit) {
    using Unit = decltype(unit);
    const int64_t units = rowBytes / static_cast<int64_t>(sizeof(Unit));
    int lanesLog2 = 0;
    while (kCopyUnits << lanesLog2 < units && 1 << lanesLog2 < kCopyThreads) ++lanesLog2;
    const int64_t pieces = blocksFor(units, static_cast<int64_t>(kCopyUnits) << lanesLog2);
    launch(copyRowsKernel<Unit, Map>, Grid{blocksFor(rows * pieces << lanesLog2, kCopyThreads)}, kCopyThreads, 0, stream,
           map, rows, units, pieces, lanesLog2);
  };
  if (all % 16 == 0) start(Vec<uint32_t, 4>());
  else if (all % 8 == 0) start(uint64_t());
  else if (all % 4 == 0) start(uint32_t());
  else if (all % 2 == 0) start(uint16_t());
  else start(uint8_t());
}

}  // namespace d2v::cuda
