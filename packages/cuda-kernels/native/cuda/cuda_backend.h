// The CUDA backend's class: one GPU, one stream of work. Each family of ops has a .cu file of its own, which holds the kernels and
// the methods that launch them; the matrix products (gemm.cc) call a library.
//
// Everything a method does is enqueued in `stream_` and has not happened when it returns; only toHost, synchronize and
// findOutOfRange wait. Since there is one stream, whatever was freed while work was enqueued may be handed out at once: later
// work comes later in the stream. So a `Workspace` may end before the kernels that use it have run.
#pragma once

#include <memory>
#include <string>

#include "../backend.h"
#include "../storage.h"
#include "driver.h"
#include "gemm_refusals.h"

namespace d2v::cuda {

struct ConvContext;
class Staging;
class WorkStream;

/// Device memory of GPU number `device`: the caching allocator on top of the driver.
std::unique_ptr<Allocator> makeDeviceAllocator(int device);

class CudaBackend final : public Backend {
 public:
  /// Opens the GPU: makes its context if this process has none yet. `memory` is its device memory.
  CudaBackend(int device, Allocator& memory);
  ~CudaBackend() override;

  const std::string& name() const override { return name_; }
  Allocator& memory() override { return memory_; }
  bool computesBf16() const override { return true; }
  std::string isa() const override;
  std::string gemmLibrary() const override;
  void setTf32(bool on) override { tf32_ = on; }
  GemmReport gemmReport() const override;
  bool asynchronous() const override { return true; }
  void enter() override { useDevice(device_); }
  void synchronize() override;
  void recordGraph() override;
  void startGraph() override;
  GraphStats graphStats() const override;

  void fill(void* dst, DType t, double value, int64_t n) override;
  void cast(const void* src, DType from, void* dst, DType to, int64_t n) override;
  void copyBytes(void* dst, const void* src, int64_t bytes) override;
  void toHost(void* host, const void* src, int64_t bytes) override;
  void fromHost(void* dst, const void* host, int64_t bytes) override;
  std::unique_ptr<Readback> readback(const std::vector<Piece>& pieces) override;
  int64_t findOutOfRange(const int32_t* values, int64_t n, int64_t lo, int64_t hi, int64_t except) override;

  void linear(const LinearArgs& a) override;
  void linearGradInput(const LinearGradInputArgs& a) override;
  void linearGradWeight(const LinearGradWeightArgs& a) override;
  void matmul(const MatmulArgs& a) override;

  void layerNorm(const LayerNormArgs& a) override;
  void layerNormBackward(const LayerNormBackwardArgs& a) override;

  void attention(const AttentionArgs& a) override;
  void attentionBackward(const AttentionBackwardArgs& a) override;

  void conv(const ConvShape& s, In x, In w, In bias, Out y) override;
  void convGradInput(const ConvShape& s, In dy, In w, Out dx) override;
  void convGradWeight(const ConvShape& s, In dy, In x, float* dw, float* db) override;

  void patchify(const PatchShape& s, In images, Out tokens) override;
  void unpatchify(const PatchShape& s, In tokens, Out images) override;
  void gatherTokens(In x, const int32_t* ids, In prefix, Out y, int64_t b, int64_t t, int64_t rows, int64_t k,
                    int64_t e, int64_t d) override;
  void gatherTokensBackward(In dy, const int32_t* ids, Out dx, float* dPrefix, int64_t b, int64_t t, int64_t rows,
                            int64_t k, int64_t e, int64_t d) override;
  void restoreTokens(In x, const int32_t* restore, In noise, double std, const RngKey& key, Out y, int64_t rows,
                     int64_t t, int64_t kept, int64_t extra, int64_t d) override;
  void restoreTokensBackward(In dy, const int32_t* restore, Out dx, int64_t rows, int64_t t, int64_t kept,
                             int64_t extra, int64_t d) override;
  void repeatRows(In x, Out y, int64_t b, int64_t times, int64_t inner) override;
  void repeatRowsBackward(In dy, Out dx, int64_t b, int64_t times, int64_t inner) override;
  void copySlab(const void* src, void* dst, int64_t outer, int64_t srcDim, int64_t srcStart, int64_t dstDim,
                int64_t dstStart, int64_t len, int64_t innerBytes) override;
  void transpose(const void* x, void* y, size_t elementSize, int rank, const int64_t* shape, const int* perm) override;
  void embedding(const int32_t* ids, In table, Out y, int64_t n, int64_t d) override;
  void embeddingGrad(float* dTable, const int32_t* ids, In dy, int64_t n, int64_t v, int64_t d,
                     int64_t padding) override;

  void accumulateTarget(float* acc, In layer, int64_t b, int64_t t, int64_t d, int64_t skip, TargetNorm norm,
                        double scale, double eps) override;
  void maskedLoss(const MaskedLossArgs& a) override;
  void featureStd(In x, const int32_t* ids, int64_t b, int64_t t, int64_t rows, int64_t n, int64_t d,
                  double* result) override;
  void crossEntropy(In logits, const int32_t* labels, Out dlogits, double* result, int64_t n, int64_t c,
                    double smoothing, int64_t ignore, double gradScale) override;

  void unary(Unary op, In x, Out y, int64_t n) override;
  void unaryBackward(Unary op, In dy, In x, In y, Out dx, int64_t n) override;
  void binary(Binary op, In a, In b, Out y, int64_t outer, int64_t inner) override;
  void scale(In x, double alpha, Out y, int64_t n) override;
  void axpy(Out y, double alpha, In x, int64_t n) override;
  void scaleRows(In x, const float* s, Out y, int64_t b, int64_t inner) override;
  void sumTo(In x, Out y, int64_t outer, int64_t inner) override;
  void sum(In x, int64_t n, double* result) override;
  void sumSquares(In x, int64_t n, double* result) override;
  void meanTokens(In x, Out y, int64_t b, int64_t t, int64_t d, int64_t skip) override;
  void meanTokensBackward(In dy, Out dx, int64_t b, int64_t t, int64_t d, int64_t skip) override;
  void softmax(In x, Out y, int64_t rows, int64_t d) override;
  void softmaxBackward(In dy, In y, Out dx, int64_t rows, int64_t d) override;
  void logSoftmax(In x, Out y, int64_t rows, int64_t d) override;

  void normal(Out x, double mean, double std, const RngKey& key, int64_t n) override;
  void uniform(Out x, double lo, double hi, const RngKey& key, int64_t n) override;
  void dropout(In x, Out y, double p, const RngKey& key, int64_t n) override;

  void gradControl(const double* squares, int64_t nSquares, const double* losses, int64_t nLosses, double gradScale,
                   double clipNorm, double* control) override;
  void adam(const AdamArgs& a) override;
  void ema(float* teacher, const float* student, double decay, int64_t n, const double* control) override;

 private:
  /// The library of matrix products, loaded at first use. Throws where it cannot be found.
  GemmLibrary& gemm();
  bool multiplyByLibrary(GemmProblem p);
  bool multiply(const GemmProblem& p);
  ConvContext convContext();
  Staging& staging();

  const int device_;
  const std::string name_;
  Allocator& memory_;
  DeviceProperties properties_;
  const std::unique_ptr<WorkStream> work_;
  const Stream stream_;  // of work_
  std::unique_ptr<GemmLibrary> gemm_;
  GemmRefusals refusals_;
  bool tf32_ = false;
  std::unique_ptr<Staging> staging_;  // made and used by memory.cu
};

}  // namespace d2v::cuda
