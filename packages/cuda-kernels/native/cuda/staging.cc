#include "staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../errors.h"
#include "../parallel.h"
#include "../storage.h"

namespace d2v::cuda {

Pinned::Pinned(size_t bytes) : data_(static_cast<char*>(allocatePinned(bytes))), size_(bytes) {
  if (data_ == nullptr) throw OutOfMemory("out of memory: " + formatBytes(bytes) + " of page-locked host memory requested");
  try {
    event_ = createEvent();
  } catch (...) {
    releasePinned(data_);
    throw;
  }
}

Pinned::~Pinned() {
  destroyEvent(event_);
  releasePinned(data_);
}

std::unique_ptr<Pinned> PinnedPool::take(size_t bytes) {
  size_t size = 4096;
  while (size < bytes) size *= 2;
  const auto found = std::find_if(free_.begin(), free_.end(), [&](const auto& piece) { return piece->size() == size; });
  if (found == free_.end()) {
    free_.reserve(++made_);  // so that give() has room for all of them
    return std::make_unique<Pinned>(size);
  }
  std::unique_ptr<Pinned> piece = std::move(*found);
  free_.erase(found);
  return piece;
}

void PinnedPool::give(std::unique_ptr<Pinned> piece) noexcept {
  if (free_.size() < free_.capacity()) free_.push_back(std::move(piece));
}

namespace {

/// The copies write to the piece in stream order, so a piece may serve again although its copies are still under way: its
/// next ones come after them.
class PinnedReadback final : public Readback {
 public:
  PinnedReadback(std::shared_ptr<PinnedPool> pool, const std::vector<Piece>& pieces, WorkStream& work)
      : pool_(std::move(pool)), work_(work) {
    size_t bytes = 0;
    for (const Piece& p : pieces) bytes += static_cast<size_t>(p.bytes);
    memory_ = pool_->take(bytes);
    char* target = memory_->data();
    for (const Piece& p : pieces) {
      copy(target, p.src, static_cast<size_t>(p.bytes), work_.get());
      target += p.bytes;
    }
    work_.mark(memory_->event());
  }
  ~PinnedReadback() override { pool_->give(std::move(memory_)); }

  const char* wait() override {
    work_.wait(memory_->event());
    return memory_->data();
  }

 private:
  std::shared_ptr<PinnedPool> pool_;
  WorkStream& work_;
  std::unique_ptr<Pinned> memory_;
};

}  // namespace

Twin::Twin(size_t bytes) : data_(static_cast<char*>(allocate(bytes))) {
  if (data_ == nullptr) throw OutOfMemory("out of memory on the GPU: " + formatBytes(bytes) + " for copies requested");
}

Staging::Staging(WorkStream& work, Allocator& memory) : work_(work), memory_(memory), copies_(createStream()) {
  try {
    arrived_ = createEvent();
  } catch (...) {
    destroyStream(copies_);
    throw;
  }
}

Staging::~Staging() {
  try {
    work_.synchronize();
    synchronize(copies_);
  } catch (const std::exception&) {
    // An error of the GPU, which the op that met it has reported.
  }
  destroyEvent(arrived_);
  destroyStream(copies_);
}

void Staging::next() {
  if (ring_.empty()) {
    try {
      ring_.push_back(std::make_unique<Chunk>());
    } catch (const OutOfMemory&) {
      memory_.empty();
      ring_.push_back(std::make_unique<Chunk>());
    }
    return;
  }
  work_.mark(ring_[current_]->memory.event());
  const size_t oldest = (current_ + 1) % ring_.size();
  if (ring_.size() < kChunks && !work_.done(ring_[oldest]->memory.event())) {
    try {
      const auto place = ring_.begin() + static_cast<std::ptrdiff_t>(current_) + 1;  // before the oldest
      ring_.insert(place, std::make_unique<Chunk>());
      ++current_;
      return;
    } catch (const OutOfMemory&) {
      // The oldest will do, when the GPU is done with it.
    }
  }
  work_.wait(ring_[oldest]->memory.event());
  current_ = oldest;
  ring_[current_]->used = 0;
}

namespace {

/// One core copies a batch of images no faster than in 4 to 10 ms, which is much of an update.
void copyByThreads(char* to, const char* from, size_t bytes) {
  parallelFor(static_cast<int64_t>(bytes), int64_t{512} << 10, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

}  // namespace

void Staging::up(void* dst, const void* host, size_t bytes) {
  char* target = static_cast<char*>(dst);
  const char* source = static_cast<const char*>(host);
  while (bytes > 0) {
    if (ring_.empty() || ring_[current_]->used == kChunk) next();
    Chunk& chunk = *ring_[current_];
    const size_t part = std::min(bytes, kChunk - chunk.used);
    char* staged = chunk.memory.data() + chunk.used;
    copyByThreads(staged, source, part);
    if (part >= kLarge) {
      char* arriving = chunk.twin.data() + chunk.used;
      copy(arriving, staged, part, copies_);
      record(arrived_, copies_);
      work_.after(arrived_);
      staged = arriving;
    }
    copy(target, staged, part, work_.get());
    chunk.used = std::min(kChunk, (chunk.used + part + 63) / 64 * 64);
    target += part;
    source += part;
    bytes -= part;
  }
}

void Staging::down(void* host, const void* src, size_t bytes) {
  for (auto& chunk : down_) {
    if (!chunk) chunk = std::make_unique<Pinned>(kChunk);
  }
  char* target = static_cast<char*>(host);
  const char* source = static_cast<const char*>(src);
  const size_t parts = (bytes + kChunk - 1) / kChunk;
  const auto size = [&](size_t i) { return std::min(kChunk, bytes - i * kChunk); };
  // The GPU fills one chunk while the host empties the other.
  for (size_t i = 0; i < parts + 1; ++i) {
    if (i < parts) {
      Pinned& chunk = *down_[i % 2];
      copy(chunk.data(), source + i * kChunk, size(i), work_.get());
      work_.mark(chunk.event());
    }
    if (i > 0) {
      Pinned& chunk = *down_[(i - 1) % 2];
      work_.wait(chunk.event());
      std::memcpy(target + (i - 1) * kChunk, chunk.data(), size(i - 1));
    }
  }
}

std::unique_ptr<Readback> Staging::readback(const std::vector<Piece>& pieces) {
  return std::make_unique<PinnedReadback>(pool_, pieces, work_);
}

}  // namespace d2v::cuda
