// Ops at the shapes of the base presets, as a GPU sees them in training: grids of thousands of blocks, sizes beyond 2^20, the
// library's own kernels for large products. Only built for GPUs; on the host they would take hours.
#include <thread>

#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

constexpr int64_t kWidth = 768, kHidden = 3072, kHeads = 12;

void linear(Harness& h, DType t, int64_t n, int64_t k, int64_t m, Activation activation) {
  h.check("linear", t, {n, k, m}, [&](Side& s) {
    LinearArgs a{};
    a.x = s.in(n * k);
    a.w = s.in(m * k, -0.05, 0.05);
    a.bias = s.in(m);
    a.y = s.out(n * m);
    if (activation == Activation::Gelu) a.pre = s.out(n * m);
    a.n = n, a.k = k, a.m = m;
    a.activation = activation;
    s.backend.linear(a);
  });
}

void linearGradients(Harness& h, DType t, int64_t n, int64_t k, int64_t m, bool gelu) {
  h.check("linearGradInput", t, {n, k, m}, [&](Side& s) {
    LinearGradInputArgs a{};
    a.dy = s.in(n * m);
    a.w = s.in(m * k, -0.05, 0.05);
    if (gelu) a.geluPre = s.in(n * k);
    a.dx = s.out(n * k);
    a.n = n, a.k = k, a.m = m;
    s.backend.linearGradInput(a);
  });
  h.check("linearGradWeight", t, {n, k, m}, [&](Side& s) {
    LinearGradWeightArgs a{};
    a.dy = s.in(n * m);
    a.x = s.in(n * k);
    a.dw = s.f32InOut(m * k);
    a.db = s.f32InOut(m);
    a.n = n, a.k = k, a.m = m;
    s.backend.linearGradWeight(a);
  });
}

void layerNorm(Harness& h, DType t, int64_t rows) {
  h.check("layerNorm", t, {rows, kWidth}, [&](Side& s) {
    const int64_t n = rows * kWidth;
    LayerNormArgs a{};
    a.x = s.in(n);
    a.residual = s.in(n);
    a.weight = s.in(kWidth);
    a.bias = s.in(kWidth);
    a.y = s.out(n);
    a.sum = s.out(n);
    a.mean = s.f32Out(rows);
    a.rstd = s.f32Out(rows);
    a.rows = rows, a.d = kWidth, a.eps = 1e-5f;
    s.backend.layerNorm(a);
  });
  h.check("layerNormBackward", t, {rows, kWidth}, [&](Side& s) {
    const int64_t n = rows * kWidth;
    LayerNormBackwardArgs a{};
    a.dy = s.in(n);
    a.sum = s.in(n);
    a.weight = s.in(kWidth);
    a.bias = s.in(kWidth);
    a.mean = s.f32(rows, -0.2, 0.2);
    a.rstd = s.f32(rows, 0.8, 1.3);
    a.dsum = s.out(n);
    a.dWeight = s.f32InOut(kWidth);
    a.dBias = s.f32InOut(kWidth);
    a.rows = rows, a.d = kWidth;
    s.backend.layerNormBackward(a);
  });
}

struct Sequences {
  int64_t batch, tokens;
  bool alibi;
  double dropout;
};

/// Both backward passes get what the CPU's forward pass gave, as attention_test.cc says.
void attention(Harness& h, DType t, const Sequences& c) {
  std::vector<float> out, lse;
  h.check("attention", t, {c.batch, kHeads, c.tokens}, [&](Side& s) {
    const int64_t rows = c.batch * c.tokens, head = kWidth / kHeads;
    AttentionArgs a{};
    AttentionShape& shape = a.shape;
    shape.batch = c.batch, shape.heads = kHeads, shape.headDim = head, shape.tq = shape.tk = c.tokens;
    shape.ldq = shape.ldk = 3 * kWidth;
    shape.scale = 0.125f;
    shape.dropout = c.dropout;
    shape.key = {1, 2, 3, 4};
    if (c.alibi) {
      shape.positionDims = 1;
      shape.slopes = s.f32(kHeads, 0.02, 0.3);
      shape.positionsQ = shape.positionsK = s.ints(rows, 0, 512);
    }
    const auto part = [&](auto whole, int64_t i) {
      using Byte = std::conditional_t<std::is_same_v<decltype(whole), In>, const char, char>;
      whole.data = static_cast<Byte*>(whole.data) + i * kWidth * static_cast<int64_t>(sizeOf(whole.dtype));
      return whole;
    };
    const In qkv = s.in(rows * 3 * kWidth);
    a.q = part(qkv, 0), a.k = part(qkv, 1), a.v = part(qkv, 2);
    a.out = s.out(rows * kWidth);
    a.lse = s.f32Out(c.batch * kHeads * c.tokens);
    s.backend.attention(a);
    if (!s.backend.asynchronous()) {
      const float* values = a.out;
      out.assign(values, values + rows * kWidth);
      lse.assign(a.lse, a.lse + c.batch * kHeads * c.tokens);
    }
    AttentionBackwardArgs b{};
    b.shape = shape;
    b.dout = s.in(rows * kWidth);
    b.out = s.in(out);
    b.q = a.q, b.k = a.k, b.v = a.v, b.lse = s.f32(lse);
    const Out dqkv = s.out(rows * 3 * kWidth);
    b.dq = part(dqkv, 0), b.dk = part(dqkv, 1), b.dv = part(dqkv, 2);
    if (c.alibi) b.dSlopes = s.f32Out(kHeads);
    s.backend.attentionBackward(b);
  });
}

