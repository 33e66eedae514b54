// Sums and means.
//
// Sums of everything: each block sums its pieces in f64 and writes one number, a second launch adds those: 4 (bf16: 2)
// bytes read per element, and nothing depends on which block ends first. The grid is a function of the size and the GPU.
//
// Sums over rows (sumTo, meanTokens): a block takes 32 pieces side by side (512 bytes of a row) and 8 rows at once; the 8
// sums are combined in shared memory, in order. Many rows are divided among blocks, whose sums are the rows of a second
// pass. Between two warps that read neighbouring rows nothing is shared, so the order of additions is fixed by the shape.
#include "cuda_backend.h"
#include "operands.h"

namespace d2v::cuda {

namespace {

// --- sums of everything

/// parts[block] = the block's share of the sum.
template <typename T, int N, bool Squares>
D2V_KERNEL(kLoopThreads) sumKernel(const T* x, int64_t n, double* parts) {
  double sums[N] = {};
  forPieces<N>(n, [&](int64_t i, auto width) {
    float v[width];
    load(v, x + i);
#pragma unroll
    for (int e = 0; e < width; ++e) {
      const double value = static_cast<double>(v[e]);
      sums[e] += Squares ? value * value : value;
    }
  });
  double sum = 0;
#pragma unroll
  for (double s : sums) sum += s;
  sum = blockSum(sum, shared<double>());
  if (threadX() == 0) parts[blockX()] = sum;
}

/// One block.
D2V_KERNEL(kLoopThreads) sumPartsKernel(const double* parts, int64_t count, double* result) {
  double sum = 0;
  for (int64_t i = threadX(); i < count; i += threadCount()) sum += parts[i];
  sum = blockSum(sum, shared<double>());
  if (threadX() == 0) *result = sum;
}

template <typename T>
D2V_KERNEL(kWarp) roundKernel(const double* from, T* to) {
  if (threadX() == 0) *to = fromFloat<T>(static_cast<float>(*from));
}

constexpr size_t kSumScratch = kLoopThreads / kWarp * sizeof(double);

template <bool Squares>
void sumOf(In x, int64_t n, double* result, Allocator& memory, const DeviceProperties& device, Stream stream) {
  withPieces(x.dtype, {x.data}, 0, [&](auto zero, auto width) {
    using T = decltype(zero);
    const Grid grid = loopGrid(n / width, device);
    const Workspace parts(memory, static_cast<size_t>(grid.x) * sizeof(double));
    double* sums = grid.x == 1 ? result : parts.as<double>();
    launch(sumKernel<T, width, Squares>, grid, kLoopThreads, kSumScratch, stream, as<T>(x), n, sums);
    if (grid.x == 1) return;
    launch(sumPartsKernel, Grid{1}, kLoopThreads, kSumScratch, stream, sums, grid.x, result);
  });
}

// --- sums over rows

constexpr int kTile = kWarp;  // pieces side by side
constexpr int kSide = kLoopThreads / kWarp;  // rows at once

/// Matrices of `rows` rows of `width` pieces, of which rows [skip, rows) are summed, `each` by a block.
struct ColumnSums {
  int64_t rows, width, skip, each;
  float factor;
};

/// y[z, part] = factor * sum of the part's rows of matrix z; blocks are (tile of columns) + tiles * z, part.
template <typename T, typename To, int N>
D2V_KERNEL(kLoopThreads) columnSumsKernel(const T* x, To* y, ColumnSums s) {
  const int64_t tiles = (s.width + kTile - 1) / kTile, z = blockX() / tiles;
  const int64_t piece = blockX() % tiles * kTile + lane();
  const int64_t begin = s.skip + blockY() * s.each;
  const int64_t end = begin + s.each < s.rows ? begin + s.each : s.rows;
  float sums[N] = {};
  if (piece < s.width) {
    const T* from = x + (z * s.rows * s.width + piece) * N;
#pragma unroll 4
    for (int64_t row = begin + warp(); row < end; row += kSide) {
      float v[N];
      load(v, from + row * s.width * N);
#pragma unroll
      for (int e = 0; e < N; ++e) sums[e] += v[e];
    }
  }
  // [side][element][lane]: no two lanes meet in a bank.
  float* scratch = shared<float>();
#pragma unroll
  for (int e = 0; e < N; ++e) scratch[(warp() * N + e) * kTile + lane()] = sums[e];
  syncThreads();
  if (warp() != 0 || piece >= s.width) return;
#pragma unroll
  for (int e = 0; e < N; ++e) {
    float total = 0;
    for (int side = 0; side < kSide; ++side) total += scratch[(side * N + e) * kTile + lane()];
    sums[e] = s.factor * total;
  }
  store(y + ((z * gridY() + blockY()) * s.width + piece) * N, sums);
}
template <int N>
constexpr size_t kColumnScratch = kLoopThreads * N * sizeof(float);

/// Pieces of `each` rows that give every block of a sum over rows enough to do, and the GPU enough blocks.
int64_t rowsPerPart(int64_t rows, int64_t tiles, const DeviceProperties& device) {
  constexpr int64_t kLeast = 8 * kSide;
  const int64_t parts = blocksFor(static_cast<int64_t>(device.multiprocessors) * 4, tiles);
  const int64_t each = blocksFor(rows, parts);
  return each < kLeast ? kLeast : each;
}

// --- the mean's gradient

/// dx[z, row, :] = dy[z, :] * factor, 0 for the rows before `skip`. `layers`: the grid's z.
template <typename T, int N>
D2V_KERNEL(kLoopThreads)
spreadKernel(const T* dy, T* dx, int64_t batch, int64_t layers, int64_t rows, int64_t skip, float factor, RowLoop loop) {
  const RowPlace place = rowPlace(loop);
  if (place.piece < 0) return;
  for (int64_t z = blockZ(); z < batch; z += layers) {
    float g[N], zeros[N] = {};
    load(g, dy + (z * loop.width + place.piece) * N);
#pragma unroll
    for (float& e : g) e *= factor;
    for (int64_t row = place.row; row < rows; row += place.step) {
      T* to = dx + ((z * rows + row) * loop.width + place.piece) * N;
      if (row < skip) store(to, zeros);
      else store(to, g);
    }
  }
}

}  // namespace

void CudaBackend::sum(In x, int64_t n, double* result) { sumOf<false>(x, n, result, memory_, properties_, stream_); }

void CudaBackend::sumSquares(In x, int64_t n, double* result) {
  sumOf<true>(x, n, result, memory_, properties_, stream_);
}

void CudaBackend::sumTo(In x, Out y, int64_t outer, int64_t inner) {
  if (inner == 1) {
    const Workspace total(memory_, sizeof(double));
    sum(x, outer, total.as<double>());
    forFloatType(y.dtype, [&](auto zero) {
      using T = decltype(zero);
      launch(roundKernel<T>, Grid{1}, kWarp, 0, stream_, total.as<double>(), as<T>(y));
    });
    return;
  }
  withPieces(x.dtype, {x.data, y.data}, inner, [&](auto zero, auto width) {
    using T = decltype(zero);
    const int64_t pieces = inner / width, tiles = blocksFor(pieces, kTile);
    const int64_t each = rowsPerPart(outer, tiles, properties_), parts = blocksFor(outer, each);
    const ColumnSums first{outer, pieces, 0, each, 1.0f};
    if (parts == 1) {
      launch(columnSumsKernel<T, T, width>, Grid{tiles}, kLoopThreads, kColumnScratch<width>, stream_, as<T>(x), as<T>(y),
             first);
      return;
    }
    const Workspace partial(memory_, static_cast<size_t>(parts * inner) * sizeof(float));
    launch(columnSumsKernel<T, float, width>, Grid{tiles, parts}, kLoopThreads, kColumnScratch<width>, stream_, as<T>(x),
           partial.floats(), first);
    const ColumnSums second{parts, pieces, 0, parts, 1.0f};
    launch(columnSumsKernel<float, T, width>, Grid{tiles}, kLoopThreads, kColumnScratch<width>, stream_,
           partial.floats(), as<T>(y), second);
  });
}

void CudaBackend::meanTokens(In x, Out y, int64_t b, int64_t t, int64_t d, int64_t skip) {
  withPieces(x.dtype, {x.data, y.data}, d, [&](auto zero, auto width) {
    using T = decltype(zero);
    const ColumnSums s{t, d / width, skip, t - skip, static_cast<float>(1.0 / static_cast<double>(t - skip))};
    launch(columnSumsKernel<T, T, width>, Grid{blocksFor(s.width, kTile) * b}, kLoopThreads, kColumnScratch<width>,
           stream_, as<T>(x), as<T>(y), s);
  });
}

void CudaBackend::meanTokensBackward(In dy, Out dx, int64_t b, int64_t t, int64_t d, int64_t skip) {
  const float factor = static_cast<float>(1.0 / static_cast<double>(t - skip));
  withPieces(dy.dtype, {dy.data, dx.data}, d, [&](auto zero, auto width) {
    using T = decltype(zero);
    const RowLoop loop = rowLoop(d / width);
    const int64_t z = b < kMostGridY ? b : kMostGridY;
    launch(spreadKernel<T, width>, rowGrid(loop, t, properties_, z), kLoopThreads, 0, stream_, as<T>(dy), as<T>(dx), b, z,
           t, skip, factor, loop);
  });
}

}  // namespace d2v::cuda
