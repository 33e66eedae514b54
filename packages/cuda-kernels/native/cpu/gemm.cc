// linear, linearGradInput, linearGradWeight and matmul.
//
// Two engines: the built-in one (gemm_kernel.cc), which fuses every epilogue into the product, and oneDNN's sgemm
// followed by a pass over the result. Measured at the model's sizes with oneDNN 2.6: on AVX2 the built-in engine is level
// and the fusion decides; with AVX-512 oneDNN is 3 to 12 % faster, but not where b is transposed (linear: 7 to 30 % slower,
// bias and GELU included). So oneDNN gets the gradients on AVX-512, if they are large enough to pay for its call.
// D2V_GEMM=builtin|onednn overrides the choice for all products.
#include <cstdlib>
#include <cstring>

#include "../parallel.h"
#include "cpu_backend.h"
#include "gemm.h"
#include "vec_math.h"

#ifdef D2V_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

namespace d2v {
namespace D2V_ISA {

struct GemmState {
  bool onednn = false;
  bool always = false;  // also where the built-in engine is faster
  GemmState() {
#ifdef D2V_ONEDNN
#if defined(__AVX512F__)
    onednn = true;
#endif
    if (const char* choice = std::getenv("D2V_GEMM")) {
      if (std::strcmp(choice, "onednn") == 0) onednn = always = true;
      if (std::strcmp(choice, "builtin") == 0) onednn = false;
    }
    if (onednn) useOpenMpThreads();  // two sets of threads would take turns at spinning on the same cores
#endif
  }
};

namespace {

GemmState& stateOf(std::shared_ptr<GemmState>& slot) {
  if (!slot) slot = std::make_shared<GemmState>();
  return *slot;
}

#ifdef D2V_ONEDNN
/// The epilogue of rows [begin, end) over a finished product; `product` may be c itself.
void finishRows(const GemmProblem& p, const float* product, int64_t begin, int64_t end) {
  const Epilogue& e = p.epilogue;
  for (int64_t i = begin; i < end; ++i) {
    const float* src = product + i * p.n;
    float* dst = p.c + i * p.ldc;
    forVectors(p.n, [&](auto load, auto store) D2V_LAMBDA {
      Vf x = load(src);
      if (e.bias) x = x + load(e.bias);
      if (e.pre) store(e.pre + i * p.ldc, x);
      if (e.gelu) x = vgelu(x);
      if (e.geluPre) x = x * vgeluSlope(load(e.geluPre + i * p.ldc));
      if (p.accumulate) x = x + load(dst);
      store(dst, x);
    });
  }
}

bool sgemm(const GemmProblem& p, float* c, float beta) {
  const SignalBlock block;
  return dnnl_sgemm(p.transA ? 'T' : 'N', p.transB ? 'T' : 'N', p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, beta, c,
                    p.ldc) == dnnl_success;
}

/// False when oneDNN declines; nothing has been written then.
bool gemmOneDnn(Allocator& memory, const GemmProblem& p) {
  if (!p.epilogue.any()) return sgemm(p, p.c, p.accumulate ? 1.0f : 0.0f);
  const bool apart = p.accumulate;  // c is still needed when the product is ready
  Workspace product(memory, apart ? static_cast<size_t>(p.m * p.n) * sizeof(float) : 0);
  float* target = apart ? product.floats() : p.c;
  if (!sgemm(p, target, 0.0f)) return false;
  parallelFor(p.m, std::max<int64_t>(1, 16384 / p.n),
              [&](int64_t begin, int64_t end) { finishRows(p, target, begin, end); });
  return true;
}

/// db[m] += sum over the rows of dy[n,m], in fixed chunks of rows.
void addColumnSums(Allocator& memory, const float* dy, int64_t n, int64_t m, float* db) {
  const int64_t chunk = 256, parts = (n + chunk - 1) / chunk;
  Workspace partial(memory, static_cast<size_t>(parts * m) * sizeof(float));
  parallelChunks(n, chunk, [&](int64_t part, int64_t begin, int64_t end) {
    float* sum = partial.floats() + part * m;
    std::memset(sum, 0, static_cast<size_t>(m) * sizeof(float));
    for (int64_t i = begin; i < end; ++i) {
      const float* row = dy + i * m;
      forVectors(m, [&](auto load, auto store) D2V_LAMBDA { store(sum, load(sum) + load(row)); });
    }
  });
  for (int64_t part = 0; part < parts; ++part) {
    const float* sum = partial.floats() + part * m;
    forVectors(m, [&](auto load, auto store) D2V_LAMBDA { store(db, load(db) + load(sum)); });
  }
}

#endif

void run(Allocator& memory, const GemmState& state, const GemmProblem& p) {
#ifdef D2V_ONEDNN
  if (state.onednn && (state.always || !p.transB) && p.m * p.n * p.k >= 100000 && p.ldc == p.n) {
    GemmProblem q = p;
    q.sumA = nullptr;
    if (gemmOneDnn(memory, q)) {
      if (p.sumA) addColumnSums(memory, p.a, p.k, p.m, p.sumA);
      return;
    }
  }
#else
  (void)state;
#endif
  gemm(memory, p);
}

}  // namespace

std::string CpuBackend::gemmLibrary() const {
#ifdef D2V_ONEDNN
  std::shared_ptr<GemmState> slot = gemm_;
  if (stateOf(slot).onednn) {
    const dnnl_version_t* v = dnnl_version();
    return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  }
#endif
  return "builtin";
}

void CpuBackend::linear(const LinearArgs& a) {
  GemmProblem p{};
  p.m = a.n, p.n = a.m, p.k = a.k;
  p.a = a.x, p.lda = a.k;
  p.b = a.w, p.ldb = a.k, p.transB = true;
  p.c = a.y, p.ldc = a.m, p.alpha = 1.0f;
  p.epilogue.bias = a.bias;
  p.epilogue.pre = a.pre;
  p.epilogue.gelu = a.activation == Activation::Gelu;
  run(memory_, stateOf(gemm_), p);
}

void CpuBackend::linearGradInput(const LinearGradInputArgs& a) {
  GemmProblem p{};
  p.m = a.n, p.n = a.k, p.k = a.m;
  p.a = a.dy, p.lda = a.m;
  p.b = a.w, p.ldb = a.k;
  p.c = a.dx, p.ldc = a.k, p.alpha = 1.0f;
  p.accumulate = a.accumulate;
  p.epilogue.geluPre = a.geluPre;
  run(memory_, stateOf(gemm_), p);
}

void CpuBackend::linearGradWeight(const LinearGradWeightArgs& a) {
  GemmProblem p{};
  p.m = a.m, p.n = a.k, p.k = a.n;
  p.a = a.dy, p.lda = a.m, p.transA = true;
  p.b = a.x, p.ldb = a.k;
  p.c = a.dw, p.ldc = a.k, p.alpha = 1.0f;
  p.accumulate = true;
  p.sumA = a.db;
  run(memory_, stateOf(gemm_), p);
}

void CpuBackend::matmul(const MatmulArgs& a) {
  GemmProblem p{};
  p.m = a.m, p.n = a.n, p.k = a.k;
  p.a = a.a, p.lda = a.transA ? a.m : a.k, p.transA = a.transA;
  p.b = a.b, p.ldb = a.transB ? a.k : a.n, p.transB = a.transB;
  p.c = a.c, p.ldc = a.n, p.alpha = a.alpha;
  if (a.batch > 1 && a.strideB == 0 && !a.transA && a.strideA == a.m * a.k) {  // b shared: one tall product
    p.m *= a.batch;
    run(memory_, stateOf(gemm_), p);
    return;
  }
  const auto item = [&](int64_t i) {
    GemmProblem q = p;
    q.a += i * a.strideA;
    q.b += i * a.strideB;
    q.c += i * a.m * a.n;
    return q;
  };
  if (a.batch < threadCount()) {
    for (int64_t i = 0; i < a.batch; ++i) run(memory_, stateOf(gemm_), item(i));
    return;
  }
  const int64_t slice = gemmSerialScratch(p);
  Workspace scratch(memory_, static_cast<size_t>(slice * threadCount()) * sizeof(float));
  const int64_t threads = threadCount();
  parallelFor(a.batch, 1 + (a.batch - 1) / (threads * 4), [&](int64_t begin, int64_t end) {
    float* mine = scratch.floats() + threadIndex() * slice;
    for (int64_t i = begin; i < end; ++i) gemmSerial(item(i), mine);
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
