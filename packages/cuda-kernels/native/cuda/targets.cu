// The running target acc += scale * norm(layer), and the spread of features.
//
// Bound by memory: 10 bytes per element in bf16 (layer 2, acc read and written 8), whichever the norm.
//   none       a warp per row
//   layer      a warp per row that holds it in registers (rows.h)
//   instance   a block per sample and tile of 64 columns (bf16) that holds all of its rows, up to 608, in registers
//              (column_tile.h): one pass over memory for mean, variance and result
//   batch      the same tiles per chunk of rows write mean and squared distances; a second kernel merges the chunks in f64,
//              in order; a third normalises. The layer is read twice: 12 bytes per element
// featureStd takes the first two steps of `batch`, over the rows that ids name: 2 bytes per element.
#include "column_tile.h"
#include "cuda_backend.h"
#include "launch.h"
#include "ordered_sum.h"

namespace d2v::cuda {

namespace {

constexpr int kRowThreads = 256, kRowsPerBlock = kRowThreads / kWarp;
constexpr int kMergeThreads = 1024;
constexpr int64_t kChunkRows = 256;

/// layer [samples, skip + t, d] beside acc [samples, t, d].
template <typename T>
struct Layer {
  float* acc;
  const T* x;
  int64_t rows, t, skip, d;  // rows = samples * t
  float factor, eps;
  D2V_DEVICE const T* row(int64_t i) const { return x + (i + (i / t + 1) * skip) * d; }
};

template <typename T>
D2V_DEVICE float scaleOf(const Layer<T>& a, float squares, int64_t count) {
  return a.factor / sqrtf(squares / static_cast<float>(count) + a.eps);
}

/// acc[at..] += (v - mean) * scale.
template <int N>
D2V_DEVICE void add(float* acc, const float (&v)[N], const float (&mean)[N], const float (&scale)[N]) {
  float sum[N];
  load(sum, acc);
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] = fmaf(v[i] - mean[i], scale[i], sum[i]);
  store(acc, sum);
}

/// Mean and scale [d] of the columns, or none: mean 0, scale `factor`.
template <typename T, int N>
D2V_KERNEL(kRowThreads)
accumulateRows(Layer<T> a, const float* means, const float* scales) {
  const int64_t row = static_cast<int64_t>(blockX()) * kRowsPerBlock + warp();
  if (row >= a.rows) return;
  const T* x = a.row(row);
  float* acc = a.acc + row * a.d;
#pragma unroll 4
  for (int64_t c = lane() * N; c < a.d; c += kWarp * N) {
    float v[N], mean[N], scale[N];
    load(v, x + c);
    if (means != nullptr) {
      load(mean, means + c);
      load(scale, scales + c);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        mean[i] = 0;
        scale[i] = a.factor;
      }
    }
    add(acc + c, v, mean, scale);
  }
}

template <typename T, int N, int Steps>
D2V_KERNEL(kRowThreads)
accumulateLayerNorm(Layer<T> a) {
  const int64_t row = static_cast<int64_t>(blockX()) * kRowsPerBlock + warp();
  if (row >= a.rows) return;
  const int d = static_cast<int>(a.d);
  float* acc = a.acc + row * d;
  float v[Steps][N], sum[Steps][N];
  loadRow(v, a.row(row), d);
  loadRow(sum, acc, d);
  float mean, squares;
  centreRow(v, d, mean, squares);
  const float scale = scaleOf(a, squares, d);
#pragma unroll
  for (int k = 0; k < Steps; ++k) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[k][i] = fmaf(v[k][i], scale, sum[k][i]);
  }
  storeRow(acc, sum, d);
}

/// Rows too long for registers: a block per row.
template <typename T>
D2V_KERNEL(kRowThreads)
accumulateLayerNormLong(Layer<T> a) {
  float* scratch = shared<float>();
  const int64_t row = blockX();
  const T* x = a.row(row);
  float* acc = a.acc + row * a.d;
  float sum = 0, square = 0;
  for (int64_t c = threadX(); c < a.d; c += kRowThreads) sum += toFloat(x[c]);
  const float mean = blockSum(sum, scratch) / static_cast<float>(a.d);
  for (int64_t c = threadX(); c < a.d; c += kRowThreads) {
    square = fmaf(toFloat(x[c]) - mean, toFloat(x[c]) - mean, square);
  }
  const float scale = scaleOf(a, blockSum(square, scratch), a.d);
  for (int64_t c = threadX(); c < a.d; c += kRowThreads) acc[c] = fmaf(toFloat(x[c]) - mean, scale, acc[c]);
}

