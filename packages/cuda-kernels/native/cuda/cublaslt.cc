// The GPU's matrix products.
//
// cuBLASLt knows column-major matrices. Row-major c [m,n] is its c^T [n,m], so it computes c^T = op(b)^T op(a)^T: our b is
// its first operand and our a its second. Then a bias per column of ours is one per row of its, which is what its epilogue
// adds, and the sums over k of op(a) are its "bias gradient of B".
//
// Asking it for an algorithm takes longer than starting one, so the answer is kept per shape, layout, dtype, epilogue and
// alignment, with the descriptions. Split products are reduced through the workspace in a fixed order only.
#include <algorithm>
#include <array>
#include <chrono>
#include <unordered_map>
#include <vector>

#include "../errors.h"
#include "cublaslt_api.h"
#include "gemm_library.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

namespace d2v::cuda::lt {
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(Candidate) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(Candidate, workspace) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(Candidate, status) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(kSuccess == CUBLAS_STATUS_SUCCESS);
static_assert(kInvalid == CUBLAS_STATUS_INVALID_VALUE && kNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(kFloat == CUDA_R_32F && kBf16 == CUDA_R_16BF);
static_assert(kCompute == CUBLAS_COMPUTE_32F && kComputeTf32 == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(CUBLAS_OP_N == 0 && CUBLAS_OP_T == 1 && sizeof(cublasOperation_t) == sizeof(int));
static_assert(kBatchCount == static_cast<int>(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT));
static_assert(kBatchStride == static_cast<int>(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET));
static_assert(kTransA == static_cast<int>(CUBLASLT_MATMUL_DESC_TRANSA));
static_assert(kTransB == static_cast<int>(CUBLASLT_MATMUL_DESC_TRANSB));
static_assert(kEpilogue == static_cast<int>(CUBLASLT_MATMUL_DESC_EPILOGUE));
static_assert(kBiasPointer == static_cast<int>(CUBLASLT_MATMUL_DESC_BIAS_POINTER));
static_assert(kAuxPointer == static_cast<int>(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER));
static_assert(kAuxRow == static_cast<int>(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD));
static_assert(kNone == static_cast<int>(CUBLASLT_EPILOGUE_DEFAULT) && kBias == static_cast<int>(CUBLASLT_EPILOGUE_BIAS));
static_assert(kGelu == static_cast<int>(CUBLASLT_EPILOGUE_GELU));
static_assert(kGeluBias == static_cast<int>(CUBLASLT_EPILOGUE_GELU_BIAS));
static_assert(kGeluAux == static_cast<int>(CUBLASLT_EPILOGUE_GELU_AUX));
static_assert(kGeluAuxBias == static_cast<int>(CUBLASLT_EPILOGUE_GELU_AUX_BIAS));
static_assert(kGeluSlope == static_cast<int>(CUBLASLT_EPILOGUE_DGELU));
static_assert(kColumnSumsB == static_cast<int>(CUBLASLT_EPILOGUE_BGRADB));
static_assert(kWorkspace == static_cast<int>(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES));
static_assert(kReductions == static_cast<int>(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK));
static_assert(kAlignmentA == static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES));
static_assert(kAlignmentB == static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES));
static_assert(kAlignmentC == static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES));
static_assert(kAlignmentD == static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES));
static_assert(kReduceInWorkspace == static_cast<int>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
}  // namespace d2v::cuda::lt
#endif

namespace d2v::cuda {

namespace {

/// Shapes whose answers are kept, about 1 KB each. Sequence lengths vary from batch to batch (docs/cuda.md, "Matrix products").
constexpr size_t kMostPlans = 32768;

int typeOf(DType t) { return t == DType::BF16 ? lt::kBf16 : lt::kFloat; }

/// Largest power of two that divides the address, 256 at most, which is all that matters.
uint32_t alignmentOf(const void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p) | 256;
  return static_cast<uint32_t>(address & (~address + 1));
}

/// The same for all items of a batch.
uint32_t alignmentOf(const void* p, int64_t batch, int64_t stride, DType type) {
  const auto first = reinterpret_cast<uintptr_t>(p);
  const auto bytes = static_cast<uintptr_t>(batch > 1 ? stride * static_cast<int64_t>(sizeOf(type)) : 0);
  return alignmentOf(reinterpret_cast<const void*>(first | bytes));
}

/// What an answer depends on.
using Key = std::array<int64_t, 13>;
struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const int64_t part : key) hash = (hash ^ static_cast<uint64_t>(part)) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    return static_cast<size_t>(hash);
  }
};

