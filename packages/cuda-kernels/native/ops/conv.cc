#include "ops.h"

namespace d2v::ops {

namespace {

struct ConvOptions {
  std::vector<int64_t> stride;
  std::vector<std::pair<int64_t, int64_t>> padding;
  int64_t groups = 1;
};

ConvOptions readOptions(Op& op, size_t index, int spatial) {
  ConvOptions c;
  Options options = op.options(index);
  constexpr int64_t most = 1 << 20;
  const Arg stride = options["stride"];
  c.stride = op.absent(stride) ? std::vector<int64_t>(static_cast<size_t>(spatial), 1) : op.integers(stride, 1, most);
  const Arg padding = options["padding"];
  if (op.absent(padding)) {
    c.padding.assign(static_cast<size_t>(spatial), {0, 0});
  } else {
    bool array = false;
    uint32_t length = 0;
    napi_is_array(op.env, padding.value, &array);
    if (array) napi_get_array_length(op.env, padding.value, &length);
    if (length != static_cast<uint32_t>(spatial)) {
      op.fail("padding", "expected one [low, high] per spatial dimension (" + std::to_string(spatial) + ")");
    }
    for (uint32_t i = 0; i < length; ++i) {
      napi_value element = nullptr;
      if (napi_get_element(op.env, padding.value, i, &element) != napi_ok) throw Napi::Error::New(op.env);
      const auto pair = op.integers({element, "padding"}, 0, most);
      if (pair.size() != 2) op.fail("padding", "expected [low, high] for each spatial dimension");
      c.padding.emplace_back(pair[0], pair[1]);
    }
  }
  c.groups = op.integerOr(options["groups"], 1, 1);
  options.done();
  if (c.stride.size() != static_cast<size_t>(spatial)) {
    op.fail("stride", "expected " + std::to_string(spatial) + " numbers, got " + std::to_string(c.stride.size()));
  }
  return c;
}

/// Geometry of x [B,*S,Cin] and w [Cout,Cin/groups,*k]; also gives the shape of y.
ConvShape geometry(Op& op, const Shape& x, const char* xName, const Tensor& w, const ConvOptions& c, Shape& y) {
  const int spatial = x.rank - 2;
  if (spatial < 1 || spatial > 2) {
    op.fail(xName, "expected shape [B, T, C] or [B, H, W, C], got " + x.text());
  }
  op.rank(w, "w", x.rank, x.rank);
  const int64_t cin = x[-1], cout = w.shape[0];
  if (cin % c.groups != 0 || cout % c.groups != 0) {
    op.fail("groups", std::to_string(c.groups) + " groups do not divide " + std::to_string(cin) +
                          " input and " + std::to_string(cout) + " output channels");
  }
  if (w.shape[1] != cin / c.groups) {
    op.fail("w", "expected " + std::to_string(cin / c.groups) + " input channels per group (shape " + x.text() +
                     " with " + std::to_string(c.groups) + " groups), got shape " + w.shape.text());
  }
  ConvShape s{};
  s.batch = x[0];
  s.cin = cin;
  s.cout = cout;
  s.groups = c.groups;
  int64_t in[2] = {1, 1}, kernel[2] = {1, 1}, stride[2] = {1, 1}, low[2] = {0, 0}, out[2] = {1, 1};
  y = Shape{x[0]};
  for (int i = 0; i < spatial; ++i) {
    const int slot = i + 2 - spatial;
    const auto n = static_cast<size_t>(i);
    in[slot] = x[1 + i];
    kernel[slot] = w.shape[2 + i];
    stride[slot] = c.stride[n];
    low[slot] = c.padding[n].first;
    const int64_t padded = in[slot] + c.padding[n].first + c.padding[n].second;
    if (kernel[slot] > padded) {
      op.fail("w", "kernel of shape " + w.shape.text() + " is larger than the padded input of shape " + x.text());
    }
    out[slot] = (padded - kernel[slot]) / stride[slot] + 1;
    y.push(out[slot]);
  }
  y.push(cout);
  s.inH = in[0];
  s.inW = in[1];
  s.kH = kernel[0];
  s.kW = kernel[1];
  s.strideH = stride[0];
  s.strideW = stride[1];
  s.padTop = low[0];
  s.padLeft = low[1];
  s.outH = out[0];
  s.outW = out[1];
  op.fits(y, DType::F32);
  return s;
}

int spatialRank(Op& op, const Shape& x, const char* name) {
  if (x.rank < 3 || x.rank > 4) op.fail(name, "expected shape [B, T, C] or [B, H, W, C], got " + x.text());
  return x.rank - 2;
}

}  // namespace

Napi::Value conv(Op& op) {
  const Tensor x = op.floatTensor(op(0, "x"));
  const int spatial = spatialRank(op, x.shape, "x");
  const Tensor w = op.floatTensor(op(1, "w"), &x);
  const auto bias = op.optionalFloat(op(2, "bias"), x);
  const ConvOptions options = readOptions(op, 3, spatial);
  Shape shape;
  const ConvShape s = geometry(op, x.shape, "x", w, options, shape);
  if (bias) op.shaped(*bias, "bias", {s.cout});
  const Tensor y = op.make(x, shape);
  op.backend(x).conv(s, op.in(x), op.in(w), op.in(bias), op.out(y));
  return op.result(y);
}

Napi::Value convGradInput(Op& op) {
  const Tensor dy = op.floatTensor(op(0, "dy"));
  const Tensor w = op.floatTensor(op(1, "w"), &dy);
  const Shape input = op.shape(op(2, "inputShape"), dy.dtype);
  const ConvOptions options = readOptions(op, 3, spatialRank(op, input, "inputShape"));
  Shape shape;
  const ConvShape s = geometry(op, input, "inputShape", w, options, shape);
  op.shaped(dy, "dy", shape);
  const Tensor dx = op.make(dy, input);
  op.backend(dy).convGradInput(s, op.in(dy), op.in(w), op.out(dx));
  return op.result(dx);
}

Napi::Value convGradWeight_(Op& op) {
  const Tensor dw = op.f32(op(0, "dw"));
  const Tensor dy = op.floatTensor(op(1, "dy"), &dw);
  const Tensor x = op.floatTensor(op(2, "x"), &dw);
  const auto db = op.optionalF32(op(3, "db"), dw);
  const ConvOptions options = readOptions(op, 4, spatialRank(op, x.shape, "x"));
  Shape shape;
  op.rank(dw, "dw", x.shape.rank, x.shape.rank);
  const ConvShape s = geometry(op, x.shape, "x", dw, options, shape);
  op.shaped(dy, "dy", shape);
  if (db) op.shaped(*db, "db", {s.cout});
  for (const Tensor& t : {dy, x}) {
    if (dw.overlaps(t) || (db && db->overlaps(t))) op.fail("dw", "dw and db must not share memory with dy or x");
  }
  if (db && db->overlaps(dw)) op.fail("db", "shares memory with dw");
  op.backend(dw).convGradWeight(s, op.in(dy), op.in(x), dw.as<float>(), db ? db->as<float>() : nullptr);
  return op.undefined();
}

namespace {

PatchShape patches(Op& op, int64_t batch, int64_t c, int64_t h, int64_t w, size_t patchIndex) {
  const auto patch = op.integers(op(patchIndex, "patch"), 1, 1 << 20);
  if (patch.size() != 2) op.fail("patch", "expected [height, width]");
  if (h % patch[0] != 0 || w % patch[1] != 0) {
    op.fail("patch", "patches of " + std::to_string(patch[0]) + " x " + std::to_string(patch[1]) +
                         " do not divide an image of " + std::to_string(h) + " x " + std::to_string(w));
  }
  PatchShape s{};
  s.batch = batch;
  s.c = c;
  s.gridH = h / patch[0];
  s.gridW = w / patch[1];
  s.pH = patch[0];
  s.pW = patch[1];
  s.channelsFirst = op.choice(op(patchIndex + 1, "layout"), {"cpq", "pqc"}) == 0;
  return s;
}

}  // namespace

Napi::Value patchify(Op& op) {
  const Tensor images = op.floatTensor(op(0, "images"));
  op.rank(images, "images", 4, 4);
  const PatchShape s = patches(op, images.shape[0], images.shape[1], images.shape[2], images.shape[3], 1);
  const Tensor tokens = op.make(images, {s.batch, s.gridH * s.gridW, s.c * s.pH * s.pW});
  op.backend(images).patchify(s, op.in(images), op.out(tokens));
  return op.result(tokens);
}

Napi::Value unpatchify(Op& op) {
  const Tensor tokens = op.floatTensor(op(0, "tokens"));
  op.rank(tokens, "tokens", 3, 3);
  const auto size = op.integers(op(1, "size"), 1, 1 << 20);
  if (size.size() != 3) op.fail("size", "expected [channels, height, width]");
  const PatchShape s = patches(op, tokens.shape[0], size[0], size[1], size[2], 2);
  op.shaped(tokens, "tokens", {s.batch, s.gridH * s.gridW, s.c * s.pH * s.pW});
  const Tensor images = op.make(tokens, {s.batch, size[0], size[1], size[2]});
  op.backend(tokens).unpatchify(s, op.in(tokens), op.out(images));
  return op.result(images);
}

}  // namespace d2v::ops
