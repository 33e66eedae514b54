// The op list. One abstract method per op, its shapes in a comment; a device is one subclass.
//
// The callers (ops/*.cc) have checked everything: shapes, dtypes, devices, ranges of indices, overflow of sizes.
// Every count is >= 1 (ops return early on nothing to do), all tensors are contiguous and 64-byte aligned at the
// start of their storage (a view may begin anywhere on an element). Pointers documented `?` may be null.
// Outputs never overlap inputs unless the comment says so. Outputs are uninitialised memory; `+=` accumulates.
//
// In/Out are float activations: f32, or bf16 on a backend that computes in it. `float*` is always f32.
// Results must be the same from run to run.
//
// Every pointer is device memory unless the comment says host: also scalars (`double* loss`), so that no op has to wait
// for the device. The host reads them through `readback`. Only toHost, fromHost, findOutOfRange and synchronize may wait.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "random.h"
#include "types.h"

namespace d2v {

class Allocator;

/// y[n,m] = act(x[n,k] w[m,k]^T + bias[m]?);  pre[n,m]? receives the value before the activation.
struct LinearArgs {
  In x, w, bias;
  Out y, pre;
  int64_t n, k, m;
  Activation activation;
};

/// dx[n,k] (= or +=) (dy[n,m] w[m,k]) * (geluPre[n,k]? gelu'(geluPre) : 1).  `accumulate`: +=.
struct LinearGradInputArgs {
  In dy, w, geluPre;
  Out dx;
  int64_t n, k, m;
  bool accumulate;
};

/// dw[m,k] += dy[n,m]^T x[n,k];  db[m]? += sum over n of dy.
struct LinearGradWeightArgs {
  In dy, x;
  float* dw;
  float* db;
  int64_t n, k, m;
};

/// c[batch,m,n] = alpha * op(a) op(b); op(a) is [m,k] (stored [k,m] if transA), op(b) is [k,n] (stored [n,k] if
/// transB). Batch strides in elements, 0 when an operand is shared by the batch.
struct MatmulArgs {
  In a, b;
  Out c;
  int64_t batch, m, n, k, strideA, strideB;
  bool transA, transB;
  float alpha;
};

/// s = x + residual?;  y = act((s - mean) * rstd * weight? + bias?) + after?;  all [rows,d], mean/rstd [rows],
/// weight/bias [d], biased variance. `sum`? receives s (given when residual is).
struct LayerNormArgs {
  In x, residual, weight, bias, after;
  Out y, sum;
  float* mean;
  float* rstd;
  int64_t rows, d;
  float eps;
  Activation activation;
};

/// dsum[rows,d] = gradient to s of y = act(norm(s) * weight? + bias?), given dy and the forward's sum, mean, rstd;
/// dWeight[d]? +=, dBias[d]? +=.
struct LayerNormBackwardArgs {
  In dy, sum, weight, bias;
  const float* mean;
  const float* rstd;
  Out dsum;
  float* dWeight;
  float* dBias;
  int64_t rows, d;
  Activation activation;
};

/// Attention of `heads` heads, head h reads columns [h*headDim, (h+1)*headDim).
/// q row (b,i) is at q + (b*tq + i) * ldq, k and v rows (b,j) at k + (b*tk + j) * ldk, v + (b*tk + j) * ldk
/// (packed qkv: ldq = ldk = 3 * heads * headDim, the pointers are shifted). out and dout rows have heads * headDim.
///   score(b,h,i,j) = scale * q.k + bias + alibi;   p = softmax over j;   out = sum_j drop(p) v
///   keyPadding u8 [b,tk]?: 1 removes key j. A row without keys gives out 0, lse -inf and no gradient.
///   slopes f32 [heads]?: alibi = -slope[h] * dist(i,j); positionsQ i32 [b,tq,dims], positionsK i32 [b,tk,dims];
///       dist = sum |difference| or, euclidean, sqrt(sum difference^2); 0 if the first coordinate of either is < 0.
///   bias f32 ?: [heads,tq,tk] (biasBatchStride 0) or [b,heads,tq,tk] (biasBatchStride heads*tq*tk).
///   dropout: probability in [0,1), see dropMask in random.h for which word belongs to (b,h,i,j).
struct AttentionShape {
  int64_t batch, heads, headDim, tq, tk, ldq, ldk;
  float scale;
  const uint8_t* keyPadding = nullptr;
  const float* slopes = nullptr;
  const int32_t* positionsQ = nullptr;
  const int32_t* positionsK = nullptr;
  int64_t positionDims = 0;
  bool euclidean = false;
  const float* bias = nullptr;
  int64_t biasBatchStride = 0;
  double dropout = 0;
  RngKey key;
};

/// out [b,tq,heads*headDim]; lse f32 [b,heads,tq] = log sum_j exp(score).
struct AttentionArgs {
  AttentionShape shape;
  In q, k, v;
  Out out;
  float* lse;
};

/// dq, dk, dv have the layout (row strides) of q, k, v and are written whole, as are dSlopes[heads]? and dBias?
/// (shaped like bias). dSlopes is given only with slopes, dBias only with bias.
struct AttentionBackwardArgs {
  AttentionShape shape;
  In dout, out, q, k, v;
  const float* lse;
  Out dq, dk, dv;
  float* dSlopes;
  float* dBias;
};

/// Token-major convolution: x [batch,inH,inW,cin], y [batch,outH,outW,cout], w [cout,cin/groups,kH,kW].
/// One spatial dimension: H = 1 everywhere. Output (i,j) reads x at (i*strideH - padTop + a, j*strideW - padLeft + b),
/// zero outside.
struct ConvShape {
  int64_t batch, inH, inW, cin, outH, outW, cout, groups, kH, kW, strideH, strideW, padTop, padLeft;
};

enum class Unary : uint8_t { Gelu, Relu, Tanh, Sigmoid, Exp, Log, Sqrt, Square };
enum class Binary : uint8_t { Add, Sub, Mul };
enum class TargetNorm : uint8_t { None, Layer, Instance, Batch };

/// images [batch,c,gridH*pH,gridW*pW] <-> tokens [batch,gridH*gridW,c*pH*pW]. channelsFirst: a token is laid out
/// (c,p,q), else (p,q,c).
struct PatchShape {
  int64_t batch, c, gridH, gridW, pH, pW;
  bool channelsFirst;
};

/// pred [r,n,d] is compared with target [b,t,d] at positions ids[r,n]; row r belongs to sample r / (r_total / b).
/// element loss (diff = pred - target): beta 0: diff^2, else diff^2 / 2 / beta if |diff| < beta, |diff| - beta / 2.
struct MaskedLossArgs {
  In pred;
  const float* target;
  const int32_t* ids;
  Out dpred;
  double* loss;
  int64_t rows, n, d, samples, t;
  double beta, scale, gradScale;
};

/// fairseq's Adam: m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= lr wd p;
/// p -= lr sqrt(1-b2^step)/(1-b1^step) * m / (sqrt(v) + eps), where g = gradScale * gradient.
/// Then gradient = 0 if zeroGrad, teacher? = emaDecay teacher + (1 - emaDecay) p (left alone when emaDecay >= 1).
/// control? is what gradControl wrote: its factor replaces gradScale; where it says "not applied", nothing changes but
/// the gradient (zeroGrad).
struct AdamArgs {
  float* p;
  float* g;
  float* m;
  float* v;
  float* teacher;
  int64_t n;
  double lr, beta1, beta2, eps, weightDecay, gradScale, emaDecay;
  int64_t step;
  bool zeroGrad;
  const double* control;
};

/// What gradControl decides about the gradients of an update: control[kGradNorm] is the global norm of the scaled gradients
/// before clipping, [kGradFactor] what Adam multiplies them by, [kGradApplied] 1, or 0 for an update that must change nothing.
enum GradControl : int { kGradNorm, kGradFactor, kGradApplied, kGradControlSize };

/// Recorded sequences of work, since the device was opened.
struct GraphStats {
  int64_t started = 0;
  int64_t made = 0;  // of those, how many were of a form that no earlier one had
};

/// A matrix product that the device's library has no way to.
struct GemmRefusal {
  std::string product;  // its shape, dtypes and epilogue
  std::string instead;  // what was done
  int64_t calls = 0;
};

/// The library of matrix products, since the device was opened.
struct GemmReport {
  std::vector<GemmRefusal> refusals;
  int64_t searches = 0;  // for an algorithm: one per shape
  double searchMs = 0;   // what they took, on the host
};

/// A piece of device memory that the host wants.
struct Piece {
  const void* src;
  int64_t bytes;
};

/// Copies of device memory on their way to the host.
class Readback {
 public:
  virtual ~Readback() = default;
  /// The pieces one after the other, without gaps; waits for them if need be. Host memory, valid as long as this object.
  virtual const char* wait() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // --- system
  /// "cpu", "cuda:0".
  virtual const std::string& name() const = 0;
  virtual Allocator& memory() = 0;
  /// False: the caller widens bf16 operands to f32 and rounds results.
  virtual bool computesBf16() const = 0;
  /// Instruction set or compute capability, for deviceInfo.
  virtual std::string isa() const = 0;
  /// Library behind linear/matmul: "oneDNN 2.6.3" or "builtin".
  virtual std::string gemmLibrary() const = 0;
  /// Whether the library may round f32 operands to TF32. Off at first; devices without TF32 compute in f32 in any case.
  virtual void setTf32(bool) {}
  virtual GemmReport gemmReport() const { return {}; }
  /// Whether ops return before their work is done.
  virtual bool asynchronous() const { return false; }
  /// Called before a thread calls ops: a thread may use several GPUs.
  virtual void enter() {}
  /// Waits for everything in flight.
  virtual void synchronize() {}
  /// From here to `startGraph` a backend that can may keep what is enqueued, to start it as a whole; whatever waits for it
  /// starts it, too.
  virtual void recordGraph() {}
  virtual void startGraph() {}
  virtual GraphStats graphStats() const { return {}; }

