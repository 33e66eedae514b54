// Convolution of a sequence with all channels in one group, by the library's matrix products (which use `wgmma` where there
// is some; the kernels of conv.cu do not).
//
// Tokens lie one after the other, so a window of k tokens is one row of k * channels numbers, and nothing has to be unfolded:
//
//   target[j] = [row of k * channels numbers from token j * stride - pad on] * weights [k * channels, outputs]
//
// Rows overlap where k > stride, and the library wants rows that do not. So outputs j, j + parts, j + 2 parts, ... are a
// product each, parts = ceil(k / stride): its rows are parts * stride tokens apart, and those of the target parts outputs.
// `parts` products of the same size are one call (a strided batch).
//
// Windows that hang over the end of a sequence:
// - Long sequences (a tile of 128 rows or more in each product): each sample is a product of its own, over the windows
//   that are all inside, from and to where the operands lie. Those over the ends, k - stride or so per sample, are left to
//   conv.cu.
// - Short ones: all samples are one long sequence, copied once with zeros between the samples, as many as the padding of two
//   neighbours needs in common. Windows between samples are computed for nothing, and are left out when the result is copied
//   to its place (with the bias). 128 x 512 tokens, k = 9, 768 -> 768 channels: 0.8 % more operations, and 0.4 GB of copies,
//   0.08 ms beside the product's 0.7 at the peak of an H200.
// - Neither, where that would be a quarter more windows than there are: conv.cu.
//
// Gradient to the weights: a product per tap, dw[tap] = dy^T [outputs, windows] * x [windows, channels], whose rows of x
// are the stride apart. Either per sample over the windows whose tap is inside, into partial sums that are added in order,
// or over the copy of all samples with zeros in dy between them: whichever moves fewer bytes.
//
// The order of all sums depends on the shape only, as far as it is ours; the library gives the same result every time.
//
// Weights are laid out once per call, by tap, the inner channels of w staying the inner ones.
#include "conv.h"
#include "gemm_library.h"
#include "gemm_passes.h"
#include "launch.h"
#include "loops.h"
#include "operands.h"

