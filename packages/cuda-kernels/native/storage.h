// Device memory: a caching allocator with size classes, and reference-counted buffers from it.
//
// One allocator per device and per JavaScript environment; used from that environment's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace d2v {

struct MemoryStats {
  uint64_t current = 0;      // bytes handed out (rounded up to the size class)
  uint64_t peak = 0;         // largest `current` since start or resetPeak
  uint64_t liveBuffers = 0;  // buffers handed out
  uint64_t cached = 0;       // bytes kept for reuse
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
  /// Gives cached memory back to the system.
  void empty() noexcept;
  const MemoryStats& stats() const { return stats_; }
  void resetPeak() { stats_.peak = stats_.current; }

  /// The class a request falls in: 8 classes per power of two, at most 12.5 % lost.
  static size_t roundUp(size_t bytes);

 protected:
  virtual void* systemAllocate(size_t bytes) noexcept = 0;  // null on failure
  virtual void systemFree(void* data, size_t bytes) noexcept = 0;
  /// Most bytes a request may ask for: what the device has.
  virtual uint64_t capacity() const = 0;
  virtual std::string deviceName() const = 0;

 private:
  std::unordered_map<size_t, std::vector<void*>> free_;
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