  // --- memory (n elements unless said otherwise)
  virtual void fill(void* dst, DType t, double value, int64_t n) = 0;
  /// Converts between any two dtypes; float to integer truncates and saturates, NaN gives 0. Buffers may not overlap.
  virtual void cast(const void* src, DType from, void* dst, DType to, int64_t n) = 0;
  virtual void copyBytes(void* dst, const void* src, int64_t bytes) = 0;
  virtual void toHost(void* host, const void* src, int64_t bytes) = 0;
  virtual void fromHost(void* dst, const void* host, int64_t bytes) = 0;
  /// Copies the pieces as they are after all ops so far; waits for nothing. Their memory may be released at once.
  virtual std::unique_ptr<Readback> readback(const std::vector<Piece>& pieces) = 0;
  /// Position of the first element that is outside [lo, hi) and not `except`, -1 if there is none. Waits.
  virtual int64_t findOutOfRange(const int32_t* values, int64_t n, int64_t lo, int64_t hi, int64_t except) = 0;

  // --- gemm
  virtual void linear(const LinearArgs& a) = 0;
  virtual void linearGradInput(const LinearGradInputArgs& a) = 0;
  virtual void linearGradWeight(const LinearGradWeightArgs& a) = 0;
  virtual void matmul(const MatmulArgs& a) = 0;

