#include "compiled_code.h"

#include <cctype>
#include <cstdlib>
#include <sstream>

namespace d2v::cuda {

namespace {

// bf16 on tensor cores and asynchronous copies begin there.
constexpr int kOldestMajor = 8;

bool isPtx(const std::string& name) { return name.rfind("compute_", 0) == 0; }

std::string capability(int major, int minor) { return std::to_string(major) + "." + std::to_string(minor); }

/// "13.1".
std::string versionText(int version) { return capability(version / 1000, version % 1000 / 10); }

/// As D2V_CUDA_ARCHITECTURES names it.
std::string architectureOf(int major, int minor) {
  const std::string number = std::to_string(major) + std::to_string(minor);
  return number == "90" ? "90a" : number;
}

}  // namespace

bool runsCode(const std::string& name, int major, int minor) {
  const size_t digits = name.find('_') + 1;
  const int number = std::atoi(name.c_str() + digits);
  const int ofMajor = number / 10, ofMinor = number % 10;
  const bool sameFamily = major == ofMajor && minor >= ofMinor;
  if (name.back() == 'a') return sameFamily && minor == ofMinor;
  if (name.back() == 'f' || !isPtx(name)) return sameFamily;
  return sameFamily || major > ofMajor;
}

Obstacle codeObstacle(const CodeQuestion& q) {
  if (q.major < kOldestMajor) {
    return {"its compute capability is " + capability(q.major, q.minor) + ", " + capability(kOldestMajor, 0) +
                " or newer is needed",
            "use a GPU of compute capability " + capability(kOldestMajor, 0) + " or newer, or the CPU (--device cpu)"};
  }
  const std::string rebuild =
      "build it for this GPU: " + buildWithCuda("D2V_CUDA_ARCHITECTURES=" + architectureOf(q.major, q.minor));
  bool ptx = false;
  std::istringstream names(q.code);
  for (std::string name; names >> name;) {
    if (!runsCode(name, q.major, q.minor)) continue;
    if (!isPtx(name)) return {};
    ptx = true;
  }
  if (!ptx) {
    return {"the addon has no code for compute capability " + capability(q.major, q.minor) + ", only " + q.code, rebuild};
  }
  // A driver translates PTX of its own version of CUDA at most.
  if (q.driver < q.toolkit) {
    return {"the addon has only PTX of CUDA " + versionText(q.toolkit) + " for compute capability " +
                capability(q.major, q.minor) + ", and the driver knows CUDA " + versionText(q.driver),
            "update the driver, or " + rebuild};
  }
  return {};
}

}  // namespace d2v::cuda
