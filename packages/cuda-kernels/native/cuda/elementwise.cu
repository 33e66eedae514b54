// Unary and binary ops, scaling, softmax.
//
// All of it is bound by memory: every operand is read or written once (bf16: 4 bytes per element for unary ops, 6 for
// gradients and sums), in pieces of 16 bytes where the addresses allow it (vectors.h, loops.h). Arithmetic is in f32.
// Softmax reads its rows twice: once for maximum and sum together (the sum is rescaled when the maximum grows), once to
// write; the second time they come from a cache. A warp takes a row, or a block where rows are long.
#include <type_traits>

#include "cuda_backend.h"
#include "gelu.h"
#include "operands.h"

namespace d2v::cuda {

namespace {

// --- unary

template <Unary Op>
D2V_DEVICE float apply(float x) {
  if constexpr (Op == Unary::Gelu) return gelu(x);
  if constexpr (Op == Unary::Relu) return x < 0.0f ? 0.0f : x;
  if constexpr (Op == Unary::Tanh) return tanhf(x);
  if constexpr (Op == Unary::Sigmoid) {
    const float e = expf(-fabsf(x)), s = 1.0f / (1.0f + e);
    return x >= 0.0f ? s : e * s;
  }
  if constexpr (Op == Unary::Exp) return expf(x);
  if constexpr (Op == Unary::Log) return logf(x);
  if constexpr (Op == Unary::Sqrt) return sqrtf(x);
  if constexpr (Op == Unary::Square) return x * x;
}

/// Whether the slope of an op is a function of its result (else of its operand).
constexpr bool slopeFromResult(Unary op) {
  return op == Unary::Tanh || op == Unary::Sigmoid || op == Unary::Exp || op == Unary::Sqrt;
}

/// The slope, from the result y or the operand x, whichever slopeFromResult says.
template <Unary Op>
D2V_DEVICE float slope(float v) {
  if constexpr (Op == Unary::Gelu) return geluSlope(v);
  if constexpr (Op == Unary::Relu) return v <= 0.0f ? 0.0f : 1.0f;
  if constexpr (Op == Unary::Tanh) return 1.0f - v * v;
  if constexpr (Op == Unary::Sigmoid) return v * (1.0f - v);
  if constexpr (Op == Unary::Exp) return v;
  if constexpr (Op == Unary::Log) return 1.0f / v;
  if constexpr (Op == Unary::Sqrt) return 0.5f / v;
  if constexpr (Op == Unary::Square) return v + v;
}

template <typename T, int N, Unary Op>
D2V_KERNEL(kLoopThreads) unaryKernel(const T* x, T* y, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    float v[width];
    load(v, x + i);
#pragma unroll
    for (float& e : v) e = apply<Op>(e);
    store(y + i, v);
  });
}

/// `from`: what the slope is computed from.
template <typename T, int N, Unary Op>
D2V_KERNEL(kLoopThreads) unaryBackwardKernel(const T* dy, const T* from, T* dx, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    float g[width], v[width];
    load(g, dy + i);
    load(v, from + i);
#pragma unroll
    for (int e = 0; e < width; ++e) g[e] *= slope<Op>(v[e]);
    store(dx + i, g);
  });
}

template <typename Body>
void withUnary(Unary op, const Body& body) {
  switch (op) {
    case Unary::Gelu:
      return body(std::integral_constant<Unary, Unary::Gelu>());
    case Unary::Relu:
      return body(std::integral_constant<Unary, Unary::Relu>());
    case Unary::Tanh:
      return body(std::integral_constant<Unary, Unary::Tanh>());
    case Unary::Sigmoid:
      return body(std::integral_constant<Unary, Unary::Sigmoid>());
    case Unary::Exp:
      return body(std::integral_constant<Unary, Unary::Exp>());
    case Unary::Log:
      return body(std::integral_constant<Unary, Unary::Log>());
    case Unary::Sqrt:
      return body(std::integral_constant<Unary, Unary::Sqrt>());
    case Unary::Square:
      return body(std::integral_constant<Unary, Unary::Square>());
  }
}

// --- binary

