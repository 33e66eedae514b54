// Matrix products: which product of the library each op asks for, the passes around it, and the plain product. On the host
// with the library's epilogues, without them, and without the library.
#include <cstdlib>

#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

/// Of the host's library of matrix products, how much there is.
bool libraryIs(const char* choice) {
  const char* value = std::getenv("D2V_EMULATED_GEMM");
  return value != nullptr && std::string(value) == choice;
}

void linear(Harness& h, DType t, int64_t n, int64_t k, int64_t m, bool bias, bool gelu, bool pre) {
  h.check(gelu ? "linear gelu" : "linear", t, {n, k, m}, [&](Side& s) {
    LinearArgs a{};
    a.x = s.in(n * k);
    a.w = s.in(m * k, -0.5, 0.5);
    if (bias) a.bias = s.in(m);
    a.y = s.out(n * m);
    if (pre) a.pre = s.out(n * m);
    a.n = n, a.k = k, a.m = m;
    a.activation = gelu ? Activation::Gelu : Activation::None;
    s.backend.linear(a);
  });
}

void gradInput(Harness& h, DType t, int64_t n, int64_t k, int64_t m, bool pre, bool accumulate) {
  h.check("linearGradInput", t, {n, k, m}, [&](Side& s) {
    LinearGradInputArgs a{};
    a.dy = s.in(n * m);
    a.w = s.in(m * k, -0.5, 0.5);
    if (pre) a.geluPre = s.in(n * k);
    a.dx = accumulate ? s.inout(n * k) : s.out(n * k);
    a.n = n, a.k = k, a.m = m;
    a.accumulate = accumulate;
    s.backend.linearGradInput(a);
  });
}

void gradWeight(Harness& h, DType t, int64_t n, int64_t k, int64_t m, bool bias) {
  h.check("linearGradWeight", t, {n, k, m}, [&](Side& s) {
    LinearGradWeightArgs a{};
    a.dy = s.in(n * m);
    a.x = s.in(n * k);
    a.dw = s.f32InOut(m * k);
    if (bias) a.db = s.f32InOut(m);
    a.n = n, a.k = k, a.m = m;
    s.backend.linearGradWeight(a);
  });
}

void matmul(Harness& h, DType t, int64_t batch, int64_t m, int64_t n, int64_t k, bool transA, bool transB, bool sharedA,
            bool sharedB) {
  h.check("matmul", t, {batch, m, n, k}, [&](Side& s) {
    MatmulArgs a{};
    a.a = s.in((sharedA ? 1 : batch) * m * k);
    a.b = s.in((sharedB ? 1 : batch) * k * n);
    a.c = s.out(batch * m * n);
    a.batch = batch, a.m = m, a.n = n, a.k = k;
    a.strideA = sharedA ? 0 : m * k;
    a.strideB = sharedB ? 0 : k * n;
    a.transA = transA, a.transB = transB;
    a.alpha = 0.75f;
    s.backend.matmul(a);
  });
}

/// As f32 numbers are after rounding to TF32 (to 10 bits of mantissa), and a little more, which that takes away.
std::vector<float> tf32Numbers(int64_t n, bool more) {
  std::vector<float> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) {
    const float value = 1 + static_cast<float>(i * 37 % 1024) / 1024;
    values[i] = (i % 3 == 0 ? -value : value) * (more ? 1 + 0x1p-13f : 1.0f);
  }
  return values;
}

/// With the switch on, operands lose their last bits; with it off they don't. A GPU's library may keep them in any case.
void tf32(Harness& h, bool on) {
  h.check(on ? "linear tf32" : "linear after tf32", DType::F32, {16, 64, 32}, [&](Side& s) {
    const int64_t n = 16, k = 64, m = 32;
    const bool gpu = s.backend.asynchronous(), rounded = on && !gpu;
    LinearArgs a{};
    a.x = s.in(tf32Numbers(n * k, !rounded));
    a.w = s.in(tf32Numbers(m * k, !rounded));
    a.y = s.out(n * m);
    a.n = n, a.k = k, a.m = m;
    a.activation = Activation::None;
    s.backend.setTf32(on);
    s.backend.linear(a);
    s.backend.setTf32(false);
  });
}

