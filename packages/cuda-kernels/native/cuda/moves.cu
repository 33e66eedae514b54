// Repeating, slicing, joining and transposing. All of it moves memory: each element is read and written once.
//
// transpose first drops dimensions of one element and joins neighbours that stay neighbours. If what is contiguous in x
// stays so in y, rows are copied (copy_rows.h). Else the two dimensions that are contiguous in x and in y are exchanged by
// square tiles in shared memory, so that both sides are accessed along their rows. Rows of a tile are padded to an odd
// number of words: its columns lie in different banks.
#include <algorithm>

#include "copy_rows.h"
#include "cuda_backend.h"
#include "vectors.h"

namespace d2v::cuda {

namespace {

constexpr int kMoveThreads = 256, kMostAxes = 8;

struct RepeatMap {
  const char* x;
  char* y;
  int64_t times, rowBytes;
  D2V_DEVICE const char* source(int64_t i) const { return x + i / times * rowBytes; }
  D2V_DEVICE char* target(int64_t i) const { return y + i * rowBytes; }
};

struct SlabMap {
  const char* from;
  char* to;
  int64_t fromStep, toStep;
  D2V_DEVICE const char* source(int64_t i) const { return from + i * fromStep; }
  D2V_DEVICE char* target(int64_t i) const { return to + i * toStep; }
};

/// dx[b] = sum of dy[b * times .. + times); a thread per piece.
template <typename T, int N>
D2V_KERNEL(kMoveThreads)
sumCopies(const T* dy, T* dx, int64_t pieces, int64_t times, int64_t inner) {
  const int64_t piece = static_cast<int64_t>(blockX()) * kMoveThreads + threadX();
  if (piece >= pieces) return;
  const int64_t row = piece / (inner / N), at = (piece - row * (inner / N)) * N;
  const T* from = dy + row * times * inner + at;
  float sum[N] = {};
#pragma unroll 4
  for (int64_t m = 0; m < times; ++m) {
    float v[N];
    load(v, from + m * inner);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += v[i];
  }
  store(dx + row * inner + at, sum);
}

/// Dimensions that are walked element by element: their sizes, and steps in x and y in elements.
struct Axes {
  int rank = 0;
  int64_t size[kMostAxes] = {}, from[kMostAxes] = {}, to[kMostAxes] = {};
  /// Where element `index` (last axis fastest) is in x and in y.
  D2V_DEVICE void locate(int64_t index, int64_t& x, int64_t& y) const {
    x = y = 0;
    for (int i = rank - 1; i >= 0; --i) {
      const int64_t rest = index / size[i], at = index - rest * size[i];
      x += at * from[i];
      y += at * to[i];
      index = rest;
    }
  }
};

struct AxesMap {
  const char* x;
  char* y;
  Axes axes;
  int64_t elementSize;
  D2V_DEVICE const char* source(int64_t i) const {
    int64_t from, to;
    axes.locate(i, from, to);
    return x + from * elementSize;
  }
  D2V_DEVICE char* target(int64_t i) const {
    int64_t from, to;
    axes.locate(i, from, to);
    return y + to * elementSize;
  }
};

/// One exchange: x[i * stepI + j] -> y[j * stepJ + i], for every element of `outer`.
struct Exchange {
  Axes outer;
  int64_t sizeI, sizeJ, stepI, stepJ, tilesI, tilesJ;
};

template <typename E>
constexpr int kTileSide = sizeof(E) < 4 ? 64 : 32;
template <typename E>
constexpr int kTilePitch = kTileSide<E> + (sizeof(E) < 4 ? static_cast<int>(4 / sizeof(E)) : 1);

template <typename E>
D2V_KERNEL(kMoveThreads)
exchangeTiles(const E* x, E* y, Exchange a) {
  constexpr int side = kTileSide<E>, pitch = kTilePitch<E>, warps = kMoveThreads / kWarp;
  E* tile = shared<E>();
  const int64_t j0 = blockX() % a.tilesJ * side, rest = blockX() / a.tilesJ, i0 = rest % a.tilesI * side;
  int64_t from, to;
  a.outer.locate(rest / a.tilesI, from, to);
#pragma unroll 4
  for (int r = warp(); r < side; r += warps) {
    for (int c = lane(); c < side; c += kWarp) {
      if (i0 + r < a.sizeI && j0 + c < a.sizeJ) tile[r * pitch + c] = x[from + (i0 + r) * a.stepI + j0 + c];
    }
  }
  syncThreads();
#pragma unroll 4
  for (int r = warp(); r < side; r += warps) {
    for (int c = lane(); c < side; c += kWarp) {
      if (j0 + r < a.sizeJ && i0 + c < a.sizeI) y[to + (j0 + r) * a.stepJ + i0 + c] = tile[c * pitch + r];
    }
  }
}

/// The axes of y = permuted x in the order of y, without those of size 1, neighbours joined.
Axes axesOf(int rank, const int64_t* shape, const int* perm) {
  int64_t steps[kMostAxes];
  int64_t step = 1;
  for (int i = rank - 1; i >= 0; --i) {
    steps[i] = step;
    step *= shape[i];
  }
  Axes a;
  for (int i = 0; i < rank; ++i) {
    const int64_t size = shape[perm[i]], from = steps[perm[i]];
    if (size == 1) continue;
    if (a.rank > 0 && a.from[a.rank - 1] == size * from) {
      a.size[a.rank - 1] *= size;
      a.from[a.rank - 1] = from;
    } else {
      a.size[a.rank] = size;
      a.from[a.rank] = from;
      ++a.rank;
    }
  }
  step = 1;
  for (int i = a.rank - 1; i >= 0; --i) {
    a.to[i] = step;
    step *= a.size[i];
  }
  return a;
}

int64_t elementsOf(const Axes& a) {
  int64_t n = 1;
  for (int i = 0; i < a.rank; ++i) n *= a.size[i];
  return n;
}

/// Takes an axis out.
void remove(Axes& a, int axis) {
  for (int i = axis; i + 1 < std::min(a.rank, kMostAxes); ++i) {  // a.rank is never more, but compilers cannot know
    a.size[i] = a.size[i + 1];
    a.from[i] = a.from[i + 1];
    a.to[i] = a.to[i + 1];
  }
  --a.rank;
}

template <typename E>
void exchange(const void* x, void* y, const Axes& axes, Stream stream) {
  constexpr int side = kTileSide<E>;
  const int i = axes.rank - 1;
  int j = 0;
  while (axes.from[j] != 1) ++j;
  Exchange e{axes, axes.size[i], axes.size[j], axes.from[i], axes.to[j], 0, 0};
  e.tilesI = blocksFor(e.sizeI, side);
  e.tilesJ = blocksFor(e.sizeJ, side);
  remove(e.outer, i);
  remove(e.outer, j);
  launch(exchangeTiles<E>, Grid{elementsOf(e.outer) * e.tilesI * e.tilesJ}, kMoveThreads,
         static_cast<size_t>(side * kTilePitch<E>) * sizeof(E), stream, static_cast<const E*>(x), static_cast<E*>(y), e);
}

}  // namespace

void CudaBackend::repeatRows(In x, Out y, int64_t b, int64_t times, int64_t inner) {
  const int64_t rowBytes = inner * static_cast<int64_t>(sizeOf(x.dtype));
  const RepeatMap map{static_cast<const char*>(x.data), static_cast<char*>(y.data), times, rowBytes};
  copyRows(map, b * times, rowBytes, {}, {x.data, y.data}, stream_);
}

void CudaBackend::repeatRowsBackward(In dy, Out dx, int64_t b, int64_t times, int64_t inner) {
  forFloatType(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = typed<T>(dy, "repeatRowsBackward: dy");
    T* to = typed<T>(dx, "repeatRowsBackward: dx");
    const bool wide = fitsWide(from, inner) && fitsWide(to, inner);
    const int64_t pieces = b * (wide ? inner / kWide<T> : inner);
    launch(wide ? sumCopies<T, kWide<T>> : sumCopies<T, 1>, Grid{blocksFor(pieces, kMoveThreads)}, kMoveThreads, 0,
           stream_, from, to, pieces, times, inner);
  });
}

