// Why something cannot be used, and what to do about it.
#pragma once

#include <string>

namespace d2v {

/// Both are empty if nothing is in the way.
struct Obstacle {
  std::string problem;  // what is wrong: "no NVIDIA driver is installed"
  std::string remedy;   // what to do: "install the driver"
};

/// How to build the addon again with CUDA. `settings`: more environment variables, "" or "NAME=value".
inline std::string buildWithCuda(const std::string& settings = "") {
  const std::string environment = "D2V_CUDA=ON " + settings + (settings.empty() ? "" : " ");
  return environment + "npm explore @d2v/cuda-kernels -- npm run build:native (in a clone of the repository: " +
         environment + "npm run setup)";
}

}  // namespace d2v
