// Passes over the operands and results of matrix products, and a plain product.
//
// The passes are bound by memory: per element they read the product (2 or 4 bytes) and write the result, and read or write
// the value before GELU. They move 16 bytes per thread where addresses and rows allow it.
//
// Column sums (bias gradients, where the library cannot add them up on the way): a block sums 64 rows of 32 x N columns,
// warp w its rows w, w + 8, ..., and leaves one row of partial sums; a second launch (columns.h) adds those in order. All of x is read
// once, at full rows of 16 bytes per lane.
//
// The plain product takes what the library refuses (bf16 at odd addresses, say): tiles of 64 x 64, 16 deep, in shared
// memory as f32, four rows and columns per thread; rows of 68 floats keep the columns of a tile in different banks.
#include "columns.h"
#include "gelu.h"
#include "gelu_tanh.h"
#include "gemm_passes.h"
#include "loops.h"
#include "vectors.h"

namespace d2v::cuda {

namespace {

template <typename T>
D2V_DEVICE float activation(float x) {
  if constexpr (sizeof(T) == 2) return geluTanh(x);
  else return gelu(x);
}
template <typename T>
D2V_DEVICE float activationSlope(float x) {
  if constexpr (sizeof(T) == 2) return geluTanhSlope(x);
  else return geluSlope(x);
}

template <typename T, int N>
D2V_KERNEL(kLoopThreads) finishKernel(T* y, T* pre, const T* bias, bool gelu, int64_t n, int64_t columns) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    float x[width];
    load(x, y + i);
    if (bias != nullptr) {
      float b[width];
      load(b, bias + i % columns);
#pragma unroll
      for (int j = 0; j < width; ++j) x[j] += b[j];
    }
    if (pre != nullptr) store(pre + i, x);
    if (gelu) {
#pragma unroll
      for (int j = 0; j < width; ++j) x[j] = activation<T>(x[j]);
    }
    store(y + i, x);
  });
}

template <typename T, int N>
D2V_KERNEL(kLoopThreads) slopeKernel(T* dx, const T* product, const T* pre, bool accumulate, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    float x[width], p[width];
    load(x, product + i);
    load(p, pre + i);
#pragma unroll
    for (int j = 0; j < width; ++j) x[j] *= activationSlope<T>(p[j]);
    if (accumulate) {
      load(p, dx + i);
#pragma unroll
      for (int j = 0; j < width; ++j) x[j] += p[j];
    }
    store(dx + i, x);
  });
}

constexpr int kRows = 64;  // per block of the column sums, or a multiple
constexpr int kWarps = 8;

/// partial[blockY, columns].
template <typename T, int N>
D2V_KERNEL(kWarps* kWarp) columnSumsKernel(const T* x, int64_t rows, int64_t columns, int64_t each, float* partial) {
  const int64_t column = (static_cast<int64_t>(blockX()) * kWarp + lane()) * N;
  const int64_t first = static_cast<int64_t>(blockY()) * each, rest = rows - first;
  const int count = static_cast<int>(rest < each ? rest : each);
  float sum[N] = {};
  if (column < columns) {
    for (int r = warp(); r < count; r += kWarps) {
      float value[N];
      load<N>(value, x + (first + r) * columns + column);
#pragma unroll
      for (int j = 0; j < N; ++j) sum[j] += value[j];
    }
  }
  float* sums = shared<float>();  // [warp][j][lane]: lanes in different banks
#pragma unroll
  for (int j = 0; j < N; ++j) sums[(warp() * N + j) * kWarp + lane()] = sum[j];
  syncThreads();
  if (warp() > 0 || column >= columns) return;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) total += sums[(w * N + j) * kWarp + lane()];
    partial[static_cast<int64_t>(blockY()) * columns + column + j] = total;
  }
}

constexpr int kThreads = 256;  // of the plain kernel, 4 x 4 elements of a tile each
constexpr int kTile = 64, kDepth = 16, kRow = kTile + 4;

template <typename TIn, typename TOut>
struct PlainArgs {
  const TIn* a;
  const TIn* b;
  TOut* c;
  int64_t m, n, k, strideA, strideB, strideC, stepA, stepB, stepC, tilesM, tilesN;
  bool transA, transB;
  float alpha, beta;
};

template <typename TIn, typename TOut>
D2V_KERNEL(kThreads) plainKernel(PlainArgs<TIn, TOut> p) {
  float* tileA = shared<float>();  // [kDepth][kRow], op(a) transposed
  float* tileB = tileA + kDepth * kRow;
  const int64_t tile = blockX(), item = tile / (p.tilesM * p.tilesN);
  const int64_t row0 = tile / p.tilesN % p.tilesM * kTile, column0 = tile % p.tilesN * kTile;
  const TIn* a = p.a + item * p.strideA;
  const TIn* b = p.b + item * p.strideB;
  const int x = threadX() % 16 * 4, y = threadX() / 16 * 4;
  float sum[4][4] = {};
  for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
    for (int i = threadX(); i < kTile * kDepth; i += kThreads) {
      // Neighbouring threads read neighbouring addresses.
      const int ra = p.transA ? i % kTile : i / kDepth, ka = p.transA ? i / kTile : i % kDepth;
      const int64_t row = row0 + ra, depthA = k0 + ka;
      const bool insideA = row < p.m && depthA < p.k;
      tileA[ka * kRow + ra] = insideA ? toFloat(a[p.transA ? depthA * p.stepA + row : row * p.stepA + depthA]) : 0.0f;
      const int cb = p.transB ? i / kDepth : i % kTile, kb = p.transB ? i % kDepth : i / kTile;
      const int64_t column = column0 + cb, depthB = k0 + kb;
      const bool insideB = column < p.n && depthB < p.k;
      tileB[kb * kRow + cb] = insideB ? toFloat(b[p.transB ? column * p.stepB + depthB : depthB * p.stepB + column]) : 0.0f;
    }
    syncThreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      const auto va = *reinterpret_cast<const Vec<float, 4>*>(tileA + k * kRow + y);
      const auto vb = *reinterpret_cast<const Vec<float, 4>*>(tileB + k * kRow + x);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] = fmaf(va[i], vb[j], sum[i][j]);
      }
    }
    syncThreads();
  }
  TOut* c = p.c + item * p.strideC;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t row = row0 + y + i, column = column0 + x + j;
      if (row >= p.m || column >= p.n) continue;
      TOut* target = c + row * p.stepC + column;
      const float product = p.alpha * sum[i][j];
      *target = fromFloat<TOut>(p.beta == 0.0f ? product : fmaf(p.beta, toFloat(*target), product));
    }
  }
}

