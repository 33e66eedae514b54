// Convolution without tiles: every value is computed alone, by a thread or (weights) a warp. It is for shapes whose
// slab fits no shared memory (kernels or strides of thousands) or whose sizes need 64 bits, which no model here has.
#include "conv.h"
#include "launch.h"

namespace d2v::cuda {
namespace {

constexpr int kThreads = 256;

/// The taps of a window that lie inside the source: [first, end).
struct Inside {
  int64_t first, end;
  D2V_DEVICE Inside(int64_t begin, int64_t size, int64_t taps)
      : first(begin < 0 ? -begin : 0), end(size - begin < taps ? size - begin : taps) {}
};

/// A thread per value of the target.
template <typename T>
D2V_KERNEL(kThreads)
correlateValues(Correlation c, TapWeights weights, const T* source, const T* w, const T* bias, T* target,
                int64_t count) {
  const int64_t sourceChannels = static_cast<int64_t>(c.groups) * c.channels;
  const int64_t targetChannels = static_cast<int64_t>(c.groups) * c.outputs;
  for (int64_t i = static_cast<int64_t>(blockX()) * kThreads + threadX(); i < count;
       i += static_cast<int64_t>(gridX()) * kThreads) {
    const int64_t pixel = i / targetChannels, channel = i % targetChannels;
    const int64_t x = pixel % c.targetW, y = pixel / c.targetW % c.targetH, image = pixel / c.targetW / c.targetH;
    const int g = static_cast<int>(channel / c.outputs), o = static_cast<int>(channel % c.outputs);
    float sum = bias == nullptr ? 0 : toFloat(bias[channel]);
    const int64_t top = y * c.strideH - c.padTop, left = x * c.strideW - c.padLeft;
    const Inside rows(top, c.sourceH, c.kH), columns(left, c.sourceW, c.kW);
    for (int64_t a = rows.first; a < rows.end; ++a) {
      for (int64_t b = columns.first; b < columns.end; ++b) {
        const T* from = source + ((image * c.sourceH + top + a) * c.sourceW + left + b) * sourceChannels +
                        static_cast<int64_t>(g) * c.channels;
        for (int k = 0; k < c.channels; ++k) sum += toFloat(from[k]) * toFloat(w[weights.at(g, o, k, a, b)]);
      }
    }
    target[image * c.targetImage + y * c.targetRow + x * c.targetPixel + channel] = fromFloat<T>(sum);
  }
}

/// A warp per value of dw, and then of db.
template <typename T>
D2V_KERNEL(kThreads)
gradWeightValues(ConvShape s, const T* dy, const T* x, float* dw, float* db, int64_t values, int64_t count) {
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, pixels = s.batch * s.outH * s.outW;
  constexpr int warps = kThreads / kWarp;
  for (int64_t i = static_cast<int64_t>(blockX()) * warps + warp(); i < count;
       i += static_cast<int64_t>(gridX()) * warps) {
    const bool isBias = i >= values;
    const int64_t b = i % s.kW, a = i / s.kW % s.kH, channel = i / (s.kW * s.kH) % cin;
    const int64_t o = isBias ? i - values : i / (s.kW * s.kH * cin);
    float sum = 0;
    for (int64_t p = lane(); p < pixels; p += kWarp) {
      const float gradient = toFloat(dy[p * s.cout + o]);
      if (isBias) {
        sum += gradient;
        continue;
      }
      const int64_t sy = p / s.outW % s.outH * s.strideH - s.padTop + a, sx = p % s.outW * s.strideW - s.padLeft + b;
      if (sy < 0 || sy >= s.inH || sx < 0 || sx >= s.inW) continue;
      const int64_t image = p / s.outW / s.outH;
      sum += gradient * toFloat(x[((image * s.inH + sy) * s.inW + sx) * s.cin + o / cout * cin + channel]);
    }
    sum = warpSum(sum);
    if (lane() == 0) (isBias ? db[o] : dw[i]) += sum;
  }
}

constexpr int64_t kMostBlocks = 1 << 20;

}  // namespace

void correlateDirect(const ConvContext& context, const Correlation& c, const TapWeights& weights, In source, In w,
                     In bias, Out target) {
  const int64_t count = static_cast<int64_t>(c.batch) * c.targetH * c.targetW * c.groups * c.outputs;
  forFloatType(source.dtype, [&](auto type) {
    using T = decltype(type);
    launch(correlateValues<T>, Grid{std::min(kMostBlocks, blocksFor(count, kThreads))}, kThreads, 0, context.stream, c,
           weights, static_cast<const T*>(source.data), static_cast<const T*>(w.data),
           static_cast<const T*>(bias.data), static_cast<T*>(target.data), count);
  });
}

void gradWeightDirect(const ConvContext& context, const ConvShape& s, In dy, In x, float* dw, float* db) {
  const int64_t values = s.cout * (s.cin / s.groups) * s.kH * s.kW, count = values + (db != nullptr ? s.cout : 0);
  forFloatType(dy.dtype, [&](auto type) {
    using T = decltype(type);
    launch(gradWeightValues<T>, Grid{std::min(kMostBlocks, blocksFor(count, kThreads / kWarp))}, kThreads, 0,
           context.stream, s, static_cast<const T*>(dy.data), static_cast<const T*>(x.data), dw, db, values, count);
  });
}

}  // namespace d2v::cuda
