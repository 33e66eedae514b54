#include "ops.h"

namespace d2v::ops {

Napi::Value sumTo(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  const Shape shape = op.shape(op(1, "shape"), dy.dtype);
  const int64_t inner = shape.product();
  bool suffix = shape.rank <= dy.shape.rank || inner == 1;
  for (int i = 1; suffix && inner != 1 && i <= shape.rank; ++i) suffix = shape[-i] == dy.shape[-i];
  if (!suffix) op.fail("shape", shape.text() + " is not the end of dy's shape " + dy.shape.text());
  const Tensor y = op.make(dy, shape);
  op.backend(dy).sumTo(op.in(dy), op.out(y), dy.size / inner, inner);
  return op.result(y);
}

Napi::Value sum(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  const Tensor y = op.make(x, {1}, DType::F64);
  op.backend(x).sum(op.in(x), x.size, y.as<double>());
  return op.result(y);
}

Napi::Value sumSquares(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  const Tensor y = op.make(x, {1}, DType::F64);
  op.backend(x).sumSquares(op.in(x), x.size, y.as<double>());
  return op.result(y);
}

Napi::Value meanTokens(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 3, 3);
  const int64_t skip = op.integerOr(op(1, "skip"), 0, 0, x.shape[1] - 1);
  const Tensor y = op.make(x, {x.shape[0], x.shape[2]});
  op.backend(x).meanTokens(op.in(x), op.out(y), x.shape[0], x.shape[1], x.shape[2], skip);
  return op.result(y);
}

Napi::Value meanTokensBackward(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  const Shape shape = op.shape(op(1, "inputShape"), dy.dtype);
  if (shape.rank != 3) op.fail("inputShape", "expected [B, T, D], got " + shape.text());
  op.shaped(dy, "dy", {shape[0], shape[2]});
  const int64_t skip = op.integerOr(op(2, "skip"), 0, 0, shape[1] - 1);
  const Tensor dx = op.make(dy, shape);
  op.backend(dy).meanTokensBackward(op.in(dy), op.out(dx), shape[0], shape[1], shape[2], skip);
  return op.result(dx);
}

}  // namespace d2v::ops