/// Bounded as if blocks were twice as large, so that two of them fit on a multiprocessor: there may be few more than one each.
template <typename T, int N, int Held>
D2V_KERNEL(2 * kTileThreads)
accumulateInstanceNorm(Layer<T> a, int tiles) {
  const int64_t sample = blockX() / tiles;
  const T* x = a.x + (sample * (a.skip + a.t) + a.skip) * a.d;
  const auto at = [=](int64_t i) { return x + i * a.d; };
  const ColumnTile<T, N, Held> tile(blockX() % tiles, a.t, a.d, at);
  float mean[N], scale[N];
  tile.moments(at, a.t, shared<float>(), mean, scale);
#pragma unroll
  for (int i = 0; i < N; ++i) scale[i] = scaleOf(a, scale[i], a.t);
  float* acc = a.acc + sample * a.t * a.d + tile.column();
  tile.each(at, [&](int64_t i, const float(&v)[N]) { add(acc + i * a.d, v, mean, scale); });
}

/// Rows of a token-major tensor, in order: all of samples of `stride` rows after `skip`, or those that ids name.
template <typename T>
struct RowList {
  const T* x;
  const int32_t* ids;  // null: all
  int64_t count, each, copies, stride, skip, d;
  D2V_DEVICE const T* row(int64_t i) const {
    const int64_t list = i / each;
    return x + (list / copies * stride + skip + (ids == nullptr ? i - list * each : ids[i])) * d;
  }
  /// Rows of a chunk.
  D2V_BOTH int64_t rowsOf(int64_t chunk) const {
    const int64_t left = count - chunk * kChunkRows;
    return left < kChunkRows ? left : kChunkRows;
  }
};

/// moments[chunk] = means [d], squared distances [d] of the rows of the chunk.
template <typename T, int N, int Held>
D2V_KERNEL(kTileThreads)
chunkMoments(RowList<T> a, float* moments, int tiles) {
  const int64_t chunk = blockX() / tiles, begin = chunk * kChunkRows, rows = a.rowsOf(chunk);
  const auto at = [&](int64_t i) { return a.row(begin + i); };
  const ColumnTile<T, N, Held> tile(blockX() % tiles, rows, a.d, at);
  float mean[N], squares[N];
  tile.moments(at, rows, shared<float>(), mean, squares);
  if (!tile.leads()) return;
  float* to = moments + chunk * 2 * a.d + tile.column();
  store(to, mean);
  store(to + a.d, squares);
}

/// Sum over the block's warps of each lane's value, in every warp, in order.
D2V_DEVICE double laneSum(double value, double* scratch) {
  syncThreads();
  scratch[threadX()] = value;
  syncThreads();
  double sum = 0;
  for (int w = 0; w < kMergeThreads / kWarp; ++w) sum += scratch[w * kWarp + lane()];
  return sum;
}

/// Mean and sum of squared distances of a lane's column over all chunks, in every warp.
template <typename T>
D2V_DEVICE void mergeMoments(const RowList<T>& a, const float* moments, int64_t chunks, double& mean, double& squares) {
  double* scratch = shared<double>();
  const int64_t c = static_cast<int64_t>(blockX()) * kWarp + lane();
  const float* from = moments + (c < a.d ? c : 0);
  double sum = 0;
  for (int64_t k = warp(); k < chunks; k += kMergeThreads / kWarp) {
    sum += static_cast<double>(from[k * 2 * a.d]) * static_cast<double>(a.rowsOf(k));
  }
  mean = laneSum(sum, scratch) / static_cast<double>(a.count);
  sum = 0;
  for (int64_t k = warp(); k < chunks; k += kMergeThreads / kWarp) {
    const double off = static_cast<double>(from[k * 2 * a.d]) - mean;
    sum += static_cast<double>(from[k * 2 * a.d + a.d]) + off * off * static_cast<double>(a.rowsOf(k));
  }
  squares = laneSum(sum, scratch);
}

template <typename T>
D2V_KERNEL(kMergeThreads)
batchScales(RowList<T> a, const float* moments, int64_t chunks, float factor, float eps, float* means, float* scales) {
  const int64_t c = static_cast<int64_t>(blockX()) * kWarp + lane();
  double mean, squares;
  mergeMoments(a, moments, chunks, mean, squares);
  if (warp() != 0 || c >= a.d) return;
  means[c] = static_cast<float>(mean);
  scales[c] = factor / sqrtf(static_cast<float>(squares / static_cast<double>(a.count)) + eps);
}

/// parts[block] = sum of the standard deviations of its columns.
template <typename T>
D2V_KERNEL(kMergeThreads)
deviations(RowList<T> a, const float* moments, int64_t chunks, double* parts) {
  const int64_t c = static_cast<int64_t>(blockX()) * kWarp + lane();
  double mean, squares;
  mergeMoments(a, moments, chunks, mean, squares);
  if (warp() != 0) return;
  const double sum = warpSum(c < a.d ? sqrt(squares / static_cast<double>(a.count - 1) + 1e-6) : 0.0);
  if (lane() == 0) parts[blockX()] = sum;
}