template <Binary Op>
D2V_DEVICE float apply(float a, float b) {
  if constexpr (Op == Binary::Add) return a + b;
  if constexpr (Op == Binary::Sub) return a - b;
  if constexpr (Op == Binary::Mul) return a * b;
}

/// y = a op b, both whole, or b one element.
template <typename T, int N, Binary Op, bool OneB>
D2V_KERNEL(kLoopThreads) binaryKernel(const T* a, const T* b, T* y, int64_t n) {
  const float one = OneB ? toFloat(*b) : 0.0f;
  forPieces<N>(n, [&](int64_t i, auto width) {
    float p[width], q[width];
    load(p, a + i);
    if constexpr (!OneB) load(q, b + i);
#pragma unroll
    for (int e = 0; e < width; ++e) p[e] = apply<Op>(p[e], OneB ? one : q[e]);
    store(y + i, p);
  });
}

/// y[outer,inner] = a[outer,inner] op b[inner]; a thread keeps its part of b.
template <typename T, int N, Binary Op>
D2V_KERNEL(kLoopThreads) binaryRowsKernel(const T* a, const T* b, T* y, int64_t outer, RowLoop loop) {
  const RowPlace place = rowPlace(loop);
  if (place.piece < 0) return;
  float q[N];
  load(q, b + place.piece * N);
  for (int64_t row = place.row; row < outer; row += place.step) {
    const int64_t i = (row * loop.width + place.piece) * N;
    float p[N];
    load(p, a + i);
#pragma unroll
    for (int e = 0; e < N; ++e) p[e] = apply<Op>(p[e], q[e]);
    store(y + i, p);
  }
}

template <typename Body>
void withBinary(Binary op, const Body& body) {
  switch (op) {
    case Binary::Add:
      return body(std::integral_constant<Binary, Binary::Add>());
    case Binary::Sub:
      return body(std::integral_constant<Binary, Binary::Sub>());
    case Binary::Mul:
      return body(std::integral_constant<Binary, Binary::Mul>());
  }
}

// --- scaling

/// y = alpha x, or y += alpha x.
template <typename T, int N, bool Accumulate>
D2V_KERNEL(kLoopThreads) scaleKernel(const T* x, float alpha, T* y, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    float v[width], sum[width];
    load(v, x + i);
    if constexpr (Accumulate) load(sum, y + i);
#pragma unroll
    for (int e = 0; e < width; ++e) v[e] = Accumulate ? fmaf(alpha, v[e], sum[e]) : alpha * v[e];
    store(y + i, v);
  });
}

template <typename T, int N>
D2V_KERNEL(kLoopThreads) scaleRowsKernel(const T* x, const float* s, T* y, int64_t rows, RowLoop loop) {
  const RowPlace place = rowPlace(loop);
  if (place.piece < 0) return;
  for (int64_t row = place.row; row < rows; row += place.step) {
    const int64_t i = (row * loop.width + place.piece) * N;
    const float factor = s[row];
    float v[N];
    load(v, x + i);
#pragma unroll
    for (float& e : v) e *= factor;
    store(y + i, v);
  }
}

// --- softmax

/// Threads of a block, and the length of a row from which on it takes all of them.
constexpr int kRowThreads = 256;
constexpr int64_t kLongRow = 4096;
constexpr int kRowWarps = kRowThreads / kWarp;
/// Lower than any logarithm of a probability; finite, so that differences with it are no NaN.
constexpr float kLowest = -3.4028234e38f;

/// The row of this thread, -1 if there is none, and its place among those that share the row. Whole: the block has one row.
template <bool Whole>
struct RowOfThread {
  int64_t row;
  int first, step;
  D2V_DEVICE explicit RowOfThread(int64_t rows)
      : row(Whole ? static_cast<int64_t>(blockX()) : static_cast<int64_t>(blockX()) * kRowWarps + warp()),
        first(Whole ? threadX() : lane()),
        step(Whole ? kRowThreads : kWarp) {
    if (row >= rows) row = -1;
  }
};

