// driver.h without a GPU: one device whose memory is the host's and whose streams have always finished.
#include <cstdlib>
#include <cstring>

#include "../driver.h"

namespace d2v::cuda {

namespace {

constexpr size_t kAlignment = 256;
// Few, so that loops over more elements than the grid has threads go round.
constexpr int kMultiprocessors = 4;

template <typename Handle>
Handle makeHandle() {
  return reinterpret_cast<Handle>(new char);
}
template <typename Handle>
void dropHandle(Handle handle) {
  delete reinterpret_cast<char*>(handle);
}

}  // namespace

void check(int status, const char* what) {
  if (status != 0) throw DriverError(std::string(what) + ": error " + std::to_string(status));
}

int deviceCount(std::string*) { return 1; }

DeviceProperties propertiesOf(int) {
  DeviceProperties p;
  p.name = "emulated";
  p.major = 8;
  p.minor = 0;
  p.multiprocessors = kMultiprocessors;
  p.memory = int64_t{8} << 30;
  p.sharedPerBlock = 227 * 1024;
  return p;
}
void useDevice(int) {}

Stream createStream() { return makeHandle<Stream>(); }
void destroyStream(Stream stream) noexcept { dropHandle(stream); }
void synchronize(Stream) {}

Event createEvent() { return makeHandle<Event>(); }
void destroyEvent(Event event) noexcept { dropHandle(event); }
void record(Event, Stream) {}
bool done(Event) { return true; }
void wait(Event) {}
void wait(Stream, Event) {}

void* allocate(size_t bytes) noexcept {
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, size);
  // What nobody wrote is NaN, so that reading it shows.
  if (data != nullptr) std::memset(data, 0xff, size);
  return data;
}
void release(void* data) noexcept { std::free(data); }
int64_t freeMemory() noexcept { return propertiesOf(0).memory; }
void* allocatePinned(size_t bytes) noexcept { return std::malloc(bytes); }
void releasePinned(void* data) noexcept { std::free(data); }

void copy(void* target, const void* source, size_t bytes, Stream) { std::memmove(target, source, bytes); }
void zero(void* target, size_t bytes, Stream) { std::memset(target, 0, bytes); }

}  // namespace d2v::cuda
