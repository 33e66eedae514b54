// Attention, forward and then backward. Both backward passes get what the CPU's forward pass gave, as bf16 if that is the
// dtype: delta, the product of `out` with its gradient, goes into all of a row's terms with one sign, so that gradients of
// slopes, which are sums of what nearly cancels, would show the last bit of `out` and nothing of the backward kernels.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

struct Case {
  int64_t batch = 2, heads = 2, headDim = 16, tq = 17, tk = 17;
  bool packed = false;     // q, k, v in one tensor (tq = tk), else q apart from k, v
  bool padding = false;    // some keys removed, in the last sample all of them
  int64_t dims = 0;        // of positions for ALiBi, 0: none
  bool euclidean = false;
  int bias = 0;            // 1: shared by the batch, 2: per sample
  double dropout = 0;
  float scale = 0;         // 0: 1 / sqrt(headDim)
  bool slopes = false;     // with the gradient of ALiBi's slopes
};

void checkOne(Harness& h, const std::string& name, DType t, const Case& c) {
  const int64_t width = c.heads * c.headDim;
  std::vector<float> out, lse;  // of the CPU, which comes first
  h.check(name, t, {c.batch, c.heads, c.headDim, c.tq, c.tk}, [&](Side& s) {
    AttentionArgs a{};
    AttentionShape& shape = a.shape;
    shape.batch = c.batch;
    shape.heads = c.heads;
    shape.headDim = c.headDim;
    shape.tq = c.tq;
    shape.tk = c.tk;
    shape.ldq = (c.packed ? 3 : 1) * width;
    shape.ldk = (c.packed ? 3 : 2) * width;
    shape.scale = c.scale != 0 ? c.scale : static_cast<float>(1 / std::sqrt(static_cast<double>(c.headDim)));
    if (c.padding) {
      std::vector<uint8_t> removed(static_cast<size_t>(c.batch * c.tk));
      for (int64_t i = 0; i < c.batch * c.tk; ++i) {
        removed[static_cast<size_t>(i)] = i / c.tk == c.batch - 1 || s.random() < 0.3 || i % c.tk > c.tk * 2 / 3;
      }
      shape.keyPadding = s.bytes(removed);
    }
    if (c.dims > 0) {
      shape.positionDims = c.dims;
      shape.euclidean = c.euclidean;
      shape.slopes = s.f32(c.heads, 0.02, 0.3);
      shape.positionsQ = s.ints(c.batch * c.tq * c.dims, -2, 12);
      shape.positionsK = s.ints(c.batch * c.tk * c.dims, -2, 12);
    }
    const int64_t biasSize = (c.bias == 2 ? c.batch : 1) * c.heads * c.tq * c.tk;
    if (c.bias > 0) {
      shape.bias = s.f32(biasSize);
      shape.biasBatchStride = c.bias == 2 ? c.heads * c.tq * c.tk : 0;
    }
    shape.dropout = c.dropout;
    shape.key = {1, 2, 3, 4};

    const auto at = [&](auto operand, int64_t elements) {
      using Byte = std::conditional_t<std::is_same_v<decltype(operand), In>, const char, char>;
      operand.data = static_cast<Byte*>(operand.data) + elements * static_cast<int64_t>(sizeOf(operand.dtype));
      return operand;
    };
    const In q = s.in(c.batch * c.tq * shape.ldq);
    const In kv = c.packed ? at(q, width) : s.in(c.batch * c.tk * shape.ldk);
    a.q = q;
    a.k = kv;
    a.v = at(kv, width);
    a.out = s.out(c.batch * c.tq * width);
    a.lse = s.f32Out(c.batch * c.heads * c.tq);
    s.backend.attention(a);
    if (c.tk == 1) return;  // one key: gradients of scores are 0 but for rounding

    if (!s.backend.asynchronous()) {
      const float* values = a.out;
      out.assign(values, values + c.batch * c.tq * width);
      lse.assign(a.lse, a.lse + c.batch * c.heads * c.tq);
    }
    AttentionBackwardArgs b{};
    b.shape = shape;
    b.dout = s.in(c.batch * c.tq * width);
    b.out = s.in(out);
    b.q = a.q;
    b.k = a.k;
    b.v = a.v;
    b.lse = s.f32(lse);
    b.dq = s.out(c.batch * c.tq * shape.ldq);
    b.dk = c.packed ? at(b.dq, width) : s.out(c.batch * c.tk * shape.ldk);
    b.dv = at(b.dk, width);
    b.dSlopes = c.slopes ? s.f32Out(c.heads) : nullptr;
    b.dBias = c.bias > 0 ? s.f32Out(biasSize) : nullptr;
    s.backend.attentionBackward(b);
  });
}