Key keyOf(const GemmProblem& p) {
  const auto flags = static_cast<int64_t>(p.transA) | static_cast<int64_t>(p.transB) << 1 |
                     static_cast<int64_t>(p.in == DType::BF16) << 2 | static_cast<int64_t>(p.out == DType::BF16) << 3 |
                     static_cast<int64_t>(p.beta != 0) << 4 | static_cast<int64_t>(p.bias != nullptr) << 5 |
                     static_cast<int64_t>(p.aux != nullptr) << 6 | static_cast<int64_t>(p.tf32) << 7 |
                     static_cast<int64_t>(p.epilogue) << 8;
  const auto alignments = static_cast<int64_t>(alignmentOf(p.a)) | static_cast<int64_t>(alignmentOf(p.b)) << 16 |
                          static_cast<int64_t>(alignmentOf(p.c)) << 32;
  const auto rest = static_cast<int64_t>(alignmentOf(p.bias)) | static_cast<int64_t>(alignmentOf(p.aux)) << 16;
  return {p.m,       p.n,       p.k,       p.batch, p.strideA,  p.strideB, p.strideC,
          p.stepA(), p.stepB(), p.stepC(), flags,   alignments, rest};
}

class CublasLt final : public GemmLibrary {
 public:
  explicit CublasLt(const DeviceProperties& device) : api_(lt::load()) {
    // Hopper's kernels keep more partial sums than older ones'.
    workspaceBytes_ = (device.major >= 9 ? size_t{64} : size_t{32}) << 20;
    workspace_ = allocate(workspaceBytes_);
    if (workspace_ == nullptr) {
      throw OutOfMemory("out of memory on the GPU: " + formatBytes(workspaceBytes_) + " for matrix products requested");
    }
    const int status = api_.create(&handle_);
    if (status != lt::kSuccess) {
      release(workspace_);
      check(status, "cublasLtCreate");
    }
  }

  ~CublasLt() override {
    forget();
    if (handle_ != nullptr) api_.destroy(handle_);
    release(workspace_);
  }

  bool multiply(const GemmProblem& p, Stream stream) override {
    Plan& plan = planOf(p);
    if (!plan.possible) return false;
    setPointers(plan, p);
    const int status = api_.matmul(handle_, plan.description, &p.alpha, p.b, plan.b, p.a, plan.a, &p.beta, p.c, plan.c,
                                   p.c, plan.c, &plan.algorithm, workspace_, workspaceBytes_, stream);
    // It may refuse what it has offered; then nothing is enqueued.
    plan.possible = !isUnknown(status, p);
    if (plan.possible) check(status, "cublasLtMatmul");
    return plan.possible;
  }

  void addSearches(int64_t& searches, double& milliseconds) const override {
    searches += searches_;
    milliseconds += std::chrono::duration<double, std::milli>(searchTime_).count();
  }

 private:
  struct Plan {
    bool possible = false;
    lt::Description description = nullptr;
    lt::Layout a = nullptr, b = nullptr, c = nullptr;  // of our operands, as it sees them
    lt::Algorithm algorithm{};
  };