/// Maximum of a row and the sum of exp(x - maximum), in every thread of it.
struct Normaliser {
  float most, sum;
};
D2V_DEVICE Normaliser combine(Normaliser a, Normaliser b) {
  const float most = fmaxf(a.most, b.most);
  return {most, a.sum * expf(a.most - most) + b.sum * expf(b.most - most)};
}
D2V_DEVICE Normaliser combineWarp(Normaliser n) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    // Both lanes of a pair must get the same bits: the lower lane's value comes first.
    const Normaliser other = {shuffleXor(n.most, mask), shuffleXor(n.sum, mask)};
    n = (lane() & mask) == 0 ? combine(n, other) : combine(other, n);
  }
  return n;
}

template <typename T, int N, bool Whole>
D2V_DEVICE Normaliser normaliserOf(const T* x, int64_t d, RowOfThread<Whole> place) {
  Normaliser n = {kLowest, 0.0f};
  for (int64_t i = place.first; i < d / N; i += place.step) {
    float v[N];
    load(v, x + i * N);
    float most = n.most;
#pragma unroll
    for (float e : v) most = fmaxf(most, e);
    n.sum *= expf(n.most - most);
    n.most = most;
#pragma unroll
    for (float e : v) n.sum += expf(e - most);
  }
  n = combineWarp(n);
  if constexpr (Whole) {
    float* scratch = shared<float>();
    if (lane() == 0) {
      scratch[2 * warp()] = n.most;
      scratch[2 * warp() + 1] = n.sum;
    }
    syncThreads();
    const bool mine = lane() < kRowWarps;
    n = combineWarp({mine ? scratch[2 * lane()] : kLowest, mine ? scratch[2 * lane() + 1] : 0.0f});
  }
  return n;
}

template <typename T, int N, bool Whole, bool Log>
D2V_KERNEL(kRowThreads) softmaxKernel(const T* x, T* y, int64_t rows, int64_t d) {
  const RowOfThread<Whole> place(rows);
  if (place.row < 0) return;  // whole warps
  x += place.row * d;
  y += place.row * d;
  const Normaliser n = normaliserOf<T, N>(x, d, place);
  const float factor = 1.0f / n.sum, shift = logf(n.sum);
  for (int64_t i = place.first; i < d / N; i += place.step) {
    float v[N];
    load(v, x + i * N);
#pragma unroll
    for (float& e : v) e = Log ? (e - n.most) - shift : expf(e - n.most) * factor;
    store(y + i * N, v);
  }
}

template <typename T, int N, bool Whole>
D2V_KERNEL(kRowThreads) softmaxBackwardKernel(const T* dy, const T* y, T* dx, int64_t rows, int64_t d) {
  const RowOfThread<Whole> place(rows);
  if (place.row < 0) return;
  dy += place.row * d;
  y += place.row * d;
  dx += place.row * d;
  float dot = 0.0f;
  for (int64_t i = place.first; i < d / N; i += place.step) {
    float g[N], p[N];
    load(g, dy + i * N);
    load(p, y + i * N);
#pragma unroll
    for (int e = 0; e < N; ++e) dot = fmaf(g[e], p[e], dot);
  }
  if constexpr (Whole) dot = blockSum(dot, shared<float>());
  else dot = warpSum(dot);
  for (int64_t i = place.first; i < d / N; i += place.step) {
    float g[N], p[N];
    load(g, dy + i * N);
    load(p, y + i * N);
#pragma unroll
    for (int e = 0; e < N; ++e) g[e] = p[e] * (g[e] - dot);
    store(dx + i * N, g);
  }
}

/// Calls body(whole, grid, bytes of shared memory) for rows of d elements.
template <typename Body>
void withRows(int64_t rows, int64_t d, const Body& body) {
  if (d >= kLongRow) body(std::true_type(), Grid{rows}, 2 * kRowWarps * sizeof(float));
  else body(std::false_type(), Grid{blocksFor(rows, kRowWarps)}, size_t{0});
}

}  // namespace

void CudaBackend::unary(Unary op, In x, Out y, int64_t n) {
  withPieces(x.dtype, {x.data, y.data}, 0, [&](auto zero, auto width) {
    using T = decltype(zero);
    withUnary(op, [&](auto which) {
      launch(unaryKernel<T, width, which>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(x), as<T>(y),
             n);
    });
  });
}

