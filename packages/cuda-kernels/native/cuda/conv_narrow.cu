// Convolution of a sequence where an output sees few values, and many channels see the same ones: the first layer on a
// waveform, 1 -> 512 channels, kernel 10, stride 5. A matrix product would have a k of 10; plain multiply-adds are enough,
// since all that costs time is the [time, 512] side: y is written once, dy is read once, 1 KB (bf16) per step of time
// against 20 bytes of x.
//
// A thread owns 8 output channels (16 bytes of bf16) and keeps their weights, or the sums of their gradient, in registers,
// 8 x K of them; the windows of a stretch of time lie in shared memory as one piece of x, and all threads of a row of
// outputs read the same words. 8 multiply-adds per word read from shared memory, 10 per value of y: about as long as
// the memory needs. The values of a window are neighbours in x, whatever the number of input channels.
#include "conv.h"
#include "launch.h"

namespace d2v::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kOutputs = 8;  // of a thread
constexpr int kRows = 128;   // of a stretch
constexpr int kMostWindow = 16;

struct Narrow {
  int cin, k, cout;
  int window;               // values: k * cin
  int step, pad;            // values from one window to the next, and before the first
  int64_t inValues, times;  // of a sample
  int64_t stretches;        // per sample
  int lanes, rows;          // threads per row of outputs, rows at a time
  int staged;               // values of x that a stretch of K-value windows spans
};

/// Stretch number `item` of all samples: where its rows begin, and how many there are. Its x is in shared memory after.
template <typename T>
D2V_DEVICE int stage(const Narrow& n, const T* x, int64_t item, float* staged, int64_t& firstRow) {
  const int64_t sample = item / n.stretches, first = item % n.stretches * kRows;
  const int64_t begin = first * n.step - n.pad;
  syncThreads();
  for (int i = threadX(); i < n.staged; i += kThreads) {
    const int64_t at = begin + i;
    staged[i] = at >= 0 && at < n.inValues ? toFloat(x[sample * n.inValues + at]) : 0.0f;
  }
  syncThreads();
  firstRow = sample * n.times + first;
  return static_cast<int>(n.times - first < kRows ? n.times - first : kRows);
}

template <typename T, int K>
D2V_KERNEL(kThreads)
convWindows(Narrow n, const T* x, const T* w, const T* bias, T* y) {
  float* staged = shared<float>();
  int64_t firstRow;
  const int rows = stage(n, x, blockX(), staged, firstRow);
  const int first = threadX() / n.lanes, channel = threadX() % n.lanes * kOutputs;
  if (first >= n.rows) return;
  float weights[K][kOutputs], start[kOutputs];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    start[o] = bias == nullptr ? 0.0f : toFloat(bias[channel + o]);
#pragma unroll
    for (int i = 0; i < K; ++i) {
      weights[i][o] = i < n.window ? toFloat(w[((channel + o) * n.cin + i % n.cin) * n.k + i / n.cin]) : 0.0f;
    }
  }
  for (int row = first; row < rows; row += n.rows) {
    float sum[kOutputs];
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) sum[o] = start[o];
#pragma unroll
    for (int i = 0; i < K; ++i) {
      const float value = staged[row * n.step + i];
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) sum[o] += value * weights[i][o];
    }
    store<kOutputs>(y + (firstRow + row) * n.cout + channel, sum);
  }
}

/// partial[block][window value, and last the bias][output channel]
template <typename T, int K>
D2V_KERNEL(kThreads)
gradWindows(Narrow n, const T* dy, const T* x, float* partial, int64_t items, int64_t perBlock) {
  float* reduced = shared<float>();
  float* staged = reduced + kThreads * kOutputs;
  const int first = threadX() / n.lanes, channel = threadX() % n.lanes * kOutputs;
  const bool works = first < n.rows;
  float sum[K + 1][kOutputs] = {};
  const int64_t begin = blockX() * perBlock, end = begin + perBlock < items ? begin + perBlock : items;
  for (int64_t item = begin; item < end; ++item) {
    int64_t firstRow;
    const int rows = stage(n, x, item, staged, firstRow);
    if (!works) continue;
    for (int row = first; row < rows; row += n.rows) {
      float gradient[kOutputs];
      load<kOutputs>(gradient, dy + (firstRow + row) * n.cout + channel);
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) sum[K][o] += gradient[o];
#pragma unroll
      for (int i = 0; i < K; ++i) {
        const float value = staged[row * n.step + i];
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) sum[i][o] += gradient[o] * value;
      }
    }
  }
  float* to = partial + static_cast<int64_t>(blockX()) * (n.window + 1) * n.cout;