  // --- norm
  virtual void layerNorm(const LayerNormArgs& a) = 0;
  virtual void layerNormBackward(const LayerNormBackwardArgs& a) = 0;

  // --- attention
  virtual void attention(const AttentionArgs& a) = 0;
  virtual void attentionBackward(const AttentionBackwardArgs& a) = 0;

  // --- conv
  /// y = conv(x, w) + bias[cout]?.
  virtual void conv(const ConvShape& s, In x, In w, In bias, Out y) = 0;
  /// dx [batch,inH,inW,cin], written whole.
  virtual void convGradInput(const ConvShape& s, In dy, In w, Out dx) = 0;
  /// dw [cout,cin/groups,kH,kW] +=, db[cout]? +=.
  virtual void convGradWeight(const ConvShape& s, In dy, In x, float* dw, float* db) = 0;

  // --- tokens
  virtual void patchify(const PatchShape& s, In images, Out tokens) = 0;
  virtual void unpatchify(const PatchShape& s, In tokens, Out images) = 0;
  /// y[r, 0..e) = prefix[e,d]?; y[r, e+j] = x[r / (rows/b), ids[r,j]] (ids null: rows = b, k = t, identity).
  virtual void gatherTokens(In x, const int32_t* ids, In prefix, Out y, int64_t b, int64_t t, int64_t rows, int64_t k,
                            int64_t e, int64_t d) = 0;
  /// dx [b,t,d] written whole (an id may repeat); dPrefix f32 [e,d]? +=.
  virtual void gatherTokensBackward(In dy, const int32_t* ids, Out dx, float* dPrefix, int64_t b, int64_t t,
                                    int64_t rows, int64_t k, int64_t e, int64_t d) = 0;
  /// y[r,i] = s < kept ? x[r, extra + s] : noise[r, s - kept], s = restore[r,i]; x [rows,extra+kept,d],
  /// noise [rows,t-kept,d], y [rows,t,d]. Noise null: normal(0, std) of `key` at element ((r*(t-kept) + s-kept)*d + c).
  virtual void restoreTokens(In x, const int32_t* restore, In noise, double std, const RngKey& key, Out y, int64_t rows,
                             int64_t t, int64_t kept, int64_t extra, int64_t d) = 0;
  /// dx [rows,extra+kept,d] written whole; zeros for the extra tokens.
  virtual void restoreTokensBackward(In dy, const int32_t* restore, Out dx, int64_t rows, int64_t t, int64_t kept,
                                     int64_t extra, int64_t d) = 0;
  /// y [b*times, inner], row b*times + m = x[b].
  virtual void repeatRows(In x, Out y, int64_t b, int64_t times, int64_t inner) = 0;
  virtual void repeatRowsBackward(In dy, Out dx, int64_t b, int64_t times, int64_t inner) = 0;
  /// dst[outer, dstDim, inner] at [:, dstStart : dstStart+len] = src[outer, srcDim, inner] at [:, srcStart : +len];
  /// any dtype, `inner` in bytes. Slice and concat.
  virtual void copySlab(const void* src, void* dst, int64_t outer, int64_t srcDim, int64_t srcStart, int64_t dstDim,
                        int64_t dstStart, int64_t len, int64_t innerBytes) = 0;
  /// y = x with dimensions permuted; shape of x, perm[i] is the dimension of x that becomes dimension i of y. Any dtype.
  virtual void transpose(const void* x, void* y, size_t elementSize, int rank, const int64_t* shape,
                         const int* perm) = 0;
  /// y [n,d] = table[ids]; ids in range.
  virtual void embedding(const int32_t* ids, In table, Out y, int64_t n, int64_t d) = 0;
  /// dTable [v,d] += dy at ids; rows of `padding` (-1: none) are skipped.
  virtual void embeddingGrad(float* dTable, const int32_t* ids, In dy, int64_t n, int64_t v, int64_t d,
                             int64_t padding) = 0;

