#include "ops.h"

namespace d2v::ops {

namespace {

Shape withLast(const Shape& shape, int64_t last) {
  Shape s = shape;
  s[-1] = last;
  return s;
}

}  // namespace

Napi::Value linear(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const Tensor w = op.floatTensor(op(1, "w"), &x);
  op.rank(w, "w", 2, 2);
  const int64_t k = x.shape[-1], m = w.shape[0];
  if (w.shape[1] != k) {
    op.fail("w", "expected shape [*, " + std::to_string(k) + "] for x of shape " + x.shape.text() + ", got " +
                     w.shape.text());
  }
  const auto bias = op.optionalFloat(op(2, "bias"), x);
  if (bias) op.shaped(*bias, "bias", {m});
  Options options = op.options(3);
  const auto activation = static_cast<Activation>(op.choice(options["activation"], {"none", "gelu"}, 0));
  const bool savePre = op.flag(options["savePre"]);
  options.done();

  const Tensor y = op.make(x, withLast(x.shape, m));
  Tensor pre;
  LinearArgs a{};
  a.x = op.in(x);
  a.w = op.in(w);
  a.bias = op.in(bias);
  a.y = op.out(y);
  if (savePre) {
    pre = op.make(x, y.shape);
    a.pre = op.out(pre);
  }
  a.n = x.shape.rows();
  a.k = k;
  a.m = m;
  a.activation = activation;
  op.backend(x).linear(a);
  Napi::Object result = op.object();
  result.Set("y", op.result(y));
  result.Set("pre", savePre ? op.result(pre) : op.null());
  return result;
}

Napi::Value linearGradInput(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  op.rank(dy, "dy", 1, kMaxRank);
  const Tensor w = op.floatTensor(op(1, "w"), &dy);
  op.rank(w, "w", 2, 2);
  const int64_t m = dy.shape[-1], k = w.shape[1];
  if (w.shape[0] != m) {
    op.fail("w", "expected shape [" + std::to_string(m) + ", *] for dy of shape " + dy.shape.text() + ", got " +
                     w.shape.text());
  }
  const Shape shape = withLast(dy.shape, k);
  Options options = op.options(2);
  const auto geluPre = op.optionalFloat(options["geluPre"], dy);
  if (geluPre) op.shaped(*geluPre, "geluPre", shape);
  const Arg accumulateArg = options["accumulate"];
  const auto accumulate = op.optionalFloat(accumulateArg, dy);
  if (accumulate) op.shaped(*accumulate, "accumulate", shape);
  options.done();
  if (accumulate) {
    if (accumulate->overlaps(dy)) op.fail("accumulate", "shares memory with dy");
    if (accumulate->overlaps(w)) op.fail("accumulate", "shares memory with w");
    if (geluPre && accumulate->overlaps(*geluPre)) op.fail("accumulate", "shares memory with geluPre");
  }

  const Tensor dx = accumulate ? *accumulate : op.make(dy, shape);
  LinearGradInputArgs a{};
  a.dy = op.in(dy);
  a.w = op.in(w);
  a.geluPre = op.in(geluPre);
  a.dx = accumulate ? op.inout(dx) : op.out(dx);
  a.n = dy.shape.rows();
  a.k = k;
  a.m = m;
  a.accumulate = accumulate.has_value();
  op.backend(dy).linearGradInput(a);
  if (!accumulate) return op.result(dx);
  op.finish();
  return Napi::Value(op.env, accumulateArg.value);
}

Napi::Value linearGradWeight_(Op& op) {
  const Tensor dw = op.f32(op(0, "dw"));
  const Tensor dy = op.floatTensor(op(1, "dy"), &dw);
  op.rank(dy, "dy", 1, kMaxRank);
  const Tensor x = op.floatTensor(op(2, "x"), &dw);
  op.rank(x, "x", 1, kMaxRank);
  if (dy.shape.rows() != x.shape.rows()) {
    op.fail("x", "expected as many rows as dy of shape " + dy.shape.text() + ", got shape " + x.shape.text());
  }
  const int64_t m = dy.shape[-1], k = x.shape[-1];
  op.shaped(dw, "dw", {m, k});
  const auto db = op.optionalF32(op(3, "db"), dw);
  if (db) op.shaped(*db, "db", {m});
  for (const Tensor& t : {dy, x}) {
    if (dw.overlaps(t) || (db && db->overlaps(t))) op.fail("dw", "dw and db must not share memory with dy or x");
  }
  if (db && db->overlaps(dw)) op.fail("db", "shares memory with dw");

  LinearGradWeightArgs a{};
  a.dy = op.in(dy);
  a.x = op.in(x);
  a.dw = dw.as<float>();
  a.db = db ? db->as<float>() : nullptr;
  a.n = x.shape.rows();
  a.k = k;
  a.m = m;
  op.backend(dw).linearGradWeight(a);
  return op.undefined();
}

Napi::Value matmul(Op& op) {
  const Tensor a = op.floatTensor(op(0, "a"));
  op.rank(a, "a", 2, kMaxRank);
  const Tensor b = op.floatTensor(op(1, "b"), &a);
  op.rank(b, "b", 2, kMaxRank);
  Options options = op.options(2);
  MatmulArgs args{};
  args.transA = op.flag(options["transA"]);
  args.transB = op.flag(options["transB"]);
  args.alpha = static_cast<float>(op.finite(options["alpha"], 1));
  options.done();
  args.m = a.shape[args.transA ? -1 : -2];
  args.k = a.shape[args.transA ? -2 : -1];
  args.n = b.shape[args.transB ? -2 : -1];
  const int64_t kb = b.shape[args.transB ? -1 : -2];
  if (kb != args.k) {
    op.fail("b", "inner dimension " + std::to_string(kb) + " of shape " + b.shape.text() + " does not match " +
                     std::to_string(args.k) + " of a's shape " + a.shape.text());
  }
  const bool sharedA = a.shape.rank == 2, sharedB = b.shape.rank == 2;
  const Tensor& wide = sharedA ? b : a;
  if (!sharedA && !sharedB) {
    bool equal = a.shape.rank == b.shape.rank;
    for (int i = 0; equal && i < a.shape.rank - 2; ++i) equal = a.shape[i] == b.shape[i];
    if (!equal) {
      op.fail("b", "leading dimensions of shape " + b.shape.text() + " do not match a's shape " + a.shape.text());
    }
  }
  Shape shape = wide.shape;
  shape[-2] = args.m;
  shape[-1] = args.n;
  args.batch = wide.shape.product(0, wide.shape.rank - 2);
  args.strideA = sharedA ? 0 : args.m * args.k;
  args.strideB = sharedB ? 0 : args.k * args.n;
  const Tensor c = op.make(a, shape);
  args.a = op.in(a);
  args.b = op.in(b);
  args.c = op.out(c);
  op.backend(a).matmul(args);
  return op.result(c);
}

}  // namespace d2v::ops
