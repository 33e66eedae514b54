// Page-locked host memory between JavaScript's arrays and the GPU.
//
// A copy that shall run beside the host's work needs page-locked memory, which JavaScript's arrays are not. What goes up is
// copied into a chunk of a ring and from there by the GPU; the host goes on at once. Small pieces are copied in the stream
// of the kernels. Large ones (images, sounds) go up in a stream of their own, beside the kernels of the update before, to the
// chunk's twin on the GPU, and from there to their place in the order of the kernels: at the speed of the GPU's memory, that
// is in no time. So nothing but the chunks has to be guarded against an early copy. What comes down goes through two chunks
// in turn.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "../backend.h"
#include "driver.h"
#include "work_stream.h"

namespace d2v::cuda {

/// A piece of page-locked memory and an event for what the GPU does with it.
class Pinned {
 public:
  explicit Pinned(size_t bytes);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  char* data() const { return data_; }
  size_t size() const { return size_; }
  Event event() const { return event_; }

 private:
  char* data_ = nullptr;
  size_t size_;
  Event event_ = nullptr;
};

/// Pieces for readbacks, kept for reuse: page-locking memory takes as long as an op.
class PinnedPool {
 public:
  std::unique_ptr<Pinned> take(size_t bytes);
  void give(std::unique_ptr<Pinned> piece) noexcept;

 private:
  std::vector<std::unique_ptr<Pinned>> free_;
  size_t made_ = 0;
};

/// Memory of the GPU that only copies to it use.
class Twin {
 public:
  explicit Twin(size_t bytes);
  ~Twin() { release(data_); }
  Twin(const Twin&) = delete;
  Twin& operator=(const Twin&) = delete;
  char* data() const { return data_; }

 private:
  char* data_;
};

class Staging {
 public:
  /// `memory` is the GPU's, whose unused part is given back if there is no room for the ring.
  Staging(WorkStream& work, Allocator& memory);
  /// Waits for copies under way.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Enqueues dst = host. The host memory may change when it returns. Waits only for chunks of the ring: when the GPU is
  /// `kChunks` chunks behind, or fewer if there is no memory for more. Throws OutOfMemory if there is none for the first.
  void up(void* dst, const void* host, size_t bytes);
  /// host = src, as src is after everything enqueued so far; waits for it.
  void down(void* host, const void* src, size_t bytes);
  std::unique_ptr<Readback> readback(const std::vector<Piece>& pieces);

 private:
  /// Two updates of the largest batches (64 images in f32 are 37 MiB) fit.
  static constexpr size_t kChunk = size_t{8} << 20, kChunks = 12;
  /// Smaller pieces take less time than the two events and the second copy.
  static constexpr size_t kLarge = size_t{256} << 10;

  /// Its event: the GPU is done with what was enqueued from it.
  struct Chunk {
    Pinned memory{kChunk};
    Twin twin{kChunk};
    size_t used = 0;
  };
  /// Makes `current_` a chunk that nothing uses.
  void next();

  WorkStream& work_;
  Allocator& memory_;
  Stream copies_;
  Event arrived_;  // in their twins: all pieces so far
  std::vector<std::unique_ptr<Chunk>> ring_;  // in the order of their use, from the one after `current_`
  size_t current_ = 0;
  std::unique_ptr<Pinned> down_[2];
  std::shared_ptr<PinnedPool> pool_ = std::make_shared<PinnedPool>();
};

}  // namespace d2v::cuda