  // --- targets and losses
  /// acc[b,t,d] += scale * norm(layer[b, skip:, :]), layer [b,skip+t,d]. Instance: over t per (b, channel); layer: over
  /// d; batch: over (b,t) per channel. Biased variance.
  virtual void accumulateTarget(float* acc, In layer, int64_t b, int64_t t, int64_t d, int64_t skip, TargetNorm norm,
                                double scale, double eps) = 0;
  /// *loss = the sum of scale * element losses (accumulated in f64); dpred = gradScale * its gradient.
  virtual void maskedLoss(const MaskedLossArgs& a) = 0;
  /// *result = mean over d of sqrt(unbiased variance + 1e-6) over the rows x[r / (rows/b), ids[r,j]] of x [b,t,d], ids
  /// [rows,n]? (null: rows = b, n = t, all of them).
  virtual void featureStd(In x, const int32_t* ids, int64_t b, int64_t t, int64_t rows, int64_t n, int64_t d,
                          double* result) = 0;
  /// logits [n,c]; rows with labels[i] == ignore are left out (dlogits 0). result[0] = the sum of the losses, result[1] =
  /// the number of rows that took part; dlogits = gradScale * gradient.
  virtual void crossEntropy(In logits, const int32_t* labels, Out dlogits, double* result, int64_t n, int64_t c,
                            double smoothing, int64_t ignore, double gradScale) = 0;

