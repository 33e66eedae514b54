#include "gpus.h"

#include <algorithm>

#include "errors.h"

#ifdef D2V_CUDA
#include "cuda/cuda_backend.h"
#include "cuda/gemm_library.h"
#endif

namespace d2v {

#ifdef D2V_CUDA

namespace {

GpuReport askDriver() {
  GpuReport report;
  report.built = true;
  const int count = cuda::deviceCount(&report.obstacle);
  for (int i = 0; i < count; ++i) {
    Gpu gpu;
    gpu.device = "cuda:" + std::to_string(i);
    try {
      const cuda::DeviceProperties p = cuda::propertiesOf(i);
      gpu.name = p.name;
      gpu.capability = std::to_string(p.major) + "." + std::to_string(p.minor);
      gpu.memory = p.memory;
      gpu.obstacle = cuda::obstacleOf(p);
    } catch (const cuda::DriverError& error) {
      gpu.name = gpu.capability = "unknown";
      gpu.obstacle = {error.what(), "look at it with nvidia-smi, or hide it (CUDA_VISIBLE_DEVICES)"};
    }
    report.gpus.push_back(gpu);
  }
  const bool usable = std::any_of(report.gpus.begin(), report.gpus.end(), [](const Gpu& g) { return g.usable(); });
  if (!report.gpus.empty() && !usable) {
    const Gpu& first = report.gpus.front();
    report.obstacle = {first.name + ": " + first.obstacle.problem, first.obstacle.remedy};
  }
  return report;
}

}  // namespace

const GpuReport& gpuReport() {
  static const GpuReport report = askDriver();
  return report;
}

std::shared_ptr<Device> makeCudaDevice(const Gpu& gpu) {
  const int index = std::stoi(gpu.device.substr(gpu.device.find(':') + 1));
  auto device = std::make_shared<Device>();
  device->name = gpu.device;
  device->memory = cuda::makeDeviceAllocator(index);
  device->backend = std::make_unique<cuda::CudaBackend>(index, *device->memory);
  return device;
}

std::string cudaGemmLibrary() { return cuda::gemmLibraryName(); }

#else

const GpuReport& gpuReport() {
  static const GpuReport report{
      false, {"the addon was built without CUDA", "build it where nvcc is (CUDA toolkit 12 or newer): " + buildWithCuda()}, {}};
  return report;
}

namespace {

[[noreturn]] void failWithoutCuda() {
  const Obstacle& obstacle = gpuReport().obstacle;
  throw Error("D2V_CUDA", obstacle.problem + ": " + obstacle.remedy);
}

}  // namespace

std::shared_ptr<Device> makeCudaDevice(const Gpu&) { failWithoutCuda(); }

std::string cudaGemmLibrary() { failWithoutCuda(); }

#endif

}  // namespace d2v