void conv(Harness& h, DType t, const ConvShape& c) {
  const int64_t x = c.batch * c.inH * c.inW * c.cin, y = c.batch * c.outH * c.outW * c.cout;
  const int64_t w = c.cout * (c.cin / c.groups) * c.kH * c.kW;
  const std::vector<int64_t> shape = {c.batch, c.inH, c.inW, c.cin, c.cout, c.groups, c.kH, c.kW};
  h.check("conv", t, shape, [&](Side& s) {
    const In input = s.in(x), weight = s.in(w, -0.1, 0.1), bias = s.in(c.cout);
    s.backend.conv(c, input, weight, bias, s.out(y));
  });
  h.check("convGradInput", t, shape, [&](Side& s) {
    const In dy = s.in(y), weight = s.in(w, -0.1, 0.1);
    s.backend.convGradInput(c, dy, weight, s.out(x));
  });
  h.check("convGradWeight", t, shape, [&](Side& s) {
    const In dy = s.in(y), input = s.in(x);
    float* const dw = s.f32InOut(w);
    s.backend.convGradWeight(c, dy, input, dw, s.f32InOut(c.cout));
  });
}

void tokens(Harness& h, DType t) {
  constexpr int64_t b = 8, clones = 16, all = 196, kept = 39, rows = b * clones;
  h.check("gatherTokens", t, {b, all, rows, kept, kWidth}, [&](Side& s) {
    const In x = s.in(b * all * kWidth);
    const int32_t* ids = s.ints(rows * kept, 0, all);
    const In prefix = s.in(kWidth);
    s.backend.gatherTokens(x, ids, prefix, s.out(rows * (kept + 1) * kWidth), b, all, rows, kept, 1, kWidth);
    const In dy = s.in(rows * (kept + 1) * kWidth);
    const Out dx = s.out(b * all * kWidth);
    s.backend.gatherTokensBackward(dy, ids, dx, s.f32InOut(kWidth), b, all, rows, kept, 1, kWidth);
  });
  constexpr int64_t words = 50257, positions = 8192;
  h.check("embeddingGrad", t, {positions, words, kWidth}, [&](Side& s) {
    float* const table = s.f32InOut(words * kWidth);
    const int32_t* ids = s.ints(positions, 0, words);
    s.backend.embeddingGrad(table, ids, s.in(positions * kWidth), positions, words, kWidth, 1);
  });
  h.check("accumulateTarget", t, {64, all, kWidth}, [&](Side& s) {
    float* const sum = s.f32InOut(64 * all * kWidth);
    s.backend.accumulateTarget(sum, s.in(64 * (all + 1) * kWidth), 64, all, kWidth, 1, TargetNorm::Instance, 0.1, 1e-5);
  });
}

void optimizer(Harness& h) {
  constexpr int64_t n = 30'000'000;
  h.check("adam", DType::F32, {n}, [&](Side& s) {
    AdamArgs a{};
    a.p = s.f32InOut(n);
    a.g = s.f32InOut(n);
    a.m = s.f32InOut(n);
    a.v = s.f32InOut(n, 0, 1);
    a.teacher = s.f32InOut(n);
    a.n = n;
    a.lr = 1e-3, a.beta1 = 0.9, a.beta2 = 0.95, a.eps = 1e-8, a.weightDecay = 0.05, a.gradScale = 0.5, a.emaDecay = 0.999;
    a.step = 3;
    a.zeroGrad = true;
    s.backend.adam(a);
  });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  setThreadCount(static_cast<int>(std::thread::hardware_concurrency()));  // of the CPU that it is compared with
  h.aligned();
  h.tolerance(1e-4, 2e-2);  // sums of thousands of products
  for (const DType t : kFloats) {
    linear(h, t, 8000, kWidth, 3 * kWidth, Activation::None);
    linear(h, t, 8000, kWidth, kHidden, Activation::Gelu);
    linearGradients(h, t, 8000, kWidth, kHidden, false);
    linearGradients(h, t, 8000, kHidden, kWidth, true);
    layerNorm(h, t, 40960);
    attention(h, t, {256, 40, false, 0});
    attention(h, t, {16, 197, false, 0});
    attention(h, t, {4, 313, true, 0.1});
    attention(h, t, {4, 512, false, 0.1});
    conv(h, t, {32, 14, 14, kWidth, 14, 14, kWidth, 16, 3, 3, 1, 1, 1, 1});   // the image decoder
    conv(h, t, {8, 1, 499, kWidth, 1, 499, kWidth, 16, 1, 19, 1, 1, 0, 9});   // positions of audio
    conv(h, t, {1, 1, 160000, 1, 1, 31999, 512, 1, 1, 10, 1, 5, 0, 0});       // the first layer of audio
    conv(h, t, {1, 1, 31999, 512, 1, 15999, 512, 1, 1, 3, 1, 2, 0, 0});       // the second
    conv(h, t, {2, 1, 512, kWidth, 1, 512, kWidth, 1, 1, 9, 1, 1, 0, 4});     // the text decoder
    tokens(h, t);
  }
  optimizer(h);
  return h.finish();
}