int run(int argc, char** argv) {
  Harness h(argc, argv);
  h.tolerance(1e-5, 1.5e-2);
  for (const DType t : kFloats) {
    for (const bool flag : {false, true}) {
      linear(h, t, 5, 16, 24, true, flag, flag);
      linear(h, t, 70, 40, 72, true, flag, false);
      linear(h, t, 3, 7, 9, false, flag, true);
      linear(h, t, 1, 1, 1, true, flag, true);
      gradInput(h, t, 5, 24, 16, flag, false);
      gradInput(h, t, 70, 72, 24, flag, true);
      gradInput(h, t, 3, 9, 7, flag, flag);
      gradWeight(h, t, 130, 24, 40, flag);
      gradWeight(h, t, 7, 5, 3, flag);
      gradWeight(h, t, 1, 72, 72, flag);
    }
    for (const bool transA : {false, true}) {
      for (const bool transB : {false, true}) {
        matmul(h, t, 1, 33, 65, 17, transA, transB, false, false);
        matmul(h, t, 3, 8, 16, 24, transA, transB, false, false);
        matmul(h, t, 2, 5, 7, 3, transA, transB, true, false);
        matmul(h, t, 2, 5, 8, 3, transA, transB, false, true);
      }
    }
  }
  // The rounded numbers differ by 2.4e-4.
  h.tolerance(onEmulator() && !libraryIs("none") ? 1e-6 : 1e-3, 0);
  tf32(h, true);
  h.tolerance(1e-6, 0);
  tf32(h, false);
  return h.finish();
}

/// What the report says of a linear layer with GELU, five times, and of a convolution by a product; the host's library refuses
/// as much as it was told.
bool countsRefusals(const std::string& library) {
  const auto memory = cuda::makeDeviceAllocator(0);
  cuda::CudaBackend gpu(0, *memory);
  Side s(gpu, true, DType::BF16, 0, nullptr);
  LinearArgs a{};
  a.n = 8, a.k = 16, a.m = 24;
  a.x = s.in(a.n * a.k), a.w = s.in(a.m * a.k), a.bias = s.in(a.m), a.y = s.out(a.n * a.m), a.pre = s.out(a.n * a.m);
  a.activation = Activation::Gelu;
  for (int i = 0; i < 5; ++i) gpu.linear(a);
  const ConvShape conv{1, 1, 8, 128, 1, 8, 128, 1, 1, 1, 1, 1, 0, 0};
  gpu.conv(conv, s.in(8 * 128), s.in(128 * 128), In(), s.out(8 * 128));
  gpu.synchronize();
  std::vector<GemmRefusal> refusals = gpu.gemmReport().refusals;
  if (library == "all") return refusals.empty();
  if (library == "none") {
    if (refusals.size() != 2 || refusals[1].calls != 1 || refusals[1].instead != "convolution kernels") return false;
    refusals.pop_back();
  }
  return refusals.size() == 1 && refusals[0].calls == 5 &&
         refusals[0].instead == (library == "plain" ? "a product and a pass" : "the plain kernel") &&
         refusals[0].product == "8 x 24 x 16 (m x n x k), b transposed, bf16 to bf16, epilogue bias, GELU and its input";
}

}  // namespace

int main(int argc, char** argv) {
  const char* order = std::getenv("D2V_EMULATOR_ORDER");
  if (order != nullptr && std::string(order) == "device") return run(argc, argv);
  int failed = 0;
  for (const char* library : {"all", "plain", "none"}) {
    setenv("D2V_EMULATED_GEMM", library, 1);
    std::printf("library: %s\n", library);
    failed |= run(argc, argv);
    if (countsRefusals(library)) continue;
    std::printf("FAILED what the library refuses is not counted\n");
    failed = 1;
  }
  return failed;
}