namespace d2v::cuda {
namespace {

constexpr int64_t kLeastChannels = 128;
constexpr int64_t kTileRows = 128;  // of the library's kernels
constexpr int64_t kMostPartialBytes = int64_t{256} << 20;

/// laid[outer * outerStep + tap * tapStep + inner] = the weight there.
template <typename T>
D2V_KERNEL(256)
layTaps(const T* w, T* laid, int taps, int64_t wOuter, int64_t wInner, int64_t wTap, int64_t outerStep, int64_t tapStep,
        int64_t inners, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockX()) * threadCount() + threadX();
  if (i >= count) return;
  const int64_t outer = i / inners, inner = i % inners;
  for (int tap = 0; tap < taps; ++tap) {
    laid[outer * outerStep + tap * tapStep + inner] = w[outer * wOuter + inner * wInner + tap * wTap];
  }
}

/// Rows of T, [image, row], by elements from one to the next.
template <typename T>
struct Rows {
  T* first;
  int64_t image, row;
};

/// to[image, j] = from[image, j - before] + bias?, for `rows` rows of `perImage` per image; from has `count` rows in each of
/// `images` images, and outside of them it is 0.
template <typename T, int N>
D2V_KERNEL(kLoopThreads)
moveRows(RowLoop loop, Rows<const T> from, int before, int count, int images, Rows<T> to, int perImage, int64_t rows,
         const T* bias) {
  const RowPlace place = rowPlace(loop);
  if (place.piece < 0) return;
  const int64_t column = place.piece * N;
  float add[N] = {};
  if (bias != nullptr) {
#pragma unroll
    for (int i = 0; i < N; ++i) add[i] = toFloat(bias[column + i]);
  }
  for (int64_t r = place.row; r < rows; r += place.step) {
    const int image = static_cast<int>(r) / perImage, j = static_cast<int>(r) % perImage, source = j - before;
    float value[N] = {};
    if (image < images && source >= 0 && source < count) {
      load<N>(value, from.first + image * from.image + source * from.row + column);
    }
    if (bias != nullptr) {
#pragma unroll
      for (int i = 0; i < N; ++i) value[i] += add[i];
    }
    store<N>(to.first + image * to.image + j * to.row + column, value);
  }
}

template <typename T>
void startMove(const ConvContext& context, int64_t width, Rows<const T> from, int before, int count, int images,
               Rows<T> to, int perImage, int64_t rows, const T* bias = nullptr) {
  const RowLoop loop = rowLoop(width / kWide<T>);
  launch(moveRows<T, kWide<T>>, rowGrid(loop, rows, context.device), kLoopThreads, 0, context.stream, loop, from, before,
         count, images, to, perImage, rows, bias);
}

/// dw[value, tap] += sum over `parts` of partial[part, tap, value].
D2V_KERNEL(256) addTaps(const float* partial, int64_t parts, int taps, int64_t values, float* dw) {
  const int64_t i = static_cast<int64_t>(blockX()) * threadCount() + threadX();
  if (i >= values) return;
  for (int tap = 0; tap < taps; ++tap) {
    float sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += partial[(part * taps + tap) * values + i];
    dw[i * taps + tap] += sum;
  }
}

/// Elements from one product's operands to the next one's.
struct Repeat {
  int64_t times = 1, a = 0, b = 0, c = 0;
};

/// The product p, x.times * y.times times: the more frequent ones are a batch. False if the library has none.
bool multiplyGrid(const ConvContext& context, GemmProblem p, Repeat x, Repeat y) {
  if (x.times < y.times) std::swap(x, y);
  p.batch = x.times;
  p.strideA = x.a, p.strideB = x.b, p.strideC = x.c;
  const auto in = static_cast<int64_t>(sizeOf(p.in)), out = static_cast<int64_t>(sizeOf(p.out));
  for (int64_t i = 0; i < y.times; ++i) {
    if (!context.multiply(p)) return false;
    p.a = static_cast<const char*>(p.a) + y.a * in;
    p.b = static_cast<const char*>(p.b) + y.b * in;
    p.c = static_cast<char*>(p.c) + y.c * out;
  }
  return true;
}

/// Whether this is the way for such a correlation, whose operands begin at these addresses.
bool isDense(const Correlation& c, std::initializer_list<const void*> operands) {
  const bool sequence = c.sourceW == 1 && c.targetW == 1 && c.kW == 1 && c.padLeft == 0;
  return sequence && c.groups == 1 && c.channels >= kLeastChannels && c.outputs >= kLeastChannels && c.channels % 8 == 0 &&
         c.outputs % 8 == 0 && allAligned(operands, 16);
}

/// All samples as one sequence of windows.
struct Fold {
  int64_t perSample, windows, tokens;
  bool worth;

  /// `unit`: windows come in multiples of this.
  Fold(const Correlation& c, int64_t unit) {
    const int64_t stride = c.strideH, pad = c.padTop, reach = (c.targetH - 1) * stride + c.kH;
    // A sample ends behind its last token that is used. Its last window may reach into the next one's zeros.
    const int64_t end = std::min(c.sourceH + pad, reach), zeros = std::max<int64_t>(pad, 0);
    perSample = std::max<int64_t>(c.targetH, blocksFor(std::max(end, reach - zeros), stride));
    windows = blocksFor((c.batch - 1) * perSample + c.targetH, unit) * unit;
    tokens = (windows - 1) * stride + c.kH;
    worth = 4 * windows <= 5 * static_cast<int64_t>(c.batch) * c.targetH && tokens <= INT32_MAX;
  }