  void check(int status, const char* call) const {
    if (status != lt::kSuccess) throw DriverError(std::string("cuBLASLt: ") + call + ": " + api_.statusName(status));
  }
  template <typename T>
  void set(lt::Description description, int attribute, const T& value) const {
    check(api_.descriptionSet(description, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }
  template <typename T>
  void set(lt::Preference preference, int attribute, const T& value) const {
    check(api_.preferenceSet(preference, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
  }

  void setPointers(const Plan& plan, const GemmProblem& p) const {
    if (p.bias != nullptr) set(plan.description, lt::kBiasPointer, p.bias);
    if (p.aux != nullptr) set(plan.description, lt::kAuxPointer, p.aux);
  }

  Plan& planOf(const GemmProblem& p) {
    const Key key = keyOf(p);
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    if (plans_.size() >= kMostPlans) forget();
    Plan& plan = plans_[key];
    const auto start = std::chrono::steady_clock::now();
    try {
      make(p, plan);
      searchTime_ += std::chrono::steady_clock::now() - start;
      ++searches_;
    } catch (...) {
      drop(plan);
      plans_.erase(key);
      throw;
    }
    return plan;
  }

  /// A row-major [rows, columns] matrix, `step` elements from row to row.
  lt::Layout layout(DType type, int64_t rows, int64_t columns, int64_t step, int64_t batch, int64_t stride) const {
    lt::Layout made = nullptr;
    check(api_.layoutCreate(&made, typeOf(type), static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), step),
          "cublasLtMatrixLayoutCreate");
    if (batch > 1) {
      const auto count = static_cast<int32_t>(batch);
      check(api_.layoutSet(made, lt::kBatchCount, &count, sizeof count), "cublasLtMatrixLayoutSetAttribute");
      check(api_.layoutSet(made, lt::kBatchStride, &stride, sizeof stride), "cublasLtMatrixLayoutSetAttribute");
    }
    return made;
  }

  /// Whether it has no way to the problem. Combinations of an epilogue with types or a layout that it does not know may
  /// also be "invalid".
  static bool isUnknown(int status, const GemmProblem& p) {
    return status == lt::kNotSupported || (status == lt::kInvalid && p.epilogue != GemmEpilogue::None);
  }

  static int epilogueOf(const GemmProblem& p) {
    switch (p.epilogue) {
      case GemmEpilogue::None:
        return lt::kNone;
      case GemmEpilogue::Bias:
        return lt::kBias;
      case GemmEpilogue::BiasGelu:
        if (p.bias == nullptr) return p.aux == nullptr ? lt::kGelu : lt::kGeluAux;
        return p.aux == nullptr ? lt::kGeluBias : lt::kGeluAuxBias;
      case GemmEpilogue::GeluSlope:
        return lt::kGeluSlope;
      case GemmEpilogue::ColumnSumsA:
        return lt::kColumnSumsB;
    }
    return lt::kNone;
  }

  void make(const GemmProblem& p, Plan& plan) {
    if (p.aux != nullptr && p.n % 8 != 0) return;  // it wants rows of aux to be multiples of 8
    const int compute = p.tf32 ? lt::kComputeTf32 : lt::kCompute;
    check(api_.descriptionCreate(&plan.description, compute, lt::kFloat), "cublasLtMatmulDescCreate");
    set(plan.description, lt::kTransA, static_cast<int32_t>(p.transB));
    set(plan.description, lt::kTransB, static_cast<int32_t>(p.transA));
    set(plan.description, lt::kEpilogue, static_cast<int32_t>(epilogueOf(p)));
    if (p.aux != nullptr) set(plan.description, lt::kAuxRow, p.n);
    setPointers(plan, p);  // it looks at their alignment
    const int64_t stepA = p.stepA(), stepB = p.stepB();
    plan.a = p.transA ? layout(p.in, p.k, p.m, stepA, p.batch, p.strideA) : layout(p.in, p.m, p.k, stepA, p.batch, p.strideA);
    plan.b = p.transB ? layout(p.in, p.n, p.k, stepB, p.batch, p.strideB) : layout(p.in, p.k, p.n, stepB, p.batch, p.strideB);
    plan.c = layout(p.out, p.m, p.n, p.stepC(), p.batch, p.strideC);

    lt::Preference preference = nullptr;
    check(api_.preferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    lt::Candidate best{};
    int found = 0;
    int status = lt::kSuccess;
    try {
      set(preference, lt::kWorkspace, workspaceBytes_);
      set(preference, lt::kReductions, lt::kReduceInWorkspace);
      const uint32_t alignmentC = alignmentOf(p.c, p.batch, p.strideC, p.out);
      set(preference, lt::kAlignmentA, alignmentOf(p.b, p.batch, p.strideB, p.in));
      set(preference, lt::kAlignmentB, alignmentOf(p.a, p.batch, p.strideA, p.in));
      set(preference, lt::kAlignmentC, alignmentC);
      set(preference, lt::kAlignmentD, alignmentC);
      status = api_.heuristic(handle_, plan.description, plan.b, plan.a, plan.c, plan.c, preference, 1, &best, &found);
    } catch (...) {
      api_.preferenceDestroy(preference);
      throw;
    }
    api_.preferenceDestroy(preference);
    if (!isUnknown(status, p)) check(status, "cublasLtMatmulAlgoGetHeuristic");
    plan.possible = status == lt::kSuccess && found > 0 && best.status == lt::kSuccess;
    plan.algorithm = best.algorithm;
  }

  void drop(Plan& plan) const {
    if (plan.description != nullptr) api_.descriptionDestroy(plan.description);
    for (const lt::Layout l : {plan.a, plan.b, plan.c}) {
      if (l != nullptr) api_.layoutDestroy(l);
    }
  }
  void forget() {
    for (auto& [key, plan] : plans_) drop(plan);
    plans_.clear();
  }

  const lt::Api& api_;
  lt::Handle handle_ = nullptr;
  void* workspace_ = nullptr;
  size_t workspaceBytes_ = 0;
  int64_t searches_ = 0;
  std::chrono::steady_clock::duration searchTime_{};
  std::unordered_map<Key, Plan, KeyHash> plans_;
};

}  // namespace

std::string gemmLibraryName() {
  const size_t version = lt::load().version();
  return "cuBLASLt " + std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." +
         std::to_string(version % 100);
}

std::unique_ptr<GemmLibrary> openGemmLibrary(const DeviceProperties& device) {
  return std::make_unique<CublasLt>(device);
}

}  // namespace d2v::cuda
