#include "storage.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>

#include "errors.h"

#if defined(_WIN32)
#include <malloc.h>
#include <windows.h>
#else
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace d2v {

std::string formatBytes(unsigned long long bytes) {
  const char* units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 6) {
    value /= 1024;
    ++unit;
  }
  char text[64];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

namespace {

constexpr size_t kSmallest = 64;
constexpr size_t kSmall = size_t{128} << 10;
constexpr size_t kHugePage = size_t{2} << 20;
/// Requests of more than that are checked first: an overcommitting system would grant them and kill the process later.
constexpr size_t kChecked = size_t{32} << 20;
/// What is taken from the system at a time. Pages that no block has touched cost nothing.
constexpr size_t kSegment = size_t{32} << 20;

size_t multipleOf(size_t step, size_t bytes) { return (bytes + step - 1) / step * step; }

}  // namespace

size_t Allocator::roundUp(size_t bytes) {
  if (bytes > kSmall) return multipleOf(Segments::kGranule, bytes);
  if (bytes <= kSmallest) return kSmallest;
  size_t power = kSmallest;
  while (power < bytes / 2 + bytes % 2) power *= 2;  // power < bytes <= 2 * power
  return multipleOf(std::max(kSmallest, power / 8), bytes);
}

void* Allocator::allocate(size_t bytes) {
  if (bytes > (size_t{1} << 60)) {
    throw OutOfMemory("out of memory on " + deviceName() + ": " + formatBytes(bytes) + " requested");
  }
  const size_t size = roundUp(bytes);
  void* data = size > kSmall ? allocateLarge(size) : allocateSmall(size);
  if (data == nullptr) {
    throw OutOfMemory("out of memory on " + deviceName() + ": " + formatBytes(bytes) + " requested, " +
                      formatBytes(stats_.current) + " in use by " + std::to_string(stats_.liveBuffers) + " buffers, " +
                      formatBytes(capacity()) + " available");
  }
  stats_.current += size;
  stats_.liveBuffers += 1;
  stats_.peak = std::max(stats_.peak, stats_.current);
  return data;
}

void* Allocator::allocateSmall(size_t size) {
  std::vector<void*>& kept = small_[size];  // also made here so that release() need not allocate a node
  if (!kept.empty()) {
    void* data = kept.back();
    kept.pop_back();
    stats_.cached -= size;
    return data;
  }
  void* data = obtain(size);
  if (data == nullptr && stats_.cached > 0) {
    empty();
    data = obtain(size);
  }
  return data;
}

void* Allocator::allocateLarge(size_t size) {
  void* data = large_.take(size);
  if (data == nullptr) {
    // Free segments are too small for this request: a larger one takes their place, and memory does not add up.
    if (!plenty(stats_.current + stats_.cached + size)) dropSegments(size);
    size_t bytes = std::max(kSegment, multipleOf(kHugePage, size));
    void* segment = obtain(bytes);
    if (segment == nullptr) {
      empty();
      bytes = size;
      segment = obtain(bytes);
    }
    if (segment == nullptr) return nullptr;
    try {
      large_.add(segment, bytes);
    } catch (...) {
      systemFree(segment, bytes);
      throw;
    }
    stats_.cached += bytes;
    data = large_.take(size);
  }
  stats_.cached -= size;
  return data;
}

void* Allocator::obtain(size_t size) noexcept {
  return size <= kChecked || size <= capacity() ? systemAllocate(size) : nullptr;
}

void Allocator::release(void* data, size_t bytes) noexcept {
  if (data == nullptr) return;
  const size_t size = roundUp(bytes);
  stats_.current -= size;
  stats_.liveBuffers -= 1;
  if (size > kSmall) {
    large_.give(data);
    stats_.cached += size;
    return;
  }
  try {
    small_[size].push_back(data);
    stats_.cached += size;
  } catch (...) {
    systemFree(data, size);
  }
}

void Allocator::dropSegments(size_t bytes) noexcept {
  for (size_t dropped = 0; dropped < bytes;) {
    const auto [segment, size] = large_.dropFree();
    if (segment == nullptr) return;
    systemFree(segment, size);
    stats_.cached -= size;
    dropped += size;
  }
}

void Allocator::empty() noexcept {
  dropSegments(SIZE_MAX);
  for (auto& [size, kept] : small_) {
    for (void* data : kept) systemFree(data, size);
    stats_.cached -= size * kept.size();
    kept.clear();
  }
}

namespace {

class HostAllocator final : public Allocator {
 public:
  ~HostAllocator() override { empty(); }

 protected:
  void* systemAllocate(size_t bytes) noexcept override {
#if defined(_WIN32)
    return _aligned_malloc(bytes, 64);
#else
    const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
    void* data = nullptr;
    if (posix_memalign(&data, alignment, bytes) != 0) return nullptr;
#if defined(__linux__)
    if (alignment == kHugePage) madvise(data, bytes, MADV_HUGEPAGE);  // fewer TLB misses; only a hint
#endif
    return data;
#endif
  }

  void systemFree(void* data, size_t) noexcept override {
#if defined(_WIN32)
    _aligned_free(data);
#else
    free(data);
#endif
  }

  uint64_t capacity() const override {
    uint64_t available = physicalMemory();
#if defined(__linux__)
    std::ifstream info("/proc/meminfo");
    std::string key, unit;
    uint64_t kib = 0;
    while (info >> key >> kib) {
      std::getline(info, unit);
      if (key == "MemAvailable:") {
        available = std::min(available, kib * 1024);
        break;
      }
    }
    // Control group, version 2 (a container's limit).
    uint64_t limit = 0, used = 0;
    std::ifstream limitFile("/sys/fs/cgroup/memory.max"), usedFile("/sys/fs/cgroup/memory.current");
    if (limitFile >> limit && usedFile >> used) available = std::min(available, limit > used ? limit - used : 0);
#endif
    return available;
  }

  std::string deviceName() const override { return "cpu"; }

 private:
  static uint64_t physicalMemory() {
#if defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    GlobalMemoryStatusEx(&status);
    return status.ullTotalPhys;
#else
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
    return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : UINT64_MAX;
#endif
  }
};

}  // namespace

std::unique_ptr<Allocator> makeHostAllocator() { return std::make_unique<HostAllocator>(); }

}  // namespace d2v
