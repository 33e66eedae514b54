#include "ops.h"

namespace d2v::ops {

Napi::Value layerNorm(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const int64_t d = x.shape[-1], rows = x.shape.rows();
  Options options = op.options(1);
  const auto weight = op.optionalFloat(options["weight"], x);
  if (weight) op.shaped(*weight, "weight", {d});
  const auto bias = op.optionalFloat(options["bias"], x);
  if (bias) op.shaped(*bias, "bias", {d});
  const double eps = op.between(options["eps"], 0, 1e6);
  const auto residual = op.optionalFloat(options["residual"], x);
  if (residual) op.shaped(*residual, "residual", x.shape);
  const auto activation = static_cast<Activation>(op.choice(options["activation"], {"none", "gelu"}, 0));
  const auto after = op.optionalFloat(options["after"], x);
  if (after) op.shaped(*after, "after", x.shape);
  options.done();

  const Tensor y = op.make(x, x.shape);
  Tensor sum = x;
  const Tensor mean = op.make(x, {rows}, DType::F32), rstd = op.make(x, {rows}, DType::F32);
  LayerNormArgs a{};
  a.x = op.in(x);
  a.residual = op.in(residual);
  a.weight = op.in(weight);
  a.bias = op.in(bias);
  a.after = op.in(after);
  a.y = op.out(y);
  if (residual) {
    sum = op.make(x, x.shape);
    a.sum = op.out(sum);
  }
  a.mean = mean.as<float>();
  a.rstd = rstd.as<float>();
  a.rows = rows;
  a.d = d;
  a.eps = static_cast<float>(eps);
  a.activation = activation;
  op.backend(x).layerNorm(a);
  Napi::Object result = op.object();
  result.Set("y", op.result(y));
  result.Set("sum", op.result(sum));
  result.Set("mean", op.result(mean));
  result.Set("rstd", op.result(rstd));
  return result;
}

Napi::Value layerNormBackward(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  op.rank(dy, "dy", 1, kMaxRank);
  const int64_t d = dy.shape[-1], rows = dy.shape.rows();
  const Tensor sum = op.floatTensor(op(1, "sum"), &dy);
  op.shaped(sum, "sum", dy.shape);
  const Tensor mean = op.f32(op(2, "mean"), &dy), rstd = op.f32(op(3, "rstd"), &dy);
  op.shaped(mean, "mean", {rows});
  op.shaped(rstd, "rstd", {rows});
  Options options = op.options(4);
  const auto weight = op.optionalFloat(options["weight"], dy);
  if (weight) op.shaped(*weight, "weight", {d});
  const auto bias = op.optionalFloat(options["bias"], dy);
  if (bias) op.shaped(*bias, "bias", {d});
  const auto activation = static_cast<Activation>(op.choice(options["activation"], {"none", "gelu"}, 0));
  const auto dWeight = op.optionalF32(options["dWeight"], dy), dBias = op.optionalF32(options["dBias"], dy);
  if (dWeight) op.shaped(*dWeight, "dWeight", {d});
  if (dBias) op.shaped(*dBias, "dBias", {d});
  options.done();

  const Tensor dsum = op.make(dy, dy.shape);
  LayerNormBackwardArgs a{};
  a.dy = op.in(dy);
  a.sum = op.in(sum);
  a.weight = op.in(weight);
  a.bias = op.in(bias);
  a.mean = mean.as<float>();
  a.rstd = rstd.as<float>();
  a.dsum = op.out(dsum);
  a.dWeight = dWeight ? dWeight->as<float>() : nullptr;
  a.dBias = dBias ? dBias->as<float>() : nullptr;
  a.rows = rows;
  a.d = d;
  a.activation = activation;
  op.backend(dy).layerNormBackward(a);
  return op.result(dsum);
}

}  // namespace d2v::ops
