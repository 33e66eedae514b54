// What the library of matrix products has no way to: counted, and said once where it makes a run slow.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../backend.h"
#include "gemm_library.h"

namespace d2v::cuda {

/// What takes a refused product's place.
enum class GemmInstead : uint8_t {
  Pass,         // a product without the epilogue, and a pass over its result
  Plain,        // a kernel without tensor cores: many times slower
  Convolution,  // a convolution that is not by products
};

/// "4096 x 3072 x 768 (m x n x k), b transposed, bf16 to bf16, epilogue bias, GELU and its input".
std::string describe(const GemmProblem& p);

class GemmRefusals {
 public:
  /// Counts. A large product that goes to the plain kernel is also said on standard error, once per process.
  /// `library`: its name and version.
  void add(const GemmProblem& p, GemmInstead instead, const std::string& library);
  /// The most frequent first.
  std::vector<GemmRefusal> list() const;

 private:
  std::map<std::pair<std::string, GemmInstead>, int64_t> counts_;
};

}  // namespace d2v::cuda