#pragma unroll
  for (int i = 0; i <= K; ++i) {
    if (i != K && i >= n.window) continue;
    syncThreads();
    if (works) store<kOutputs>(reduced + first * n.cout + channel, sum[i]);
    syncThreads();
    for (int o = threadX(); o < n.cout; o += kThreads) {
      float total = 0;
      for (int r = 0; r < n.rows; ++r) total += reduced[r * n.cout + o];
      to[(i == K ? n.window : i) * n.cout + o] = total;
    }
  }
}

D2V_KERNEL(kThreads) addWindows(Narrow n, const float* partial, int blocks, float* dw, float* db) {
  const int i = blockX() * kThreads + threadX(), values = (n.window + 1) * n.cout;
  if (i >= values) return;
  const int value = i / n.cout, o = i % n.cout;
  if (value == n.window && db == nullptr) return;
  float sum = 0;
  for (int block = 0; block < blocks; ++block) sum += partial[static_cast<int64_t>(block) * values + i];
  if (value == n.window) {
    db[o] += sum;
  } else {
    dw[(o * n.cin + value % n.cin) * n.k + value / n.cin] += sum;
  }
}

/// Whether the convolution is of this kind, with the numbers of it.
template <typename T>
bool isNarrow(const ConvShape& s, const void* wide, Narrow& n) {
  const bool sequence = s.inH == 1 && s.outH == 1 && s.kH == 1 && s.padTop == 0 && s.groups == 1;
  if (!sequence || s.kW * s.cin > kMostWindow || s.cout % kOutputs != 0 || s.cout / kOutputs > kThreads ||
      s.strideW * s.cin > 64 || !fitsWide(static_cast<const T*>(wide), s.cout) || s.cout < 32) {
    return false;
  }
  n.cin = static_cast<int>(s.cin);
  n.k = static_cast<int>(s.kW);
  n.cout = static_cast<int>(s.cout);
  n.window = n.k * n.cin;
  n.step = static_cast<int>(s.strideW * s.cin);
  n.pad = static_cast<int>(s.padLeft * s.cin);
  n.inValues = s.inW * s.cin;
  n.times = s.outW;
  n.stretches = blocksFor(s.outW, kRows);
  n.lanes = n.cout / kOutputs;
  n.rows = kThreads / n.lanes;
  return true;
}

/// body(integer constant K): the least number of values per window that there are kernels for, >= window.
template <typename Body>
void forWindow(int window, const Body& body) {
  if (window <= 4) {
    body(std::integral_constant<int, 4>());
  } else if (window <= 10) {
    body(std::integral_constant<int, 10>());
  } else {
    body(std::integral_constant<int, kMostWindow>());
  }
}

}  // namespace

bool convNarrow(const ConvContext& context, const ConvShape& s, In x, In w, In bias, Out y) {
  bool narrow = false;
  forFloatType(x.dtype, [&](auto type) {
    using T = decltype(type);
    Narrow n{};
    narrow = isNarrow<T>(s, y.data, n) && s.batch * n.stretches <= INT32_MAX;
    if (!narrow) return;
    forWindow(n.window, [&](auto k) {
      n.staged = (kRows - 1) * n.step + k;
      launch(convWindows<T, k>, Grid{s.batch * n.stretches}, kThreads, static_cast<size_t>(n.staged) * sizeof(float),
             context.stream, n, static_cast<const T*>(x.data), static_cast<const T*>(w.data),
             static_cast<const T*>(bias.data), static_cast<T*>(y.data));
    });
  });
  return narrow;
}

bool gradWeightNarrow(const ConvContext& context, const ConvShape& s, In dy, In x, float* dw, float* db) {
  bool narrow = false;
  forFloatType(dy.dtype, [&](auto type) {
    using T = decltype(type);
    Narrow n{};
    narrow = isNarrow<T>(s, dy.data, n);
    if (!narrow) return;
    const int64_t items = s.batch * n.stretches;
    const int64_t perBlock = blocksFor(items, 2 * static_cast<int64_t>(context.device.multiprocessors));
    const int64_t blocks = blocksFor(items, perBlock);
    const int values = (n.window + 1) * n.cout;
    Workspace partial(context.memory, static_cast<size_t>(blocks * values) * sizeof(float));
    forWindow(n.window, [&](auto k) {
      n.staged = (kRows - 1) * n.step + k;
      launch(gradWindows<T, k>, Grid{blocks}, kThreads,
             (static_cast<size_t>(kThreads) * kOutputs + static_cast<size_t>(n.staged)) * sizeof(float),
             context.stream, n, static_cast<const T*>(dy.data), static_cast<const T*>(x.data), partial.floats(), items,
             perBlock);
    });
    launch(addWindows, Grid{blocksFor(values, kThreads)}, kThreads, 0, context.stream, n, partial.floats(),
           static_cast<int>(blocks), dw, db);
  });
  return narrow;
}

}  // namespace d2v::cuda