void CudaBackend::unaryBackward(Unary op, In dy, In x, In y, Out dx, int64_t n) {
  const In from = slopeFromResult(op) ? y : x;
  withPieces(dy.dtype, {dy.data, from.data, dx.data}, 0, [&](auto zero, auto width) {
    using T = decltype(zero);
    withUnary(op, [&](auto which) {
      launch(unaryBackwardKernel<T, width, which>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(dy),
             as<T>(from), as<T>(dx), n);
    });
  });
}

void CudaBackend::binary(Binary op, In a, In b, Out y, int64_t outer, int64_t inner) {
  const bool oneB = inner == 1, rows = outer > 1 && !oneB;
  const int64_t n = outer * inner;
  withPieces(a.dtype, {a.data, y.data, oneB ? nullptr : b.data}, rows ? inner : 0, [&](auto zero, auto width) {
    using T = decltype(zero);
    withBinary(op, [&](auto which) {
      if (rows) {
        const RowLoop loop = rowLoop(inner / width);
        launch(binaryRowsKernel<T, width, which>, rowGrid(loop, outer, properties_), kLoopThreads, 0, stream_, as<T>(a),
               as<T>(b), as<T>(y), outer, loop);
      } else if (oneB) {
        launch(binaryKernel<T, width, which, true>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(a),
               as<T>(b), as<T>(y), n);
      } else {
        launch(binaryKernel<T, width, which, false>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(a),
               as<T>(b), as<T>(y), n);
      }
    });
  });
}

void CudaBackend::scale(In x, double alpha, Out y, int64_t n) {
  withPieces(x.dtype, {x.data, y.data}, 0, [&](auto zero, auto width) {
    using T = decltype(zero);
    launch(scaleKernel<T, width, false>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(x),
           static_cast<float>(alpha), as<T>(y), n);
  });
}

void CudaBackend::axpy(Out y, double alpha, In x, int64_t n) {
  withPieces(x.dtype, {x.data, y.data}, 0, [&](auto zero, auto width) {
    using T = decltype(zero);
    launch(scaleKernel<T, width, true>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(x),
           static_cast<float>(alpha), as<T>(y), n);
  });
}

void CudaBackend::scaleRows(In x, const float* s, Out y, int64_t b, int64_t inner) {
  withPieces(x.dtype, {x.data, y.data}, inner, [&](auto zero, auto width) {
    using T = decltype(zero);
    const RowLoop loop = rowLoop(inner / width);
    launch(scaleRowsKernel<T, width>, rowGrid(loop, b, properties_), kLoopThreads, 0, stream_, as<T>(x), s, as<T>(y), b,
           loop);
  });
}

void CudaBackend::softmax(In x, Out y, int64_t rows, int64_t d) {
  withPieces(x.dtype, {x.data, y.data}, d, [&](auto zero, auto width) {
    using T = decltype(zero);
    withRows(rows, d, [&](auto whole, Grid grid, size_t bytes) {
      launch(softmaxKernel<T, width, whole, false>, grid, kRowThreads, bytes, stream_, as<T>(x), as<T>(y), rows, d);
    });
  });
}

void CudaBackend::logSoftmax(In x, Out y, int64_t rows, int64_t d) {
  withPieces(x.dtype, {x.data, y.data}, d, [&](auto zero, auto width) {
    using T = decltype(zero);
    withRows(rows, d, [&](auto whole, Grid grid, size_t bytes) {
      launch(softmaxKernel<T, width, whole, true>, grid, kRowThreads, bytes, stream_, as<T>(x), as<T>(y), rows, d);
    });
  });
}

void CudaBackend::softmaxBackward(In dy, In y, Out dx, int64_t rows, int64_t d) {
  withPieces(dy.dtype, {dy.data, y.data, dx.data}, d, [&](auto zero, auto width) {
    using T = decltype(zero);
    withRows(rows, d, [&](auto whole, Grid grid, size_t bytes) {
      launch(softmaxBackwardKernel<T, width, whole>, grid, kRowThreads, bytes, stream_, as<T>(dy), as<T>(y), as<T>(dx),
             rows, d);
    });
  });
}

}  // namespace d2v::cuda
