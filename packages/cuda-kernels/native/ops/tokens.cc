#include <cstring>

#include "ops.h"

namespace d2v::ops {

namespace {

/// ids [R,K] or none for x [B,T,D].
struct Gather {
  std::optional<Tensor> ids;
  int64_t b, t, d, rows, kept;
  const int32_t* data() const { return ids ? ids->as<int32_t>() : nullptr; }
};

Gather readGather(Op& op, const Arg& idsArg, const Tensor& like, int64_t b, int64_t t, int64_t d) {
  Gather g{std::nullopt, b, t, d, b, t};
  if (op.absent(idsArg)) return g;
  g.ids = op.i32(idsArg, like);
  op.rank(*g.ids, "ids", 2, 2);
  g.rows = g.ids->shape[0];
  g.kept = g.ids->shape[1];
  if (g.rows % b != 0) {
    op.fail("ids", "expected a multiple of " + std::to_string(b) + " rows, got shape " + g.ids->shape.text());
  }
  op.indices(*g.ids, "ids", 0, t);
  return g;
}

int dimension(Op& op, const Arg& a, int rank) {
  const int64_t dim = op.integer(a, -rank, rank - 1);
  return static_cast<int>(dim < 0 ? dim + rank : dim);
}

}  // namespace

Napi::Value gatherTokens(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 3, 3);
  const Gather g = readGather(op, op(1, "ids"), x, x.shape[0], x.shape[1], x.shape[2]);
  const auto prefix = op.optionalFloat(op(2, "prefix"), x);
  int64_t extra = 0;
  if (prefix) {
    op.rank(*prefix, "prefix", 2, 2);
    extra = prefix->shape[0];
    op.shaped(*prefix, "prefix", {extra, g.d});
  }
  const Tensor y = op.make(x, {g.rows, extra + g.kept, g.d});
  op.backend(x).gatherTokens(op.in(x), g.data(), op.in(prefix), op.out(y), g.b, g.t, g.rows, g.kept, extra, g.d);
  return op.result(y);
}

Napi::Value gatherTokensBackward(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  op.rank(dy, "dy", 3, 3);
  const Shape shape = op.shape(op(2, "inputShape"), dy.dtype);
  if (shape.rank != 3) op.fail("inputShape", "expected [B, T, D], got " + shape.text());
  const Gather g = readGather(op, op(1, "ids"), dy, shape[0], shape[1], shape[2]);
  const auto dPrefix = op.optionalF32(op(3, "dPrefix"), dy);
  const int64_t extra = dy.shape[1] - g.kept;
  if (extra < 0) op.fail("dy", "has fewer tokens than ids keeps: shape " + dy.shape.text());
  op.shaped(dy, "dy", {g.rows, extra + g.kept, g.d});
  if (dPrefix) {
    op.rank(*dPrefix, "dPrefix", 2, 2);
    op.shaped(*dPrefix, "dPrefix", {extra, g.d});
    if (dPrefix->overlaps(dy)) op.fail("dPrefix", "shares memory with dy");
  }
  const Tensor dx = op.make(dy, shape);
  op.backend(dy).gatherTokensBackward(op.in(dy), g.data(), op.out(dx), dPrefix ? dPrefix->as<float>() : nullptr, g.b,
                                      g.t, g.rows, g.kept, extra, g.d);
  return op.result(dx);
}

Napi::Value restoreTokens(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 3, 3);
  const Tensor restore = op.i32(op(1, "restore"), x);
  op.rank(restore, "restore", 2, 2);
  const int64_t rows = x.shape[0], d = x.shape[2], t = restore.shape[1];
  op.shaped(restore, "restore", {rows, t});
  const int64_t extra = op.integer(op(2, "extra"), 0, x.shape[1] - 1);
  const int64_t kept = x.shape[1] - extra;
  if (kept > t) {
    op.fail("restore", "has " + std::to_string(t) + " places for " + std::to_string(kept) + " kept tokens");
  }
  op.indices(restore, "restore", 0, t);
  const Arg noiseArg = op(3, "noise");
  std::optional<Tensor> noise;
  RngKey key;
  double std = 0;
  if (!op.absent(noiseArg) && op.runtime.unwrap(noiseArg.value) != nullptr) {
    noise = op.floatTensor(noiseArg, &x);
    op.shaped(*noise, "noise", {rows, t - kept, d});
  } else {
    Options options = op.options(3);
    std = op.between(options["std"], 0, 1e30);
    key = op.key(options["key"]);
    options.done();
  }
  const Tensor y = op.make(x, {rows, t, d});
  op.backend(x).restoreTokens(op.in(x), restore.as<int32_t>(), op.in(noise), std, key, op.out(y), rows, t, kept, extra,
                              d);
  return op.result(y);
}

