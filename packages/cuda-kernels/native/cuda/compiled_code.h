// Whether a GPU can run what this build was compiled for, told by their numbers: asking a kernel would open the GPU.
#pragma once

#include <string>

#include "../obstacle.h"

namespace d2v::cuda {

/// A GPU and its driver beside a build. Versions of CUDA as the runtime writes them: 13010 is 13.1.
struct CodeQuestion {
  int major = 0, minor = 0;  // the GPU's compute capability
  std::string code;          // that the build has: "sm_80 sm_89 compute_89 sm_90a"
  int driver = 0;            // newest CUDA that the driver supports
  int toolkit = 0;           // CUDA that the build was made with
};

/// Whether a GPU runs code of that name. "sm_XY" is machine code, for X.Y and later minor versions of X; "compute_XY" is
/// PTX, for X.Y and everything newer; with an "a" only X.Y itself runs it, with an "f" X.Y and later minor versions.
bool runsCode(const std::string& name, int major, int minor);

/// Why the GPU cannot run the build, with D2V_CUDA_ARCHITECTURES to build with; nothing if it can.
Obstacle codeObstacle(const CodeQuestion& q);

}  // namespace d2v::cuda
