// Starting kernels.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "emulator/emulator.h"
#include "emulator/streams.h"
#endif

#include "driver.h"

namespace d2v::cuda {

/// Blocks of a launch. x may be up to 2^31 - 1, y and z up to 65535.
struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

/// Blocks of `each` that cover n.
constexpr int64_t blocksFor(int64_t n, int64_t each) { return (n + each - 1) / each; }

#if defined(__CUDACC__)
/// Most bytes of shared memory that a block of the current device may have.
inline int mostSharedBytes() {
  thread_local int asked = -1, bytes = 0;
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  if (device != asked) {
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
    asked = device;
  }
  return bytes;
}
#endif

/// Starts a kernel with `threads` threads per block and so many bytes of dynamic shared memory, in the stream's order.
/// Throws DriverError if the launch itself is refused (too much shared memory, say).
template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...), Grid grid, int threads, size_t sharedBytes, Stream stream, Args... args) {
#if defined(__CUDACC__)
  // Above 48 KiB a kernel has to be allowed to use it. Always all there is: a launch that was recorded in a graph must not find
  // the limit lowered by a later one that needs less.
  if (sharedBytes > 48 * 1024) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, mostSharedBytes()),
          "shared memory of a kernel");
  }
  const dim3 blocks(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), static_cast<unsigned>(grid.z));
  kernel<<<blocks, static_cast<unsigned>(threads), sharedBytes, stream>>>(static_cast<Parameters>(args)...);
  check(cudaGetLastError(), "launch of a kernel");
#else
  emulator::enqueue(stream, emulator::Node::Kernel, [=] {
    emulator::run(grid.x, grid.y, grid.z, threads, sharedBytes, [&] { kernel(static_cast<Parameters>(args)...); },
                  reinterpret_cast<const void*>(kernel));
  });
#endif
}

}  // namespace d2v::cuda