Napi::Value restoreTokensBackward(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  op.rank(dy, "dy", 3, 3);
  const int64_t rows = dy.shape[0], t = dy.shape[1], d = dy.shape[2];
  const Tensor restore = op.i32(op(1, "restore"), dy);
  op.shaped(restore, "restore", {rows, t});
  op.indices(restore, "restore", 0, t);
  const int64_t extra = op.integer(op(2, "extra"), 0, int64_t{1} << 30);
  const int64_t kept = op.integer(op(3, "kept"), 1, t);
  const Tensor dx = op.make(dy, {rows, extra + kept, d});
  op.backend(dy).restoreTokensBackward(op.in(dy), restore.as<int32_t>(), op.out(dx), rows, t, kept, extra, d);
  return op.result(dx);
}

Napi::Value repeatRows(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const int64_t times = op.integer(op(1, "times"), 1, int64_t{1} << 30);
  Shape shape = x.shape;
  if (shape[0] > (int64_t{1} << 46) / times) op.fail("times", "the result is too large");
  shape[0] *= times;
  const Tensor y = op.make(x, shape);
  op.backend(x).repeatRows(op.in(x), op.out(y), x.shape[0], times, x.shape.product(1, x.shape.rank));
  return op.result(y);
}

Napi::Value repeatRowsBackward(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  op.rank(dy, "dy", 1, kMaxRank);
  const int64_t times = op.integer(op(1, "times"), 1, int64_t{1} << 30);
  Shape shape = dy.shape;
  if (shape[0] % times != 0) {
    op.fail("dy", "first dimension of shape " + shape.text() + " is no multiple of " + std::to_string(times));
  }
  shape[0] /= times;
  const Tensor dx = op.make(dy, shape);
  op.backend(dy).repeatRowsBackward(op.in(dy), op.out(dx), shape[0], times, shape.product(1, shape.rank));
  return op.result(dx);
}

Napi::Value slice(Op& op) {
  const Tensor x = op.tensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const int dim = dimension(op, op(1, "dim"), x.shape.rank);
  const int64_t start = op.integer(op(2, "start"), 0, x.shape[dim] - 1);
  const int64_t length = op.integer(op(3, "length"), 1, x.shape[dim] - start);
  Shape shape = x.shape;
  shape[dim] = length;
  const Tensor y = op.make(x, shape);
  const int64_t inner = x.shape.product(dim + 1, x.shape.rank) * static_cast<int64_t>(sizeOf(x.dtype));
  op.backend(x).copySlab(x.data(), y.data(), x.shape.product(0, dim), x.shape[dim], start, length, 0, length, inner);
  return op.result(y);
}

Napi::Value sliceBackward(Op& op) {
  const Tensor dy = op.tensor(op(0, "dy"));
  const Shape shape = op.shape(op(1, "inputShape"), dy.dtype);
  if (shape.rank < 1) op.fail("inputShape", "expected at least 1 dimension");
  const int dim = dimension(op, op(2, "dim"), shape.rank);
  const int64_t start = op.integer(op(3, "start"), 0, shape[dim] - 1);
  op.rank(dy, "dy", shape.rank, shape.rank);
  Shape expected = shape;
  expected[dim] = dy.shape[dim];
  op.shaped(dy, "dy", expected);
  if (start + dy.shape[dim] > shape[dim]) {
    op.fail("start", std::to_string(start) + " + " + std::to_string(dy.shape[dim]) + " is beyond dimension " +
                         std::to_string(dim) + " of " + shape.text());
  }
  const Tensor dx = op.make(dy, shape);
  Backend& backend = op.backend(dy);
  backend.fill(dx.data(), dx.dtype, 0, dx.size);
  const int64_t inner = shape.product(dim + 1, shape.rank) * static_cast<int64_t>(sizeOf(dy.dtype));
  backend.copySlab(dy.data(), dx.data(), shape.product(0, dim), dy.shape[dim], 0, shape[dim], start, dy.shape[dim],
                   inner);
  return op.result(dx);
}