  // --- elementwise and reductions
  virtual void unary(Unary op, In x, Out y, int64_t n) = 0;
  /// dx = dy * op'(x); y is the forward's result.
  virtual void unaryBackward(Unary op, In dy, In x, In y, Out dx, int64_t n) = 0;
  /// y[outer,inner] = a[outer,inner] op b[inner] (inner = everything for equal shapes, 1 for a scalar). y may be a.
  virtual void binary(Binary op, In a, In b, Out y, int64_t outer, int64_t inner) = 0;
  /// y = alpha x. y may be x.
  virtual void scale(In x, double alpha, Out y, int64_t n) = 0;
  /// y += alpha x.
  virtual void axpy(Out y, double alpha, In x, int64_t n) = 0;
  /// y[b,inner] = x[b,inner] * s[b]. y may be x.
  virtual void scaleRows(In x, const float* s, Out y, int64_t b, int64_t inner) = 0;
  /// y[inner] = sum over outer of x[outer,inner].
  virtual void sumTo(In x, Out y, int64_t outer, int64_t inner) = 0;
  /// *result, accumulated in f64.
  virtual void sum(In x, int64_t n, double* result) = 0;
  virtual void sumSquares(In x, int64_t n, double* result) = 0;
  /// y[b,d] = mean over t >= skip of x[b,t,d].
  virtual void meanTokens(In x, Out y, int64_t b, int64_t t, int64_t d, int64_t skip) = 0;
  virtual void meanTokensBackward(In dy, Out dx, int64_t b, int64_t t, int64_t d, int64_t skip) = 0;
  /// Over the last dimension, x [rows,d].
  virtual void softmax(In x, Out y, int64_t rows, int64_t d) = 0;
  virtual void softmaxBackward(In dy, In y, Out dx, int64_t rows, int64_t d) = 0;
  virtual void logSoftmax(In x, Out y, int64_t rows, int64_t d) = 0;

  // --- random
  virtual void normal(Out x, double mean, double std, const RngKey& key, int64_t n) = 0;
  virtual void uniform(Out x, double lo, double hi, const RngKey& key, int64_t n) = 0;
  /// y = x * (0 or 1/(1-p)), word i for element i. y may be x.
  virtual void dropout(In x, Out y, double p, const RngKey& key, int64_t n) = 0;

  // --- optimizer
  /// norm = sqrt(sum of squares[0..nSquares)) * gradScale;  applied = norm and losses[0..nLosses) are all finite;
  /// factor = gradScale * (clipNorm > 0 ? min(1, clipNorm / (norm + 1e-6)) : 1);  control [kGradControlSize]. All in f64.
  virtual void gradControl(const double* squares, int64_t nSquares, const double* losses, int64_t nLosses,
                           double gradScale, double clipNorm, double* control) = 0;
  virtual void adam(const AdamArgs& a) = 0;
  /// teacher = decay * teacher + (1 - decay) * student; left alone if control? says "not applied".
  virtual void ema(float* teacher, const float* student, double decay, int64_t n, const double* control) = 0;
};

}  // namespace d2v
