// Which GPUs run which builds: no kernel is started.
#include <cstdio>

#include "../cuda/compiled_code.h"

using namespace d2v;
using namespace d2v::cuda;

namespace {

int failures = 0;

void expect(bool good, const std::string& what) {
  if (good) return;
  ++failures;
  std::printf("FAILED %s\n", what.c_str());
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A build of CUDA 13.1 and a driver as new.
Obstacle obstacle(const std::string& code, int major, int minor, int driver = 13010) {
  return codeObstacle({major, minor, code, driver, 13010});
}
void runs(const std::string& code, int major, int minor, bool expected) {
  const Obstacle found = obstacle(code, major, minor);
  const std::string gpu = std::to_string(major) + "." + std::to_string(minor);
  expect(found.problem.empty() == expected, code + " on " + gpu + ": " + found.problem);
  expect(found.problem.empty() == found.remedy.empty(), code + " on " + gpu + ": a problem needs a remedy");
}

}  // namespace

int main() {
  const std::string all = "sm_80 sm_89 compute_89 sm_90a";
  for (const auto& [major, minor] : {std::pair{8, 0}, {8, 6}, {8, 9}, {9, 0}, {10, 0}, {10, 3}, {12, 0}}) {
    runs(all, major, minor, true);
  }
  runs("sm_90a", 8, 0, false);
  runs("sm_90a", 9, 0, true);
  runs("sm_90a", 10, 0, false);
  runs("compute_90a", 9, 0, true);
  runs("compute_90a", 10, 0, false);
  runs("sm_89", 8, 0, false);
  runs("sm_89", 8, 9, true);
  runs("sm_89", 9, 0, false);
  runs("sm_80", 8, 9, true);
  runs("sm_80", 9, 0, false);
  runs("compute_80", 9, 0, true);
  runs("compute_89", 8, 6, false);
  runs("sm_100f", 10, 3, true);
  runs("compute_100f", 12, 0, false);
  runs("sm_100", 10, 0, true);
  runs("sm_120", 12, 1, true);
  runs("sm_120", 10, 0, false);
  runs(all, 7, 5, false);

  const Obstacle hopperOnly = obstacle("sm_90a", 8, 0);
  expect(contains(hopperOnly.problem, "no code for compute capability 8.0, only sm_90a"), hopperOnly.problem);
  expect(contains(hopperOnly.remedy, "D2V_CUDA_ARCHITECTURES=80 "), hopperOnly.remedy);
  expect(contains(obstacle("sm_80", 9, 0).remedy, "D2V_CUDA_ARCHITECTURES=90a "), obstacle("sm_80", 9, 0).remedy);

  // PTX needs a driver as new as the compiler; machine code does not.
  const Obstacle old = obstacle(all, 12, 0, 13000);
  expect(contains(old.problem, "only PTX of CUDA 13.1") && contains(old.problem, "driver knows CUDA 13.0"), old.problem);
  expect(contains(old.remedy, "update the driver"), old.remedy);
  expect(obstacle(all, 9, 0, 13000).problem.empty(), "machine code with an older driver");

  if (failures == 0) std::printf("compiled code: as expected\n");
  return failures != 0;
}
