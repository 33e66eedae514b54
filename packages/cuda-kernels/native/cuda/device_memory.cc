// Device memory: the caching allocator over cudaMalloc and cudaFree, which take as long as a kernel and may wait for all
// of them. All bookkeeping is on the host.
//
// Blocks are handed out again as soon as they are released, though kernels that use them may not have run yet: there is
// one stream, so whatever the new owner enqueues runs after them. cudaFree waits for the device by itself, and with it the
// host would wait in the midst of an update: up to half of the GPU's memory is held rather than exchanged for larger segments,
// so that updates of the same shapes soon find all they need.
#include <string>

#include "cuda_backend.h"

namespace d2v::cuda {

namespace {

class DeviceAllocator final : public Allocator {
 public:
  explicit DeviceAllocator(int device) : device_(device), half_(static_cast<uint64_t>(propertiesOf(device).memory) / 2) {}
  ~DeviceAllocator() override { empty(); }

 protected:
  void* systemAllocate(size_t bytes) noexcept override {
    try {
      useDevice(device_);
    } catch (const DriverError&) {
      return nullptr;
    }
    return cuda::allocate(bytes);
  }
  void systemFree(void* data, size_t) noexcept override {
    beforeFree();
    cuda::release(data);
  }
  uint64_t capacity() const override {
    try {
      useDevice(device_);
    } catch (const DriverError&) {
      return 0;
    }
    return static_cast<uint64_t>(freeMemory());
  }
  bool plenty(uint64_t held) const override { return held <= half_; }
  std::string deviceName() const override { return "cuda:" + std::to_string(device_); }

 private:
  const int device_;
  const uint64_t half_;  // bytes
};

}  // namespace

std::unique_ptr<Allocator> makeDeviceAllocator(int device) { return std::make_unique<DeviceAllocator>(device); }

}  // namespace d2v::cuda