void CudaBackend::copySlab(const void* src, void* dst, int64_t outer, int64_t srcDim, int64_t srcStart, int64_t dstDim,
                           int64_t dstStart, int64_t len, int64_t innerBytes) {
  const SlabMap map{static_cast<const char*>(src) + srcStart * innerBytes,
                    static_cast<char*>(dst) + dstStart * innerBytes, srcDim * innerBytes, dstDim * innerBytes};
  copyRows(map, outer, len * innerBytes, {outer > 1 ? map.fromStep : 0, outer > 1 ? map.toStep : 0},
           {map.from, map.to}, stream_);
}

void CudaBackend::transpose(const void* x, void* y, size_t elementSize, int rank, const int64_t* shape,
                            const int* perm) {
  Axes axes = axesOf(rank, shape, perm);
  const auto size = static_cast<int64_t>(elementSize);
  if (axes.rank > 1 && axes.from[axes.rank - 1] != 1) {
    switch (elementSize) {
      case 1:
        return exchange<uint8_t>(x, y, axes, stream_);
      case 2:
        return exchange<uint16_t>(x, y, axes, stream_);
      case 4:
        return exchange<uint32_t>(x, y, axes, stream_);
      default:
        return exchange<uint64_t>(x, y, axes, stream_);
    }
  }
  const int64_t rowBytes = axes.rank > 0 ? axes.size[axes.rank - 1] * size : size;
  if (axes.rank > 0) remove(axes, axes.rank - 1);
  // All steps are multiples of a row of y, and those in x of the row too: it is contiguous there.
  const AxesMap map{static_cast<const char*>(x), static_cast<char*>(y), axes, size};
  copyRows(map, elementsOf(axes), rowBytes, {}, {x, y}, stream_);
}

}  // namespace d2v::cuda
