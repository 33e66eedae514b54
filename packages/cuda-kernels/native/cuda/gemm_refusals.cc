#include "gemm_refusals.h"

#include <algorithm>
#include <atomic>
#include <cstdio>

namespace d2v::cuda {

namespace {

/// Shapes that are told apart: sequence lengths vary from batch to batch.
constexpr size_t kMostShapes = 1000;
/// Multiplications from which on the plain kernel takes longer than its launch.
constexpr int64_t kLarge = int64_t{1} << 20;

const char* nameOf(GemmInstead instead) {
  switch (instead) {
    case GemmInstead::Pass:
      return "a product and a pass";
    case GemmInstead::Plain:
      return "the plain kernel";
    case GemmInstead::Convolution:
      return "convolution kernels";
  }
  return "?";
}

std::string epilogueOf(const GemmProblem& p) {
  switch (p.epilogue) {
    case GemmEpilogue::None:
      return "";
    case GemmEpilogue::Bias:
      return ", epilogue bias";
    case GemmEpilogue::BiasGelu:
      return std::string(", epilogue ") + (p.bias ? "bias, GELU" : "GELU") + (p.aux ? " and its input" : "");
    case GemmEpilogue::GeluSlope:
      return ", epilogue GELU's slope";
    case GemmEpilogue::ColumnSumsA:
      return ", epilogue bias gradient";
  }
  return "";
}

void warnOnce(const std::string& product, const std::string& library) {
  static std::atomic_flag said = ATOMIC_FLAG_INIT;
  if (said.test_and_set()) return;
  std::fprintf(stderr,
               "d2v: warning: %s has no matrix product %s: a plain kernel computes it, many times slower (said once; "
               "gemmReport() has all)\n",
               library.c_str(), product.c_str());
}

}  // namespace

std::string describe(const GemmProblem& p) {
  std::string text = p.batch > 1 ? std::to_string(p.batch) + " times " : "";
  text += std::to_string(p.m) + " x " + std::to_string(p.n) + " x " + std::to_string(p.k) + " (m x n x k)";
  if (p.transA) text += ", a transposed";
  if (p.transB) text += ", b transposed";
  text += std::string(", ") + d2v::nameOf(p.in) + (p.tf32 ? " (TF32)" : "") + " to " + d2v::nameOf(p.out);
  if (p.beta != 0) text += ", added to c";
  return text + epilogueOf(p);
}

void GemmRefusals::add(const GemmProblem& p, GemmInstead instead, const std::string& library) {
  const std::string product = describe(p);
  auto found = counts_.find({product, instead});
  if (found == counts_.end()) {
    const bool room = counts_.size() < kMostShapes;
    found = counts_.try_emplace({room ? product : "of other shapes" + epilogueOf(p), instead}, 0).first;
  }
  ++found->second;
  if (instead == GemmInstead::Plain && p.batch * p.m * p.n * p.k >= kLarge) warnOnce(product, library);
}

std::vector<GemmRefusal> GemmRefusals::list() const {
  std::vector<GemmRefusal> all;
  for (const auto& [what, calls] : counts_) all.push_back({what.first, nameOf(what.second), calls});
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.calls > b.calls; });
  return all;
}

}  // namespace d2v::cuda
