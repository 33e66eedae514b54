// Device memory: a caching allocator, and scratch memory from it.
//
// Small requests fall in size classes, and each class keeps its freed blocks. Large ones are carved out of segments
// (segments.h), where neighbours merge: a class for each of their sizes held more than twice of what was in use.
//
// One allocator per device and per JavaScript environment; used from that environment's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "segments.h"

namespace d2v {

struct MemoryStats {
  uint64_t current = 0;      // bytes handed out (rounded up)
  uint64_t peak = 0;         // largest `current` since start or resetPeak
  uint64_t liveBuffers = 0;  // buffers handed out
  uint64_t cached = 0;       // bytes taken from the system and not handed out
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  Allocator() = default;
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  /// 64-byte aligned, uninitialised. Throws OutOfMemory (see errors.h) with sizes in the message.
  void* allocate(size_t bytes);
  void release(void* data, size_t bytes) noexcept;
  /// Gives cached memory back to the system, but for what lies between blocks in use.
  void empty() noexcept;
  const MemoryStats& stats() const { return stats_; }
  void resetPeak() { stats_.peak = stats_.current; }

  /// Called before memory goes back to the system.
  std::function<void()> beforeFree = [] {};

  /// What a request occupies. Small: its class, of which there are 8 per power of two (at most 12.5 % lost). Large:
  /// granules of a segment.
  static size_t roundUp(size_t bytes);

 protected:
  virtual void* systemAllocate(size_t bytes) noexcept = 0;  // null on failure
  virtual void systemFree(void* data, size_t bytes) noexcept = 0;
  /// Most bytes a request may ask for: what the device has.
  virtual uint64_t capacity() const = 0;
  /// Whether so many bytes in all may be held, in use or not, before unused ones are given back for a new segment.
  virtual bool plenty(uint64_t /*held*/) const { return false; }
  virtual std::string deviceName() const = 0;

 private:
  void* allocateSmall(size_t size);
  void* allocateLarge(size_t size);
  /// From the system, which large requests are checked against first. Null on failure.
  void* obtain(size_t size) noexcept;
  /// Gives free segments of `bytes` or more in all back to the system, or all there are.
  void dropSegments(size_t bytes) noexcept;

  std::unordered_map<size_t, std::vector<void*>> small_;
  Segments large_;
  MemoryStats stats_;
};

/// Memory of this process.
std::unique_ptr<Allocator> makeHostAllocator();

/// Scratch memory for the length of a scope, from the caching allocator. Take it outside parallel loops.
class Workspace {
 public:
  Workspace(Allocator& memory, size_t bytes) : memory_(memory), bytes_(bytes), data_(memory.allocate(bytes)) {}
  ~Workspace() { memory_.release(data_, bytes_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  float* floats() const { return as<float>(); }

 private:
  Allocator& memory_;
  size_t bytes_;
  void* data_;
};

}  // namespace d2v