constexpr double kF32 = 1e-5, kBf16 = 2e-2;

void check(Harness& h, const std::string& name, DType t, const Case& c) {
  checkOne(h, name, t, c);
  if (c.dims == 0) return;
  Case with = c;
  with.slopes = true;
  h.tolerance(10 * kF32, kBf16);  // sums that nearly cancel
  checkOne(h, name + ", slopes", t, with);
  h.tolerance(kF32, kBf16);
}

void plain(Harness& h, DType t) {
  Case c;
  // Tails of tiles of queries and of keys; several tiles and chunks of both.
  constexpr std::pair<int64_t, int64_t> lengths[] = {{1, 1},   {1, 15},  {15, 1},   {16, 16}, {17, 40},
                                                     {65, 15}, {40, 65}, {130, 17}, {16, 130}};
  for (const auto& [tq, tk] : lengths) {
    c.tq = tq;
    c.tk = tk;
    check(h, "attention", t, c);
  }
  for (const int64_t d : {5, 8, 32, 64, 72, 80, 128, 136}) {
    c = {};
    c.headDim = d;
    check(h, "attention head sizes", t, c);
    c.packed = true;
    c.tq = c.tk = 40;
    check(h, "attention packed", t, c);
  }
  // More than one chunk of keys per block and more than one block per head.
  for (const int64_t heads : {1, 9}) {
    c = {};
    c.batch = 1;
    c.heads = heads;
    c.tq = heads == 1 ? 34 : 70;
    c.tk = heads == 1 ? 400 : 210;
    c.headDim = 8;
    check(h, "attention long", t, c);
  }
  // Where chunks are of 8 warps at most.
  for (const int64_t d : {80, 128}) {
    c = {};
    c.batch = 1;
    c.heads = 1;
    c.headDim = d;
    c.tq = 17;
    c.tk = 210;
    check(h, "attention long, large heads", t, c);
  }
}

void options(Harness& h, DType t) {
  const auto each = [&](const std::string& name, const Case& options) {
    Case c = options;
    check(h, "attention " + name, t, c);
    c.headDim = 64;
    c.tq = 21;
    c.tk = 70;
    check(h, "attention " + name, t, c);
  };
  Case c;
  c.padding = true;
  each("padding", c);
  c = {};
  c.dims = 1;
  each("alibi", c);
  c.dims = 3;
  each("alibi", c);
  c.euclidean = true;
  each("alibi euclidean", c);
  c = {};
  c.bias = 1;
  c.batch = 3;
  each("bias", c);
  c.bias = 2;
  each("bias per sample", c);
  c = {};
  c.dropout = 0.3;
  each("dropout", c);
  c = {};
  c.scale = -0.5f;
  each("negative scale", c);
  c = {};
  c.padding = c.euclidean = true;
  c.dims = 2;
  c.bias = 1;
  c.dropout = 0.2;
  each("everything", c);
  c.headDim = 128;
  c.bias = 2;
  check(h, "attention everything", t, c);
  c.headDim = 80;
  c.tk = 180;
  check(h, "attention everything", t, c);
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  h.tolerance(kF32, kBf16);
  for (const DType t : kFloats) {
    h.aligned(t == DType::F32);  // which moves elements one by one in any case
    plain(h, t);
    options(h, t);
  }
  return h.finish();
}