template <typename TIn, typename TOut>
void launchPlain(const GemmProblem& p, Stream stream) {
  PlainArgs<TIn, TOut> args{};
  args.a = static_cast<const TIn*>(p.a), args.b = static_cast<const TIn*>(p.b), args.c = static_cast<TOut*>(p.c);
  args.m = p.m, args.n = p.n, args.k = p.k;
  args.strideA = p.strideA, args.strideB = p.strideB, args.strideC = p.strideC;
  args.stepA = p.stepA(), args.stepB = p.stepB(), args.stepC = p.stepC();
  args.tilesM = blocksFor(p.m, kTile), args.tilesN = blocksFor(p.n, kTile);
  args.transA = p.transA, args.transB = p.transB, args.alpha = p.alpha, args.beta = p.beta;
  launch(plainKernel<TIn, TOut>, {args.tilesM * args.tilesN * p.batch}, kThreads, 2 * kDepth * kRow * sizeof(float),
         stream, args);
}

/// Rows per block of the column sums: so many that the grid's y is enough.
int64_t rowsEach(int64_t rows) { return kRows * blocksFor(rows, kRows * int64_t{65535}); }

}  // namespace

void finishLinear(DType type, void* y, void* pre, const void* bias, bool gelu, int64_t rows, int64_t columns,
                  const DeviceProperties& device, Stream stream) {
  forFloatType(type, [&](auto kind) {
    using T = decltype(kind);
    auto* to = static_cast<T*>(y);
    auto* before = static_cast<T*>(pre);
    const auto* add = static_cast<const T*>(bias);
    const bool wide = fitsWide(to, columns) && fitsWide(before, columns) && fitsWide(add, columns);
    const int64_t n = rows * columns;
    const auto kernel = wide ? finishKernel<T, kWide<T>> : finishKernel<T, 1>;
    launch(kernel, loopGrid(wide ? n / kWide<T> : n, device), kLoopThreads, 0, stream, to, before, add, gelu, n, columns);
  });
}

void multiplyGeluSlope(DType type, void* dx, const void* product, const void* pre, bool accumulate, int64_t n,
                       const DeviceProperties& device, Stream stream) {
  forFloatType(type, [&](auto kind) {
    using T = decltype(kind);
    auto* to = static_cast<T*>(dx);
    const auto* from = static_cast<const T*>(product);
    const auto* before = static_cast<const T*>(pre);
    const bool wide = fitsWide(to, n) && fitsWide(from, n) && fitsWide(before, n);
    const auto kernel = wide ? slopeKernel<T, kWide<T>> : slopeKernel<T, 1>;
    launch(kernel, loopGrid(wide ? n / kWide<T> : n, device), kLoopThreads, 0, stream, to, from, before, accumulate, n);
  });
}

int64_t allRowsScratch(int64_t rows, int64_t columns) { return blocksFor(rows, rowsEach(rows)) * columns; }

void addAllRows(DType type, const void* x, int64_t rows, int64_t columns, float* scratch, float* sums,
                   Stream stream) {
  const int64_t each = rowsEach(rows), parts = blocksFor(rows, each);
  forFloatType(type, [&](auto kind) {
    using T = decltype(kind);
    const auto* from = static_cast<const T*>(x);
    const bool wide = fitsWide(from, columns);
    const int64_t neighbours = wide ? kWide<T> : 1;
    const auto kernel = wide ? columnSumsKernel<T, kWide<T>> : columnSumsKernel<T, 1>;
    launch(kernel, {blocksFor(columns, kWarp * neighbours), parts}, kWarps * kWarp,
           static_cast<size_t>(kWarps * kWarp * neighbours) * sizeof(float), stream, from, rows, columns, each, scratch);
  });
  addSums(scratch, sums, parts, columns, stream);
}

void addSums(const float* rows, float* sums, int64_t count, int64_t columns, Stream stream) {
  launchColumnSums<float>(sums, nullptr, columns, rows, count, columns, columns, stream);
}

void multiplyPlainly(const GemmProblem& p, Stream stream) {
  if (p.in == DType::F32) return launchPlain<float, float>(p, stream);
  if (p.out == DType::F32) return launchPlain<Bf16, float>(p, stream);
  launchPlain<Bf16, Bf16>(p, stream);
}

}  // namespace d2v::cuda
