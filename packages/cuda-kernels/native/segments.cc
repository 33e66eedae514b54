#include "segments.h"

#include <iterator>

namespace d2v {

void* Segments::take(size_t bytes) {
  const auto found = free_.lower_bound({bytes, 0});
  if (found == free_.end()) return nullptr;
  const uintptr_t address = found->second;
  const auto block = blocks_.find(address);
  if (const size_t rest = block->second.bytes - bytes; rest > 0) {
    const auto entry = free_.emplace(rest, address + bytes).first;
    try {
      blocks_.emplace_hint(std::next(block), address + bytes, Block{rest, false});
    } catch (...) {
      free_.erase(entry);
      throw;
    }
    block->second.bytes = bytes;
  }
  block->second.entry = free_.extract(found);
  return reinterpret_cast<void*>(address);
}

void Segments::give(void* data) noexcept {
  auto block = blocks_.find(reinterpret_cast<uintptr_t>(data));
  Free::node_type entry = std::move(block->second.entry);
  if (const auto next = std::next(block); next != blocks_.end() && !next->second.first && next->second.free()) {
    free_.erase({next->second.bytes, next->first});
    block->second.bytes += next->second.bytes;
    blocks_.erase(next);
  }
  if (!block->second.first && std::prev(block)->second.free()) {
    const auto before = std::prev(block);
    free_.erase({before->second.bytes, before->first});
    before->second.bytes += block->second.bytes;
    blocks_.erase(block);
    block = before;
  }
  entry.value() = {block->second.bytes, block->first};
  free_.insert(std::move(entry));
}

void Segments::add(void* segment, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(segment);
  const auto entry = free_.emplace(bytes, address).first;
  try {
    blocks_.emplace(address, Block{bytes, true});
  } catch (...) {
    free_.erase(entry);
    throw;
  }
}

bool Segments::wholeSegment(Blocks::const_iterator block) const {
  const auto next = std::next(block);
  return block->second.first && (next == blocks_.end() || next->second.first);
}

std::pair<void*, size_t> Segments::dropFree() noexcept {
  for (auto entry = free_.rbegin(); entry != free_.rend(); ++entry) {
    const auto block = blocks_.find(entry->second);
    if (!wholeSegment(block)) continue;
    const std::pair<void*, size_t> segment{reinterpret_cast<void*>(block->first), block->second.bytes};
    free_.erase(*entry);
    blocks_.erase(block);
    return segment;
  }
  return {nullptr, 0};
}

}  // namespace d2v
