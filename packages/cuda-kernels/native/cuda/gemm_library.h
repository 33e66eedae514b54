// What gemm.cc needs of a library of matrix products. cublaslt.cc is the GPU's; emulator/gemm_host.cc stands in for it in
// the tests that run kernels on the host.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "../types.h"
#include "driver.h"

namespace d2v::cuda {

/// What happens to a product on its way to memory. Libraries know the tanh form of GELU only:
/// gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
enum class GemmEpilogue : uint8_t {
  None,
  Bias,         // + bias[j]
  BiasGelu,     // gelu(. + bias[j]); `aux`? receives the value before gelu
  GeluSlope,    // . * gelu'(aux[i,j])
  ColumnSumsA,  // bias[i] = sum over k of op(a)[i,k]: the gradient of a bias beside that of its weights
};

/// c[m,n] = epilogue(alpha op(a) op(b) + beta c), row-major, `batch` times; op(a) is [m,k] (stored [k,m] if transA), op(b)
/// is [k,n] (stored [n,k] if transB). Strides between batch items in elements; items of c may interleave, never overlap.
struct GemmProblem {
  int64_t m = 0, n = 0, k = 0, batch = 1;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int64_t strideA = 0, strideB = 0, strideC = 0;
  int64_t rowA = 0, rowB = 0, rowC = 0;  // elements from a stored row to the next, at least its length; 0: that
  bool transA = false, transB = false;
  DType in = DType::F32;   // of a and b: F32 or BF16
  DType out = DType::F32;  // of c, aux and bias; F32 with F32 operands
  bool tf32 = false;       // F32 operands may be rounded to TF32
  float alpha = 1, beta = 0;
  GemmEpilogue epilogue = GemmEpilogue::None;
  void* bias = nullptr;  // [n]; with ColumnSumsA [m]
  void* aux = nullptr;   // [m,n], dense

  int64_t stepA() const { return rowA != 0 ? rowA : transA ? m : k; }
  int64_t stepB() const { return rowB != 0 ? rowB : transB ? k : n; }
  int64_t stepC() const { return rowC != 0 ? rowC : n; }
};

class GemmLibrary {
 public:
  virtual ~GemmLibrary() = default;
  /// Enqueues the product; accumulates in f32 and gives the same result every time. False, with nothing done, where the
  /// library has no way to it at this shape and alignment.
  virtual bool multiply(const GemmProblem& p, Stream stream) = 0;
  /// Adds how often it was asked for an algorithm, and how long its answers took on the host.
  virtual void addSearches(int64_t& searches, double& milliseconds) const = 0;
};

/// "cuBLASLt 13.1.0"; finds and loads it without a GPU. Throws Error "<what was searched>: <how to install it>".
std::string gemmLibraryName();

/// The library for the current device. Throws Error with what was searched and how to install it.
std::unique_ptr<GemmLibrary> openGemmLibrary(const DeviceProperties& device);

}  // namespace d2v::cuda
