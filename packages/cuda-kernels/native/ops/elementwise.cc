#include "ops.h"

namespace d2v::ops {

namespace {

/// True if `suffix` equals the last dimensions of `shape`.
bool isSuffix(const Shape& shape, const Shape& suffix) {
  if (suffix.rank > shape.rank) return false;
  for (int i = 1; i <= suffix.rank; ++i) {
    if (shape[-i] != suffix[-i]) return false;
  }
  return true;
}

Napi::Value binary(Op& op, Binary kind) {
  const Tensor a = op.floatTensor(op(0, "a"));
  const Tensor b = op.floatTensor(op(1, "b"), &a);
  if (b.size != 1 && !isSuffix(a.shape, b.shape)) {
    op.fail("b", "shape " + b.shape.text() + " is neither a's shape " + a.shape.text() + " nor its last dimensions nor [1]");
  }
  const Tensor y = op.make(a, a.shape);
  op.backend(a).binary(kind, op.in(a), op.in(b), op.out(y), a.size / b.size, b.size);
  return op.result(y);
}

Unary unaryKind(Op& op) {
  return static_cast<Unary>(
      op.choice(op(0, "name"), {"gelu", "relu", "tanh", "sigmoid", "exp", "log", "sqrt", "square"}));
}

}  // namespace

Napi::Value add(Op& op) { return binary(op, Binary::Add); }
Napi::Value sub(Op& op) { return binary(op, Binary::Sub); }
Napi::Value mul(Op& op) { return binary(op, Binary::Mul); }

Napi::Value scale(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  const double alpha = op.number(op(1, "alpha"));
  const Tensor y = op.make(x, x.shape);
  op.backend(x).scale(op.in(x), alpha, op.out(y), x.size);
  return op.result(y);
}

/// alpha: a number, or an f32 tensor of one element, whose value the host need not know.
Napi::Value scale_(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  const Arg alpha = op(1, "alpha");
  if (op.isTensor(alpha)) {
    const Tensor factor = op.f32(alpha, &x);
    op.shaped(factor, "alpha", {1});
    if (factor.overlaps(x)) op.fail("alpha", "overlaps x in memory");
    const Out y = op.inout(x);
    op.backend(x).scaleRows(In(y.data, y.dtype), factor.as<float>(), y, 1, x.size);  // the factor stays f32
  } else {
    const double number = op.number(alpha);
    const Out y = op.inout(x);
    op.backend(x).scale(In(y.data, y.dtype), number, y, x.size);
  }
  op.finish();
  return op.undefined();
}

Napi::Value axpy_(Op& op) {
  const Tensor dst = op.floatTensor(op(0, "dst"));
  const double alpha = op.number(op(1, "alpha"));
  const Tensor src = op.floatTensor(op(2, "src"), &dst);
  op.shaped(src, "src", dst.shape);
  op.backend(dst).axpy(op.inout(dst), alpha, op.in(src), dst.size);
  op.finish();
  return op.undefined();
}

Napi::Value scaleRows(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const Tensor s = op.f32(op(1, "s"), &x);
  op.shaped(s, "s", {x.shape[0]});
  const Tensor y = op.make(x, x.shape);
  op.backend(x).scaleRows(op.in(x), s.as<float>(), op.out(y), x.shape[0], x.shape.product(1, x.shape.rank));
  return op.result(y);
}

Napi::Value unary(Op& op) {
  const Unary kind = unaryKind(op);
  const Tensor x = op.floatTensor(op(1, "x"));
  const Tensor y = op.make(x, x.shape);
  op.backend(x).unary(kind, op.in(x), op.out(y), x.size);
  return op.result(y);
}

Napi::Value unaryBackward(Op& op) {
  const Unary kind = unaryKind(op);
  const Tensor dy = op.floatTensor(op(1, "dy"));
  const Tensor x = op.floatTensor(op(2, "x"), &dy);
  op.shaped(x, "x", dy.shape);
  const Tensor y = op.floatTensor(op(3, "y"), &dy);
  op.shaped(y, "y", dy.shape);
  const Tensor dx = op.make(dy, dy.shape);
  op.backend(dy).unaryBackward(kind, op.in(dy), op.in(x), op.in(y), op.out(dx), dy.size);
  return op.result(dx);
}

Napi::Value dropout(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  const double p = op.between(op(1, "p"), 0, 0.999999);
  const RngKey key = op.key(op(2, "key"));
  const Tensor y = op.make(x, x.shape);
  op.backend(x).dropout(op.in(x), op.out(y), p, key, x.size);
  return op.result(y);
}

Napi::Value softmax(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const Tensor y = op.make(x, x.shape);
  op.backend(x).softmax(op.in(x), op.out(y), x.shape.rows(), x.shape[-1]);
  return op.result(y);
}

Napi::Value softmaxBackward(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  op.rank(dy, "dy", 1, kMaxRank);
  const Tensor y = op.floatTensor(op(1, "y"), &dy);
  op.shaped(y, "y", dy.shape);
  const Tensor dx = op.make(dy, dy.shape);
  op.backend(dy).softmaxBackward(op.in(dy), op.in(y), op.out(dx), dy.shape.rows(), dy.shape[-1]);
  return op.result(dx);
}

Napi::Value logSoftmax(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const Tensor y = op.make(x, x.shape);
  op.backend(x).logSoftmax(op.in(x), op.out(y), x.shape.rows(), x.shape[-1]);
  return op.result(y);
}

}  // namespace d2v::ops
