// Stands in for the library of matrix products in the tests that run kernels on the host: plain loops in f32, with the
// epilogues that the library has. D2V_EMULATED_GEMM=plain leaves the epilogues out, =none everything, as the library may at
// odd shapes and addresses.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../device.h"
#include "../gemm_library.h"
#include "streams.h"

namespace d2v::cuda {

namespace {

float read(const void* data, DType t, int64_t i) {
  return t == DType::BF16 ? toFloat(static_cast<const Bf16*>(data)[i]) : static_cast<const float*>(data)[i];
}
/// To 10 bits of mantissa, as tensor cores read f32.
float roundTf32(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x1000u) & ~0x1fffu;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}
void write(void* data, DType t, int64_t i, float value) {
  if (t == DType::BF16) static_cast<Bf16*>(data)[i] = toBf16(value);
  else static_cast<float*>(data)[i] = value;
}

constexpr double kScale = 0.7978845608028654, kCubic = 0.044715;  // sqrt(2/pi)
double gelu(double x) { return 0.5 * x * (1 + std::tanh(kScale * (x + kCubic * x * x * x))); }
double geluSlope(double x) {
  const double t = std::tanh(kScale * (x + kCubic * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kScale * (1 + 3 * kCubic * x * x);
}

class HostGemm final : public GemmLibrary {
 public:
  HostGemm() {
    const char* value = std::getenv("D2V_EMULATED_GEMM");
    const std::string choice = value == nullptr ? "all" : value;
    products_ = choice != "none";
    epilogues_ = products_ && choice != "plain";
  }

  bool multiply(const GemmProblem& p, Stream stream) override {
    if (!(p.epilogue == GemmEpilogue::None ? products_ : epilogues_)) return false;
    emulator::enqueue(stream, emulator::Node::Library, [p] {
      for (int64_t item = 0; item < p.batch; ++item) multiplyOne(p, item);
    });
    return true;
  }

  void addSearches(int64_t&, double&) const override {}

 private:
  static void multiplyOne(const GemmProblem& p, int64_t item) {
    const int64_t a0 = item * p.strideA, b0 = item * p.strideB, c0 = item * p.strideC;
    std::vector<float> a(static_cast<size_t>(p.m * p.k)), b(static_cast<size_t>(p.k * p.n)), row(static_cast<size_t>(p.n));
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t k = 0; k < p.k; ++k) {
        a[static_cast<size_t>(i * p.k + k)] = read(p.a, p.in, a0 + (p.transA ? k * p.stepA() + i : i * p.stepA() + k));
      }
    }
    for (int64_t k = 0; k < p.k; ++k) {
      for (int64_t j = 0; j < p.n; ++j) {
        b[static_cast<size_t>(k * p.n + j)] = read(p.b, p.in, b0 + (p.transB ? j * p.stepB() + k : k * p.stepB() + j));
      }
    }
    if (p.tf32) {
      for (float& x : a) x = roundTf32(x);
      for (float& x : b) x = roundTf32(x);
    }
    for (int64_t i = 0; i < p.m; ++i) {
      std::fill(row.begin(), row.end(), 0.0f);
      float sum = 0;
      for (int64_t k = 0; k < p.k; ++k) {
        const float x = a[static_cast<size_t>(i * p.k + k)];
        sum += x;
        for (int64_t j = 0; j < p.n; ++j) row[static_cast<size_t>(j)] += x * b[static_cast<size_t>(k * p.n + j)];
      }
      if (p.epilogue == GemmEpilogue::ColumnSumsA) write(p.bias, p.out, i, sum);
      for (int64_t j = 0; j < p.n; ++j) {
        const int64_t at = c0 + i * p.stepC() + j;
        double x = p.alpha * row[static_cast<size_t>(j)];
        if (p.beta != 0) x += p.beta * read(p.c, p.out, at);
        write(p.c, p.out, at, static_cast<float>(finish(p, x, i, j)));
      }
    }
  }

  static double finish(const GemmProblem& p, double x, int64_t i, int64_t j) {
    switch (p.epilogue) {
      case GemmEpilogue::None:
      case GemmEpilogue::ColumnSumsA:
        return x;
      case GemmEpilogue::Bias:
        return x + read(p.bias, p.out, j);
      case GemmEpilogue::BiasGelu:
        if (p.bias != nullptr) x += read(p.bias, p.out, j);
        if (p.aux != nullptr) write(p.aux, p.out, i * p.n + j, static_cast<float>(x));
        return gelu(x);
      case GemmEpilogue::GeluSlope:
        return x * geluSlope(read(p.aux, p.out, i * p.n + j));
    }
    return x;
  }

  bool products_, epilogues_;
};

}  // namespace

std::string gemmLibraryName() { return "emulated"; }

std::unique_ptr<GemmLibrary> openGemmLibrary(const DeviceProperties&) { return std::make_unique<HostGemm>(); }

}  // namespace d2v::cuda
