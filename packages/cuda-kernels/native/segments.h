// Blocks carved out of large segments of memory.
//
// Shapes differ from update to update (masks, clips and sentences of other lengths), so blocks of one size would wait for
// requests that do not come again while others are taken from the system. Here a freed block merges with its free
// neighbours and is cut anew: what is held stays near the largest sum in use, whatever the sizes were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace d2v {

class Segments {
 public:
  /// Sizes of blocks are multiples of it.
  static constexpr size_t kGranule = 4096;

  /// A block of `bytes`, a multiple of the granule, from the smallest free one that holds it; null if there is none.
  /// Throws std::bad_alloc, and then has changed nothing.
  void* take(size_t bytes);
  /// Takes a block back. Allocates nothing.
  void give(void* data) noexcept;
  /// Adds memory to carve from.
  void add(void* segment, size_t bytes);
  /// Forgets a segment that is free as a whole, the largest first. Returns its address and size, or {null, 0}.
  std::pair<void*, size_t> dropFree() noexcept;

 private:
  using Free = std::set<std::pair<size_t, uintptr_t>>;
  struct Block {
    size_t bytes;
    bool first;                   // of its segment: does not merge with what lies before it
    Free::node_type entry = {};  // of the free list; empty while the block is in it
    bool free() const { return entry.empty(); }
  };
  using Blocks = std::map<uintptr_t, Block>;

  bool wholeSegment(Blocks::const_iterator block) const;

  Blocks blocks_;  // by address
  Free free_;      // by size, then address
};

}  // namespace d2v
