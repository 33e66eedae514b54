// driver.h without a GPU: one device whose memory is the host's. Its streams are in streams.cc.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "emulator.h"
#include "streams.h"

namespace d2v::cuda {

namespace {

constexpr size_t kAlignment = 256;
// Few, so that loops over more elements than the grid has threads go round.
constexpr int kMultiprocessors = 4;

int failing = 0;  // allocations to come that find no memory
bool fails() { return failing > 0 && failing-- > 0; }

}  // namespace

void emulator::failAllocations(int count) { failing = count; }

void check(int status, const char* what) {
  if (status != 0) throw DriverError(std::string(what) + ": error " + std::to_string(status));
}

int deviceCount(Obstacle*) { return 1; }
Obstacle obstacleOf(const DeviceProperties&) { return {}; }

DeviceProperties propertiesOf(int) {
  DeviceProperties p;
  p.name = "emulated";
  p.major = 8;
  p.minor = 0;
  p.multiprocessors = kMultiprocessors;
  p.memory = int64_t{80} << 30;
  p.sharedPerBlock = emulator::mostSharedBytes();
  return p;
}
void useDevice(int) {}

void* allocate(size_t bytes) noexcept {
  if (fails()) return nullptr;
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, size);
  // What nobody wrote is NaN, so that reading it shows. Where nothing reads, the memory of `base` models is never touched.
  if (data != nullptr && emulator::presentOrder().kind != emulator::Order::None) std::memset(data, 0xff, size);
  return data;
}
void release(void* data) noexcept {
  try {
    emulator::finishAll();
  } catch (const DriverError& error) {
    std::fprintf(stderr, "emulated driver: %s\n", error.what());
    std::abort();
  } catch (const std::exception&) {
    // An error of a kernel, which nobody waits for any more.
  }
  std::free(data);
}
int64_t freeMemory() noexcept { return propertiesOf(0).memory; }
void* allocatePinned(size_t bytes) noexcept { return fails() ? nullptr : std::malloc(bytes); }
void releasePinned(void* data) noexcept { std::free(data); }

void copy(void* target, const void* source, size_t bytes, Stream stream) {
  emulator::enqueue(stream, emulator::Node::Copy, [=] { std::memmove(target, source, bytes); });
}
void zero(void* target, size_t bytes, Stream stream) {
  emulator::enqueue(stream, emulator::Node::Zero, [=] { std::memset(target, 0, bytes); });
}

}  // namespace d2v::cuda
