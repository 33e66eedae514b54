// Single-precision matrix products of the CPU backend, with the epilogues that the linear layers need.
#pragma once

#include <cstdint>

#include "../storage.h"
#include "vec.h"

namespace d2v {
namespace D2V_ISA {

/// What happens to a finished element v of row i, column j, in this order.
struct Epilogue {
  const float* bias = nullptr;     // v += bias[j]
  float* pre = nullptr;            // pre[i, j] = v (row stride of c)
  bool gelu = false;               // v = gelu(v)
  const float* geluPre = nullptr;  // v *= gelu'(geluPre[i, j]) (row stride of c)
  bool any() const { return bias || pre || gelu || geluPre; }
};

/// c[m,n] (= or +=) epilogue(alpha * op(a) op(b)), row-major; op(a) is [m,k], stored [k,m] if transA; op(b) is [k,n],
/// stored [n,k] if transB.
struct GemmProblem {
  int64_t m, n, k;
  const float* a;
  int64_t lda;
  bool transA;
  const float* b;
  int64_t ldb;
  bool transB;
  float* c;
  int64_t ldc;
  float alpha = 1.0f;
  bool accumulate = false;
  Epilogue epilogue;
  float* sumA = nullptr;  // sumA[i] += sum over k of op(a)[i,k]; with transA only
};

/// The built-in product: packs b once for all threads, then computes independent tiles of c. The result does not
/// depend on the number of threads.
void gemm(Allocator& memory, const GemmProblem& p);

/// The same on the calling thread alone.
void gemmSerial(const GemmProblem& p, float* scratch);
/// Floats of scratch that gemmSerial needs.
int64_t gemmSerialScratch(const GemmProblem& p);

}  // namespace D2V_ISA
}  // namespace d2v
