#include <cmath>
#include <cstring>

#include "ops.h"

namespace d2v::ops {

Napi::Value accumulateTarget_(Op& op) {
  const Tensor acc = op.f32(op(0, "acc"));
  op.rank(acc, "acc", 3, 3);
  const Tensor layer = op.floatTensor(op(1, "layer"), &acc);
  op.rank(layer, "layer", 3, 3);
  Options options = op.options(2);
  const int64_t skip = op.integerOr(options["skip"], 0, 0);
  const auto norm = static_cast<TargetNorm>(op.choice(options["norm"], {"none", "layer", "instance", "batch"}, 0));
  const double scale = op.finite(options["scale"], 1);
  const Arg epsArg = options["eps"];
  const double eps = op.absent(epsArg) ? 1e-5 : op.between(epsArg, 0, 1e6);
  options.done();
  const int64_t b = acc.shape[0], t = acc.shape[1], d = acc.shape[2];
  if (skip > (int64_t{1} << 40)) op.fail("skip", "is too large");
  op.shaped(layer, "layer", {b, skip + t, d});
  if (acc.overlaps(layer)) op.fail("acc", "shares memory with layer");
  op.backend(acc).accumulateTarget(acc.as<float>(), op.in(layer), b, t, d, skip, norm, scale, eps);
  return op.undefined();
}

Napi::Value instanceNorm(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 3, 3);
  const Arg epsArg = op(1, "eps");
  const double eps = op.absent(epsArg) ? 1e-5 : op.between(epsArg, 0, 1e6);
  const Tensor y = op.make(x, x.shape);
  Backend& backend = op.backend(x);
  const Out out = op.out(y);
  backend.fill(out.data, DType::F32, 0, y.size);
  backend.accumulateTarget(out, op.in(x), x.shape[0], x.shape[1], x.shape[2], 0, TargetNorm::Instance, 1, eps);
  return op.result(y);
}

Napi::Value maskedLoss(Op& op) {
  MaskedLossArgs a{};
  const Tensor pred = op.floatTensor(op(0, "pred"));
  op.rank(pred, "pred", 3, 3);
  const Tensor target = op.f32(op(1, "target"), &pred);
  op.rank(target, "target", 3, 3);
  const Tensor ids = op.i32(op(2, "ids"), pred);
  a.rows = pred.shape[0];
  a.n = pred.shape[1];
  a.d = pred.shape[2];
  a.samples = target.shape[0];
  a.t = target.shape[1];
  op.shaped(target, "target", {a.samples, a.t, a.d});
  op.shaped(ids, "ids", {a.rows, a.n});
  if (a.rows % a.samples != 0) {
    op.fail("pred", "rows of shape " + pred.shape.text() + " are no multiple of the samples of target's shape " +
                        target.shape.text());
  }
  op.indices(ids, "ids", 0, a.t);
  Options options = op.options(3);
  const Arg beta = options["beta"];
  a.beta = op.absent(beta) ? 0 : op.between(beta, 0, 1e30);
  a.scale = op.finite(options["scale"], 1);
  a.gradScale = op.finite(options["gradScale"], 1);
  options.done();
  const Tensor dpred = op.make(pred, pred.shape);
  a.pred = op.in(pred);
  a.target = target.as<float>();
  a.ids = ids.as<int32_t>();
  a.dpred = op.out(dpred);
  const Tensor loss = op.make(pred, {1}, DType::F64);
  a.loss = loss.as<double>();
  op.backend(pred).maskedLoss(a);
  Napi::Object result = op.object();
  result.Set("loss", op.result(loss));
  result.Set("dpred", op.result(dpred));
  return result;
}

Napi::Value featureStd(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 2, 3);
  const Arg idsArg = op(1, "ids");
  const int64_t d = x.shape[-1], b = x.shape[0], t = x.shape.rows() / b;
  std::optional<Tensor> ids;
  int64_t rows = b, n = t;
  if (!op.absent(idsArg)) {
    op.rank(x, "x", 3, 3);
    ids = op.i32(idsArg, x);
    op.rank(*ids, "ids", 2, 2);
    rows = ids->shape[0];
    n = ids->shape[1];
    if (rows % b != 0) {
      op.fail("ids", "expected a multiple of " + std::to_string(b) + " rows, got shape " + ids->shape.text());
    }
    op.indices(*ids, "ids", 0, t);
  }
  if (rows * n < 2) op.fail("needs at least 2 rows for a variance, got 1");
  const Tensor result = op.make(x, {1}, DType::F64);
  op.backend(x).featureStd(op.in(x), ids ? ids->as<int32_t>() : nullptr, b, t, rows, n, d, result.as<double>());
  return op.result(result);
}

Napi::Value crossEntropy(Op& op) {
  const Tensor logits = op.floatTensor(op(0, "logits"));
  op.rank(logits, "logits", 2, 2);
  const int64_t n = logits.shape[0], c = logits.shape[1];
  const Tensor labels = op.i32(op(1, "labels"), logits);
  op.shaped(labels, "labels", {n});
  Options options = op.options(2);
  const Arg smoothingArg = options["smoothing"];
  const double smoothing = op.absent(smoothingArg) ? 0 : op.between(smoothingArg, 0, 1);
  const Arg ignoreArg = options["ignore"];
  const int64_t ignore =
      op.absent(ignoreArg) ? kNoIndex : op.integer(ignoreArg, -(int64_t{1} << 31), (int64_t{1} << 31) - 1);
  const double gradScale = op.finite(options["gradScale"], 1);
  options.done();
  op.indices(labels, "labels", 0, c, ignore);
  const Tensor dlogits = op.make(logits, logits.shape), scalars = op.make(logits, {2}, DType::F64);
  op.backend(logits).crossEntropy(op.in(logits), labels.as<int32_t>(), op.out(dlogits), scalars.as<double>(), n, c,
                                  smoothing, ignore, gradScale);
  Tensor loss = scalars, count = scalars;
  loss.shape = count.shape = {1};
  loss.size = count.size = 1;
  count.offset += static_cast<int64_t>(sizeof(double));
  Napi::Object result = op.object();
  result.Set("loss", op.result(loss));
  result.Set("count", op.result(count));
  result.Set("dlogits", op.result(dlogits));
  return result;
}

}  // namespace d2v::ops
