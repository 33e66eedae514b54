// linear, linearGradInput, linearGradWeight and matmul: which product of the library each is, and what is done by passes of
// our own where it has no epilogue for it.
//
// GELU is the exact form in f32. In bf16 linear layers use the tanh form, forward and backward, which the library fuses;
// docs/decisions/0019-gelu-in-bf16.md says why that is as good.
#include "gemm_passes.h"
#include "cuda_backend.h"
#include "gemm_library.h"

namespace d2v::cuda {

namespace {

size_t bytesOf(DType t, int64_t n) { return static_cast<size_t>(n) * sizeOf(t); }

}  // namespace

/// @returns false, with nothing done, where the library has no way to the product
bool CudaBackend::multiplyByLibrary(GemmProblem p) {
  p.tf32 = tf32_ && p.in == DType::F32;
  return gemm().multiply(p, stream_);
}

/// With or without the epilogue of `p`. @returns whether with
bool CudaBackend::multiply(const GemmProblem& p) {
  if (multiplyByLibrary(p)) return true;
  GemmProblem bare = p;
  bare.epilogue = GemmEpilogue::None;
  bare.bias = bare.aux = nullptr;
  const bool product = p.epilogue != GemmEpilogue::None && multiplyByLibrary(bare);
  if (!product) multiplyPlainly(bare, stream_);
  refusals_.add(p, product ? GemmInstead::Pass : GemmInstead::Plain, gemmLibrary());
  return p.epilogue == GemmEpilogue::None;
}

void CudaBackend::linear(const LinearArgs& a) {
  const DType type = a.y.dtype;
  const bool gelu = a.activation == Activation::Gelu, fusedGelu = gelu && type == DType::BF16;
  GemmProblem p;
  p.m = a.n, p.n = a.m, p.k = a.k;
  p.a = a.x.data, p.b = a.w.data, p.transB = true, p.c = a.y.data;
  p.in = a.x.dtype, p.out = type;
  p.bias = const_cast<void*>(a.bias.data);
  if (fusedGelu) {
    p.epilogue = GemmEpilogue::BiasGelu;
    p.aux = a.pre.data;
  } else if (p.bias != nullptr) {
    p.epilogue = GemmEpilogue::Bias;
  }
  const bool fused = multiply(p);
  if (fused && fusedGelu) return;
  const void* bias = fused ? nullptr : a.bias.data;  // yet to be added
  if (bias == nullptr && !gelu && a.pre.data == nullptr) return;
  finishLinear(type, a.y.data, a.pre.data, bias, gelu, a.n, a.m, properties_, stream_);
}

void CudaBackend::linearGradInput(const LinearGradInputArgs& a) {
  const DType type = a.dx.dtype;
  const int64_t size = a.n * a.k;
  GemmProblem p;
  p.m = a.n, p.n = a.k, p.k = a.m;
  p.a = a.dy.data, p.b = a.w.data, p.c = a.dx.data;
  p.in = a.dy.dtype, p.out = type;
  if (a.geluPre.data == nullptr) {
    p.beta = a.accumulate ? 1.0f : 0.0f;
    multiply(p);
    return;
  }
  if (!a.accumulate) {
    if (type == DType::BF16) {
      p.epilogue = GemmEpilogue::GeluSlope;
      p.aux = const_cast<void*>(a.geluPre.data);
    }
    if (multiply(p) && p.epilogue == GemmEpilogue::GeluSlope) return;
    multiplyGeluSlope(type, a.dx.data, a.dx.data, a.geluPre.data, false, size, properties_, stream_);
    return;
  }
  // The library would apply the slope to what is accumulated, too.
  Workspace product(memory_, bytesOf(type, size));
  p.c = product.as<void>();
  multiply(p);
  multiplyGeluSlope(type, a.dx.data, p.c, a.geluPre.data, true, size, properties_, stream_);
}

void CudaBackend::linearGradWeight(const LinearGradWeightArgs& a) {
  GemmProblem p;
  p.m = a.m, p.n = a.k, p.k = a.n;
  p.a = a.dy.data, p.transA = true, p.b = a.x.data, p.c = a.dw;
  p.in = a.dy.dtype, p.out = DType::F32, p.beta = 1;
  if (a.db == nullptr) {
    multiply(p);
    return;
  }
  Workspace sums(memory_, bytesOf(DType::F32, a.m));
  p.epilogue = GemmEpilogue::ColumnSumsA;
  p.bias = sums.as<void>();
  if (multiply(p)) {
    addSums(sums.floats(), a.db, 1, a.m, stream_);
    return;
  }
  Workspace scratch(memory_, bytesOf(DType::F32, allRowsScratch(a.n, a.m)));
  addAllRows(a.dy.dtype, a.dy.data, a.n, a.m, scratch.floats(), a.db, stream_);
}

void CudaBackend::matmul(const MatmulArgs& a) {
  GemmProblem p;
  p.m = a.m, p.n = a.n, p.k = a.k, p.batch = a.batch;
  p.a = a.a.data, p.b = a.b.data, p.c = a.c.data;
  p.strideA = a.strideA, p.strideB = a.strideB, p.strideC = a.m * a.n;
  p.transA = a.transA, p.transB = a.transB;
  p.in = a.a.dtype, p.out = a.c.dtype, p.alpha = a.alpha;
  if (a.batch > 1 && a.strideB == 0 && !a.transA && a.strideA == a.m * a.k) {  // b shared: one tall product
    p.m *= a.batch;
    p.batch = 1;
  }
  multiply(p);
}

}  // namespace d2v::cuda
