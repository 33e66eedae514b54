// Page-locked host memory between JavaScript's arrays and the GPU.
//
// A copy that shall run beside the host's work needs page-locked memory, which JavaScript's arrays are not. What goes up is
// copied into a chunk of a ring and from there by the GPU, in stream order; the host goes on at once. What comes down goes
// the other way, through two chunks in turn.
//
// There is no stream of its own for copies: a batch of 64 images takes 1 to 2 % of an update (decision 0020), and a copy
// ahead of its turn would need a second buffer on the GPU and a copy within it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "../backend.h"
#include "driver.h"

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

class Staging {
 public:
  explicit Staging(Stream stream) : stream_(stream) {}
  /// Waits for copies under way.
  ~Staging();

  /// Enqueues dst = host. The host memory may change when it returns. Waits only for chunks of the ring: when the GPU is
  /// `kChunks` chunks behind.
  void up(void* dst, const void* host, size_t bytes);
  /// host = src, as src is after everything enqueued so far; waits for it.
  void down(void* host, const void* src, size_t bytes);
  std::unique_ptr<Readback> readback(const std::vector<Piece>& pieces);

 private:
  /// Two updates of the largest batches (64 images in f32 are 37 MiB) fit.
  static constexpr size_t kChunk = size_t{8} << 20, kChunks = 12;

  struct Chunk {
    Pinned memory{kChunk};
    size_t used = 0;
  };
  /// Makes `current_` a chunk that nothing uses.
  void next();

  Stream stream_;
  std::vector<std::unique_ptr<Chunk>> ring_;  // in the order of their use, from the one after `current_`
  size_t current_ = 0;
  std::unique_ptr<Pinned> down_[2];
  std::shared_ptr<PinnedPool> pool_ = std::make_shared<PinnedPool>();
};

}  // namespace d2v::cuda
