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

size_t Allocator::roundUp(size_t bytes) {
  constexpr size_t smallest = 64;
  if (bytes <= smallest) return smallest;
  size_t power = smallest;
  while (power < bytes / 2 + bytes % 2) power *= 2;  // power < bytes <= 2 * power
  const size_t step = std::max(smallest, power / 8);
  return (bytes + step - 1) / step * step;
}

void* Allocator::allocate(size_t bytes) {
  if (bytes > (size_t{1} << 60)) {
    throw OutOfMemory("out of memory on " + deviceName() + ": " + formatBytes(bytes) + " requested");
  }
  const size_t size = roundUp(bytes);
  void* data = nullptr;
  auto found = free_.find(size);
  if (found != free_.end() && !found->second.empty()) {
    data = found->second.back();
    found->second.pop_back();
    stats_.cached -= size;
  } else {
    free_[size];  // so that release() need not allocate a node
    // Large requests are checked first: an overcommitting system would grant them and kill the process later.
    constexpr size_t checked = size_t{32} << 20;
    if (size < checked || size <= capacity()) data = systemAllocate(size);
    if (data == nullptr && stats_.cached > 0) {
      empty();
      free_[size];
      if (size < checked || size <= capacity()) data = systemAllocate(size);
    }
    if (data == nullptr) {
      throw OutOfMemory("out of memory on " + deviceName() + ": " + formatBytes(bytes) + " requested, " +
                        formatBytes(stats_.current) + " in use by " + std::to_string(stats_.liveBuffers) +
                        " buffers, " + formatBytes(capacity()) + " available");
    }
  }
  stats_.current += size;
  stats_.liveBuffers += 1;
  stats_.peak = std::max(stats_.peak, stats_.current);
  return data;
}

void Allocator::release(void* data, size_t bytes) noexcept {
  if (data == nullptr) return;
  const size_t size = roundUp(bytes);
  stats_.current -= size;
  stats_.liveBuffers -= 1;
  try {
    free_[size].push_back(data);
    stats_.cached += size;
  } catch (...) {
    systemFree(data, size);
  }
}

void Allocator::empty() noexcept {
  for (auto& entry : free_) {
    for (void* data : entry.second) systemFree(data, entry.first);
  }
  free_.clear();
  stats_.cached = 0;
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
    constexpr size_t huge = size_t{2} << 20;
    const size_t alignment = bytes >= 2 * huge ? huge : 64;
    void* data = nullptr;
    if (posix_memalign(&data, alignment, bytes) != 0) return nullptr;
#if defined(__linux__)
    if (alignment == huge) madvise(data, bytes, MADV_HUGEPAGE);  // fewer TLB misses; only a hint
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
