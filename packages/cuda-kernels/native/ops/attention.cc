#include <cmath>

#include "ops.h"

namespace d2v::ops {

namespace {

/// Operands and options that forward and backward share.
struct Inputs {
  Tensor q, kv;
  bool packed = false;
  int64_t d = 0;
  std::optional<Tensor> keyPadding, slopes, positionsQ, positionsK, bias;
  AttentionShape shape{};
};

Inputs read(Op& op, size_t qIndex, size_t optionsIndex) {
  Inputs i;
  i.q = op.floatTensor(op(qIndex, "q"));
  op.rank(i.q, "q", 3, 3);
  const Arg kvArg = op(qIndex + 1, "kv");
  i.packed = op.absent(kvArg);
  AttentionShape& s = i.shape;
  s.batch = i.q.shape[0];
  s.tq = i.q.shape[1];
  if (i.packed) {
    if (i.q.shape[2] % 3 != 0) op.fail("q", "packed q, k, v must be [B, T, 3*D], got " + i.q.shape.text());
    i.d = i.q.shape[2] / 3;
    s.tk = s.tq;
    s.ldq = s.ldk = 3 * i.d;
  } else {
    i.kv = op.floatTensor(kvArg, &i.q);
    op.rank(i.kv, "kv", 3, 3);
    i.d = i.q.shape[2];
    s.tk = i.kv.shape[1];
    op.shaped(i.kv, "kv", {s.batch, s.tk, 2 * i.d});
    if (i.kv.dtype != i.q.dtype) op.is(i.kv, "kv", i.q.dtype);
    s.ldq = i.d;
    s.ldk = 2 * i.d;
  }
  Options options = op.options(optionsIndex);
  s.heads = op.integer(options["heads"], 1, i.d);
  if (i.d % s.heads != 0) {
    op.fail("heads", std::to_string(s.heads) + " heads do not divide the width " + std::to_string(i.d));
  }
  s.headDim = i.d / s.heads;
  s.scale = static_cast<float>(op.finite(options["scale"], 1 / std::sqrt(static_cast<double>(s.headDim))));
  i.keyPadding = op.optionalTensor(options["keyPadding"]);
  if (i.keyPadding) {
    op.is(*i.keyPadding, "keyPadding", DType::U8);
    op.sameDevice(i.q, *i.keyPadding, "keyPadding");
    op.shaped(*i.keyPadding, "keyPadding", {s.batch, s.tk});
    s.keyPadding = i.keyPadding->as<uint8_t>();
  }
  const Arg alibiArg = options["alibi"];
  if (!op.absent(alibiArg)) {
    bool isObject = false;
    napi_valuetype type = napi_undefined;
    napi_typeof(op.env, alibiArg.value, &type);
    isObject = type == napi_object && op.runtime.unwrap(alibiArg.value) == nullptr;
    if (!isObject) op.fail("alibi", "expected {slopes, positionsQ, positionsK}");
    Options alibi(op, alibiArg.value);
    i.slopes = op.f32(alibi["slopes"], &i.q);
    op.shaped(*i.slopes, "alibi.slopes", {s.heads});
    i.positionsQ = op.i32(alibi["positionsQ"], i.q);
    op.rank(*i.positionsQ, "alibi.positionsQ", 3, 3);
    s.positionDims = i.positionsQ->shape[2];
    op.shaped(*i.positionsQ, "alibi.positionsQ", {s.batch, s.tq, s.positionDims});
    i.positionsK = op.i32(alibi["positionsK"], i.q);
    op.shaped(*i.positionsK, "alibi.positionsK", {s.batch, s.tk, s.positionDims});
    s.euclidean = op.flag(alibi["euclidean"]);
    alibi.done();
    s.slopes = i.slopes->as<float>();
    s.positionsQ = i.positionsQ->as<int32_t>();
    s.positionsK = i.positionsK->as<int32_t>();
  }
  const Arg biasArg = options["bias"];
  if (!op.absent(biasArg)) {
    i.bias = op.f32(biasArg, &i.q);
    if (i.bias->shape.rank == 3) {
      op.shaped(*i.bias, "bias", {s.heads, s.tq, s.tk});
    } else {
      op.shaped(*i.bias, "bias", {s.batch, s.heads, s.tq, s.tk});
      s.biasBatchStride = s.heads * s.tq * s.tk;
    }
    s.bias = i.bias->as<float>();
  }
  const Arg dropoutArg = options["dropout"];
  s.dropout = op.absent(dropoutArg) ? 0 : op.between(dropoutArg, 0, 0.999999);
  const Arg keyArg = options["key"];
  if (s.dropout > 0) s.key = op.key(keyArg);
  options.done();
  return i;
}

/// Pointers to q, k, v within the operands.
template <typename Operand>
void split(const Inputs& i, Operand q, Operand kv, Operand& outQ, Operand& outK, Operand& outV) {
  const auto shifted = [](Operand o, int64_t elements) {
    using Pointer = decltype(o.data);
    const auto bytes = elements * static_cast<int64_t>(sizeOf(o.dtype));
    if constexpr (std::is_const_v<std::remove_pointer_t<Pointer>>) {
      return Operand(static_cast<const char*>(o.data) + bytes, o.dtype);
    } else {
      return Operand(static_cast<char*>(o.data) + bytes, o.dtype);
    }
  };
  outQ = q;
  outK = i.packed ? shifted(q, i.d) : kv;
  outV = i.packed ? shifted(q, 2 * i.d) : shifted(kv, i.d);
}

}  // namespace

Napi::Value attention(Op& op) {
  const Inputs i = read(op, 0, 2);
  const AttentionShape& s = i.shape;
  const Tensor out = op.make(i.q, {s.batch, s.tq, i.d});
  const Tensor lse = op.make(i.q, {s.batch, s.heads, s.tq}, DType::F32);
  AttentionArgs a{};
  a.shape = s;
  split<In>(i, op.in(i.q), i.packed ? In() : op.in(i.kv), a.q, a.k, a.v);
  a.out = op.out(out);
  a.lse = lse.as<float>();
  op.backend(i.q).attention(a);
  Napi::Object result = op.object();
  result.Set("out", op.result(out));
  result.Set("lse", op.result(lse));
  return result;
}

Napi::Value attentionBackward(Op& op) {
  const Tensor dout = op.floatTensor(op(0, "dout"));
  const Tensor out = op.floatTensor(op(1, "out"), &dout);
  const Tensor lse = op.f32(op(2, "lse"), &dout);
  const Inputs i = read(op, 3, 5);
  const AttentionShape& s = i.shape;
  op.sameDevice(dout, i.q, "q");
  op.shaped(dout, "dout", {s.batch, s.tq, i.d});
  op.shaped(out, "out", {s.batch, s.tq, i.d});
  op.shaped(lse, "lse", {s.batch, s.heads, s.tq});

  const Tensor dq = op.make(i.q, i.q.shape);
  Tensor dkv, dSlopes, dBias;
  AttentionBackwardArgs a{};
  a.shape = s;
  a.dout = op.in(dout);
  a.out = op.in(out);
  a.lse = lse.as<float>();
  split<In>(i, op.in(i.q), i.packed ? In() : op.in(i.kv), a.q, a.k, a.v);
  const Out dqOut = op.out(dq);
  if (!i.packed) dkv = op.make(i.kv, i.kv.shape);
  split<Out>(i, dqOut, i.packed ? Out() : op.out(dkv), a.dq, a.dk, a.dv);
  if (i.slopes) {
    dSlopes = op.make(i.q, i.slopes->shape, DType::F32);
    a.dSlopes = dSlopes.as<float>();
  }
  if (i.bias) {
    dBias = op.make(i.q, i.bias->shape, DType::F32);
    a.dBias = dBias.as<float>();
  }
  op.backend(i.q).attentionBackward(a);
  Napi::Object result = op.object();
  result.Set("dq", op.result(dq));
  result.Set("dkv", i.packed ? op.null() : op.result(dkv));
  result.Set("dSlopes", i.slopes ? op.result(dSlopes) : op.null());
  result.Set("dBias", i.bias ? op.result(dBias) : op.null());
  return result;
}

}  // namespace d2v::ops