  /// The sequence, from the samples of c's source.
  template <typename T>
  void copySource(const ConvContext& context, const Correlation& c, const T* source, T* to) const {
    const int64_t perImage = perSample * c.strideH, width = c.channels;
    startMove<T>(context, width, {source, c.sourceH * width, width}, c.padTop, c.sourceH, c.batch,
                 {to, perImage * width, width}, static_cast<int>(perImage), tokens);
  }
};

/// The windows of a number of samples, and where their results go.
template <typename T>
struct Windows {
  Rows<const T> source;  // from the first window's first token on
  Rows<T> target;
  int64_t samples, count;
};

template <typename T>
bool multiplyWindows(const ConvContext& context, const Correlation& c, GemmProblem p, const Windows<T>& w) {
  const int64_t parts = blocksFor(c.kH, c.strideH), longer = w.count % parts;
  p.n = c.outputs, p.k = static_cast<int64_t>(c.kH) * c.channels;
  p.rowA = parts * c.strideH * w.source.row, p.rowC = parts * w.target.row;
  const Repeat samples{w.samples, w.source.image, 0, w.target.image};
  const auto multiply = [&](int64_t first, int64_t times, int64_t rows) {
    if (times == 0 || rows == 0) return true;
    p.m = rows;
    p.a = w.source.first + first * c.strideH * w.source.row;
    p.c = w.target.first + first * w.target.row;
    return multiplyGrid(context, p, samples, {times, c.strideH * w.source.row, 0, w.target.row});
  };
  return multiply(0, longer, w.count / parts + 1) && multiply(longer, parts - longer, w.count / parts);
}

template <typename T>
Stretch correlateByProducts(const ConvContext& context, const Correlation& c, const TapWeights& weights, const T* source,
                            const T* w, const T* bias, T* target) {
  const int64_t parts = blocksFor(c.kH, c.strideH), stride = c.strideH, width = c.channels;
  // The windows that are all inside.
  const int64_t first = c.padTop > 0 ? blocksFor(c.padTop, stride) : 0, room = c.sourceH + c.padTop - c.kH;
  const int64_t end = room < 0 ? 0 : std::min<int64_t>(c.targetH, room / stride + 1);
  const Fold fold(c, parts);
  const bool isLong = end - first >= parts * kTileRows;
  if (!isLong && !fold.worth) return {};

  // w has its input channels inside, which are the gradient's outputs.
  const bool forward = weights.channel < weights.output;
  const int64_t outers = forward ? c.outputs : c.channels, inners = forward ? c.channels : c.outputs;
  const int64_t pairs = outers * inners;
  Workspace laid(context.memory, static_cast<size_t>(pairs * c.kH) * sizeof(T));
  launch(layTaps<T>, Grid{blocksFor(pairs, 256)}, 256, 0, context.stream, w + weights.first, laid.as<T>(), c.kH,
         forward ? weights.output : weights.channel, forward ? weights.channel : weights.output, weights.row,
         forward ? inners * c.kH : inners, forward ? inners : pairs, inners, pairs);
  GemmProblem p;
  p.b = laid.as<void>(), p.transB = forward;
  p.in = p.out = sizeof(T) == 2 ? DType::BF16 : DType::F32;

  if (isLong) {
    const Windows<T> windows{{source + (first * stride - c.padTop) * width, c.sourceH * width, width},
                             {target + first * c.targetRow, c.targetImage, c.targetRow}, c.batch, end - first};
    if (!multiplyWindows(context, c, p, windows)) return {};
    if (bias != nullptr) {
      const auto count = static_cast<int>(end - first);
      const Rows<T>& to = windows.target;
      startMove<T>(context, c.outputs, {to.first, to.image, to.row}, 0, count, c.batch, to, count,
                   static_cast<int64_t>(c.batch) * count, bias);
    }
    return {static_cast<int>(first), static_cast<int>(end)};
  }
  Workspace sequence(context.memory, static_cast<size_t>(fold.tokens * width) * sizeof(T));
  Workspace product(context.memory, static_cast<size_t>(fold.windows * c.outputs) * sizeof(T));
  fold.copySource(context, c, source, sequence.as<T>());
  const Windows<T> windows{{sequence.as<const T>(), 0, width}, {product.as<T>(), 0, c.outputs}, 1, fold.windows};
  if (!multiplyWindows(context, c, p, windows)) return {};
  startMove<T>(context, c.outputs, {product.as<const T>(), fold.perSample * c.outputs, c.outputs}, 0, c.targetH, c.batch,
               {target, c.targetImage, c.targetRow}, c.targetH, static_cast<int64_t>(c.batch) * c.targetH, bias);
  return {0, c.targetH};
}

template <typename T>
bool gradWeightByProducts(const ConvContext& context, const Correlation& c, const T* dy, const T* x, float* dw) {
  const int64_t batch = c.batch, stride = c.strideH, in = c.channels, out = c.outputs;
  const int64_t values = out * in, weights = values * c.kH;
  // The windows whose tap is inside.
  const auto firstOf = [&](int64_t tap) { return c.padTop > tap ? blocksFor(c.padTop - tap, stride) : 0; };
  const auto endOf = [&](int64_t tap) {
    const int64_t room = c.sourceH + c.padTop - tap;
    return room <= 0 ? 0 : std::min<int64_t>(c.targetH, blocksFor(room, stride));
  };
  const int64_t partialBytes = batch * weights * static_cast<int64_t>(sizeof(float));
  bool perSample = partialBytes <= kMostPartialBytes;
  for (int64_t tap = 0; tap < c.kH; ++tap) perSample = perSample && firstOf(tap) < endOf(tap);
  const Fold fold(c, 1);
  const bool spread = fold.perSample > c.targetH;  // dy needs rows of zeros
  const int64_t copied = fold.tokens * in + (spread ? fold.windows * out : 0);
  if (!perSample && !fold.worth) return false;
  if (fold.worth && copied * static_cast<int64_t>(sizeof(T)) < partialBytes) perSample = false;

  GemmProblem p;
  p.m = out, p.n = in, p.transA = true, p.rowA = out, p.rowB = stride * in;
  p.in = sizeof(T) == 2 ? DType::BF16 : DType::F32;
  Workspace partial(context.memory, static_cast<size_t>(perSample ? partialBytes : weights * 4));
  if (perSample) {
    for (int64_t tap = 0; tap < c.kH; ++tap) {
      const int64_t first = firstOf(tap);
      p.k = endOf(tap) - first;
      p.a = dy + first * out, p.b = x + (first * stride + tap - c.padTop) * in, p.c = partial.floats() + tap * values;
      if (!multiplyGrid(context, p, {batch, c.targetH * out, c.sourceH * in, weights}, {})) return false;
    }
  } else {
    Workspace sequence(context.memory, static_cast<size_t>(fold.tokens * in) * sizeof(T));
    Workspace gradient(context.memory, static_cast<size_t>(spread ? fold.windows * out : 0) * sizeof(T));
    fold.copySource(context, c, x, sequence.as<T>());
    if (spread) {
      startMove<T>(context, out, {dy, c.targetH * out, out}, 0, c.targetH, c.batch,
                   {gradient.as<T>(), fold.perSample * out, out}, static_cast<int>(fold.perSample), fold.windows);
    }
    p.k = fold.windows;
    p.a = spread ? gradient.as<const T>() : dy, p.b = sequence.as<void>(), p.c = partial.as<void>();
    if (!multiplyGrid(context, p, {c.kH, 0, in, values}, {})) return false;
  }
  launch(addTaps, Grid{blocksFor(values, 256)}, 256, 0, context.stream, partial.floats(), perSample ? batch : 1, c.kH,
         values, dw);
  return true;
}

}  // namespace

Stretch correlateByProducts(const ConvContext& context, const Correlation& c, const TapWeights& weights, In source, In w,
                            In bias, Out target) {
  Stretch done{};
  if (!isDense(c, {source.data, target.data})) return done;
  forFloatType(source.dtype, [&](auto type) {
    using T = decltype(type);
    done = correlateByProducts<T>(context, c, weights, as<T>(source), as<T>(w), as<T>(bias), as<T>(target));
  });
  return done;
}

bool gradWeightByProducts(const ConvContext& context, const Correlation& c, In dy, In x, float* dw, float* db) {
  bool done = false;
  if (!isDense(c, {dy.data, x.data})) return done;
  forFloatType(dy.dtype, [&](auto type) {
    using T = decltype(type);
    done = gradWeightByProducts<T>(context, c, as<T>(dy), as<T>(x), dw);
  });
  if (!done || db == nullptr) return done;
  const int64_t rows = static_cast<int64_t>(c.batch) * c.targetH;
  Workspace scratch(context.memory, static_cast<size_t>(allRowsScratch(rows, c.outputs)) * sizeof(float));
  addAllRows(dy.dtype, dy.data, rows, c.outputs, scratch.floats(), db, context.stream);
  return done;
}

}  // namespace d2v::cuda