Napi::Value concat(Op& op) {
  const std::vector<Tensor> tensors = op.tensors(op(0, "tensors"));
  const Tensor& first = tensors.front();
  op.rank(first, "tensors[0]", 1, kMaxRank);
  const int dim = dimension(op, op(1, "dim"), first.shape.rank);
  Shape shape = first.shape;
  shape[dim] = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = tensors[i];
    const std::string name = "tensors[" + std::to_string(i) + "]";
    op.is(t, name.c_str(), first.dtype);
    op.sameDevice(first, t, name.c_str());
    op.rank(t, name.c_str(), first.shape.rank, first.shape.rank);
    Shape expected = first.shape;
    expected[dim] = t.shape[dim];
    op.shaped(t, name.c_str(), expected);
    shape[dim] += t.shape[dim];
  }
  const Tensor y = op.make(first, shape);
  const int64_t outer = shape.product(0, dim);
  const int64_t inner = shape.product(dim + 1, shape.rank) * static_cast<int64_t>(sizeOf(first.dtype));
  int64_t at = 0;
  for (const Tensor& t : tensors) {
    const int64_t length = t.shape[dim];
    op.backend(t).copySlab(t.data(), y.data(), outer, length, 0, shape[dim], at, length, inner);
    at += length;
  }
  return op.result(y);
}

Napi::Value transpose(Op& op) {
  const Tensor x = op.tensor(op(0, "x"));
  op.rank(x, "x", 1, kMaxRank);
  const auto perm = op.integers(op(1, "perm"), 0, x.shape.rank - 1);
  int order[kMaxRank] = {};
  unsigned seen = 0;
  for (size_t i = 0; i < perm.size() && i < kMaxRank; ++i) {
    order[i] = static_cast<int>(perm[i]);
    seen |= 1u << perm[i];
  }
  if (static_cast<int>(perm.size()) != x.shape.rank || seen != (1u << x.shape.rank) - 1) {
    op.fail("perm", "expected a permutation of the " + std::to_string(x.shape.rank) + " dimensions of shape " +
                        x.shape.text());
  }
  Shape shape;
  for (int i = 0; i < x.shape.rank; ++i) shape.push(x.shape[order[i]]);
  const Tensor y = op.make(x, shape);
  op.backend(x).transpose(x.data(), y.data(), sizeOf(x.dtype), x.shape.rank, x.shape.dims.data(), order);
  return op.result(y);
}

Napi::Value embedding(Op& op) {
  const Tensor ids = op.is(op.tensor(op(0, "ids")), "ids", DType::I32);
  const Tensor table = op.floatTensor(op(1, "table"), &ids);
  op.rank(table, "table", 2, 2);
  op.rank(ids, "ids", 0, kMaxRank - 1);
  op.indices(ids, "ids", 0, table.shape[0]);
  Shape shape = ids.shape;
  shape.push(table.shape[1]);
  const Tensor y = op.make(table, shape);
  op.backend(ids).embedding(ids.as<int32_t>(), op.in(table), op.out(y), ids.size, table.shape[1]);
  return op.result(y);
}

Napi::Value embeddingGrad_(Op& op) {
  const Tensor dTable = op.f32(op(0, "dTable"));
  op.rank(dTable, "dTable", 2, 2);
  const Tensor ids = op.i32(op(1, "ids"), dTable);
  op.rank(ids, "ids", 0, kMaxRank - 1);
  const Tensor dy = op.floatTensor(op(2, "dy"), &dTable);
  Shape shape = ids.shape;
  shape.push(dTable.shape[1]);
  op.shaped(dy, "dy", shape);
  const int64_t padding = op.integerOr(op(3, "padding"), -1, -1);
  op.indices(ids, "ids", 0, dTable.shape[0]);
  if (dTable.overlaps(dy)) op.fail("dTable", "shares memory with dy");
  op.backend(ids).embeddingGrad(dTable.as<float>(), ids.as<int32_t>(), op.in(dy), ids.size, dTable.shape[0],
                                dTable.shape[1], padding);
  return op.undefined();
}

}  // namespace d2v::ops