/// Calls body(moments, chunks) after the moments of all chunks.
template <typename T, typename Body>
void withMoments(const RowList<T>& a, Allocator& memory, Stream stream, const Body& body) {
  const int64_t chunks = blocksFor(a.count, kChunkRows);
  const Workspace moments(memory, static_cast<size_t>(chunks * 2 * a.d) * sizeof(float));
  const auto start = [&](auto n, auto held) {
    const int tiles = static_cast<int>(blocksFor(a.d, kTileColumns<n()>));
    launch(chunkMoments<T, n(), held()>, Grid{chunks * tiles}, kTileThreads, kTileShared<n()>, stream, a,
           moments.floats(), tiles);
  };
  constexpr int wide = kWide<T>, held = kChunkRows / kTileRows<wide>;
  if (fitsWide(a.x, a.d)) {
    start(Constant<wide>(), Constant<held>());
  } else {
    start(Constant<1>(), Constant<0>());
  }
  body(static_cast<const float*>(moments.floats()), chunks);
}

constexpr size_t kMergeShared = kMergeThreads * sizeof(double);

template <typename T>
void accumulate(const Layer<T>& a, TargetNorm norm, Allocator& memory, Stream stream) {
  const bool wide = fitsWide(a.x, a.d) && fitsWide(a.acc, a.d);
  const Grid rows{blocksFor(a.rows, kRowsPerBlock)};
  const auto addRows = [&](const float* means, const float* scales) {
    launch(wide ? accumulateRows<T, kWide<T>> : accumulateRows<T, 1>, rows, kRowThreads, 0, stream, a, means, scales);
  };
  switch (norm) {
    case TargetNorm::None:
      addRows(nullptr, nullptr);
      return;
    case TargetNorm::Layer: {
      const bool held = forRowShape<T>(a.d, wide, [&](auto n, auto steps) {
        launch(accumulateLayerNorm<T, n(), steps()>, rows, kRowThreads, 0, stream, a);
      });
      if (held) return;
      launch(accumulateLayerNormLong<T>, Grid{a.rows}, kRowThreads, kRowsPerBlock * sizeof(float), stream, a);
      return;
    }
    case TargetNorm::Instance:
      forTileShape<T>(a.t, wide, [&](auto n, auto held) {
        const int tiles = static_cast<int>(blocksFor(a.d, kTileColumns<n()>));
        launch(accumulateInstanceNorm<T, n(), held()>, Grid{a.rows / a.t * tiles}, kTileThreads, kTileShared<n()>,
               stream, a, tiles);
      });
      return;
    case TargetNorm::Batch: {
      const RowList<T> list{a.x, nullptr, a.rows, a.t, 1, a.skip + a.t, a.skip, a.d};
      const int64_t padded = blocksFor(a.d, 4) * 4;  // keeps the scales on 16 bytes
      const Workspace scales(memory, static_cast<size_t>(2 * padded) * sizeof(float));
      withMoments(list, memory, stream, [&](const float* moments, int64_t chunks) {
        launch(batchScales<T>, Grid{blocksFor(a.d, kWarp)}, kMergeThreads, kMergeShared, stream, list, moments, chunks,
               a.factor, a.eps, scales.floats(), scales.floats() + padded);
      });
      addRows(scales.floats(), scales.floats() + padded);
      return;
    }
  }
}

}  // namespace

void CudaBackend::accumulateTarget(float* acc, In layer, int64_t b, int64_t t, int64_t d, int64_t skip, TargetNorm norm,
                                   double scale, double eps) {
  forFloatType(layer.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Layer<T> a{acc, typed<T>(layer, "accumulateTarget: layer"), b * t, t, skip, d, static_cast<float>(scale),
                     static_cast<float>(eps)};
    accumulate(a, norm, memory_, stream_);
  });
}

void CudaBackend::featureStd(In x, const int32_t* ids, int64_t b, int64_t t, int64_t rows, int64_t n, int64_t d,
                             double* result) {
  forFloatType(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const RowList<T> list{typed<T>(x, "featureStd: x"), ids, rows * n, n, rows / b, t, 0, d};
    const int64_t blocks = blocksFor(d, kWarp);
    const Workspace parts(memory_, static_cast<size_t>(blocks) * sizeof(double));
    withMoments(list, memory_, stream_, [&](const float* moments, int64_t chunks) {
      launch(deviations<T>, Grid{blocks}, kMergeThreads, kMergeShared, stream_, list, moments, chunks,
             parts.as<double>());
    });
    launchOrderedSum(result, parts.as<double>(), blocks, 1 / static_cast<double>(d), stream_);
  });
}

}  // namespace d2v::cuda
