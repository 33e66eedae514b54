// The GPUs of this machine, and why they cannot be used. Implemented with or without the CUDA backend.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "obstacle.h"
#include "tensor.h"

namespace d2v {

struct Gpu {
  std::string device;      // "cuda:0"
  std::string name;        // "NVIDIA H200"
  std::string capability;  // "9.0"
  int64_t memory = 0;      // bytes
  Obstacle obstacle;       // why it cannot be used

  bool usable() const { return obstacle.problem.empty(); }
};

struct GpuReport {
  bool built = false;  // this build has the CUDA backend
  Obstacle obstacle;   // why no GPU can be used
  std::vector<Gpu> gpus;
};

/// Asks the driver, at the first call of the process. Opens no GPU.
const GpuReport& gpuReport();

/// Opens a GPU that `gpuReport` lists as usable: makes its context.
std::shared_ptr<Device> makeCudaDevice(const Gpu& gpu);

/// "cuBLASLt 13.1.1", looked for without a GPU. Throws Error where it is missing.
std::string cudaGemmLibrary();

}  // namespace d2v
