// Layer norm over the last dimension, fused with the residual addition before it and GELU and a second addition after.
//
//   forward    s = x + residual;  y = act((s - mean) * rstd * w + b) + after
//   backward   g = dy * act'(n), n = xhat w + b recomputed from s;  h = g w
//              ds = rstd (h - mean(h) - xhat mean(h xhat));  dW += g xhat;  dB += g
//
// Both are bound by memory. Rows of up to 1536 (rows.h) are held by a warp: every operand is read once, the variance is the
// mean of squared distances from the mean (two passes over registers), and no barrier is needed. Bytes per element, bf16:
// forward 4, with residual 8 (x, residual, sum, y), `after` 2 more; backward 6 (dy, sum, dsum). Weight and bias come from the
// first-level cache.
//
// dW and dB: each warp of the backward pass takes every so many rows and keeps its share of both in registers. At the end
// the warps of a block add theirs up in shared memory, one warp after the other, and blocks write one partial sum each; a
// second kernel (columns.h) adds those in order. The grid is what is resident at once, two to eight blocks per
// multiprocessor (more for shorter rows), so the partial sums are a few MB that stay in the second-level cache.
//
// In bf16 the statistics are those of s as it is stored, so that backward sees exactly the row that was normalised.
// Longer rows go the same way with a block per row that reads them again for each pass, from cache.
#include "columns.h"
#include "cuda_backend.h"
#include "gelu.h"
#include "launch.h"
#include "rows.h"

namespace d2v::cuda {

namespace {

constexpr int kForwardThreads = 128, kBackwardThreads = 128, kLongThreads = 256;

/// Blocks of the backward pass on a multiprocessor when a lane holds so many values of a row: it keeps three sets of them
/// (one of the row, two of sums) and the row's bits, and 65536 registers are shared by all. Single elements take more of them
/// for addresses, and so does GELU.
template <int N, int Steps, bool Gelu>
constexpr int kResident = N * Steps <= 8                         ? (N > 1 ? 8 : 6)
                          : N * Steps <= 24                      ? 4
                          : N > 1 && N * Steps <= 32 && !Gelu ? 3
                                                                 : 2;

template <typename T>
struct Forward {
  const T *x, *residual, *weight, *bias, *after;
  T *y, *sum;
  float *mean, *rstd;
  int64_t rows, d;
  float eps;
};

template <typename T>
struct Backward {
  const T *dy, *sum, *weight, *bias;
  const float *mean, *rstd;
  T* dsum;
  int64_t rows, d;
};

template <typename T>
D2V_DEVICE float activation(float x) {
  if constexpr (sizeof(T) == 2) return geluForBf16(x);
  else return gelu(x);
}
template <typename T>
D2V_DEVICE float activationSlope(float x) {
  if constexpr (sizeof(T) == 2) return geluSlopeForBf16(x);
  else return geluSlope(x);
}

// --- long rows: pieces of N neighbours from element `at` of a row; `row` is the row's first element

/// s = x + residual?, stored in sum? and rounded as it is there.
template <int N, typename T>
D2V_DEVICE void addResidual(float (&s)[N], const Forward<T>& a, int64_t row, int64_t at) {
  load(s, a.x + row + at);
  if (a.residual == nullptr) return;
  float r[N];
  load(r, a.residual + row + at);
#pragma unroll
  for (int i = 0; i < N; ++i) s[i] = toFloat(fromFloat<T>(s[i] + r[i]));
  if (a.sum != nullptr) store(a.sum + row + at, s);
}

/// n = xhat * weight? + bias?.
template <int N, typename T>
D2V_DEVICE void affine(float (&n)[N], const float (&xhat)[N], const T* weight, const T* bias, int64_t at) {
#pragma unroll
  for (int i = 0; i < N; ++i) n[i] = xhat[i];
  float p[N];
  if (weight != nullptr) {
    load(p, weight + at);
#pragma unroll
    for (int i = 0; i < N; ++i) n[i] *= p[i];
  }
  if (bias != nullptr) {
    load(p, bias + at);
#pragma unroll
    for (int i = 0; i < N; ++i) n[i] += p[i];
  }
}

template <bool Gelu, int N, typename T>
D2V_DEVICE void finish(const float (&s)[N], float mean, float rstd, const Forward<T>& a, int64_t row, int64_t at) {
  float xhat[N], y[N];
#pragma unroll
  for (int i = 0; i < N; ++i) xhat[i] = (s[i] - mean) * rstd;
  affine(y, xhat, a.weight, a.bias, at);
  if constexpr (Gelu) {
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = activation<T>(y[i]);
  }
  if (a.after != nullptr) {
    float more[N];
    load(more, a.after + row + at);
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] += more[i];
  }
  store(a.y + row + at, y);
}

/// From dy in g and s in xhat: xhat = (s - mean) rstd, g = dy act'(n).
template <bool Gelu, int N, typename T>
D2V_DEVICE void gradient(float (&g)[N], float (&xhat)[N], float mean, float rstd, const Backward<T>& a, int64_t at) {
#pragma unroll
  for (int i = 0; i < N; ++i) xhat[i] = (xhat[i] - mean) * rstd;
  if constexpr (Gelu) {
    float n[N];
    affine(n, xhat, a.weight, a.bias, at);
#pragma unroll
    for (int i = 0; i < N; ++i) g[i] *= activationSlope<T>(n[i]);
  }
}

template <int N, typename T>
D2V_DEVICE void timesWeight(float (&h)[N], const T* weight, int64_t at) {
  if (weight == nullptr) return;
  float w[N];
  load(w, weight + at);
#pragma unroll
  for (int i = 0; i < N; ++i) h[i] *= w[i];
}

// --- rows in registers: a warp per row

template <typename T, int N, int Steps, bool Gelu>
D2V_KERNEL(kForwardThreads)
layerNormRows(Forward<T> a) {
  const int64_t row = static_cast<int64_t>(blockX()) * (kForwardThreads / kWarp) + warp();
  if (row >= a.rows) return;
  const int d = static_cast<int>(a.d);
  const int64_t first = row * d;
  RawPiece<T, N> raw[Steps], after[Steps];
  float s[Steps][N];
  readRow(raw, a.x + first, d);
  readRowOr(after, a.after == nullptr ? nullptr : a.after + first, d, 0);
  if (a.residual == nullptr) {
    widenRow(s, raw);
  } else {
    RawPiece<T, N> residual[Steps];
    readRow(residual, a.residual + first, d);
#pragma unroll
    for (int k = 0; k < Steps; ++k) {
      float r[N];
      raw[k].widen(s[k]);
      residual[k].widen(r);
#pragma unroll
      for (int i = 0; i < N; ++i) s[k][i] += r[i];
      raw[k].narrow(s[k]);
      raw[k].widen(s[k]);
    }
    if (a.sum != nullptr) writeRow(a.sum + first, raw, d);
  }
  float mean, squares;
  centreRow(s, d, mean, squares);
  const float rstd = 1.0f / sqrtf(squares / static_cast<float>(d) + a.eps);
  if (lane() == 0) {
    a.mean[row] = mean;
    a.rstd[row] = rstd;
  }
  RawPiece<T, N> weight[Steps], bias[Steps];
  readRowOr(weight, a.weight, d, 1);
  readRowOr(bias, a.bias, d, 0);
#pragma unroll
  for (int k = 0; k < Steps; ++k) {
    float w[N], b[N], more[N];
    weight[k].widen(w);
    bias[k].widen(b);
    after[k].widen(more);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float n = fmaf(s[k][i] * rstd, w[i], b[i]);
      s[k][i] = (Gelu ? activation<T>(n) : n) + more[i];
    }
  }
  storeRow(a.y + first, s, d);
}

/// v = the row's elements from `at` on, or `value` if there is no row.
template <int N, typename T>
D2V_DEVICE void loadOr(float (&v)[N], const T* row, int at, float value) {
  if (row != nullptr) {
    load(v, row + at);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] = value;
  }
}

/// Parameters: partial[block] = the block's share of dW [d], dB [d].
template <typename T, int N, int Steps, bool Gelu, bool Parameters>
D2V_KERNEL((kBackwardThreads * kResident<N, Steps, Gelu>))
layerNormBackwardRows(Backward<T> a, float* partial) {
  constexpr int warps = kBackwardThreads / kWarp;
  const int d = static_cast<int>(a.d);
  const float inverse = 1.0f / static_cast<float>(d);
  float dW[Steps][N] = {}, dB[Steps][N] = {};
  for (int64_t row = static_cast<int64_t>(blockX()) * warps + warp(); row < a.rows;
       row += static_cast<int64_t>(gridX()) * warps) {
    const int64_t first = row * d;
    RawPiece<T, N> dy[Steps], sum[Steps];
    readRow(dy, a.dy + first, d);
    readRow(sum, a.sum + first, d);
    const float mean = a.mean[row], rstd = a.rstd[row];
    float h[Steps][N];
    float sumH = 0, sumHx = 0;
    const float offset = -mean * rstd;
#pragma unroll
    for (int k = 0; k < Steps; ++k) {
      float w[N], b[N], xhat[N];
      const int at = pieceAt<N>(k) < d ? pieceAt<N>(k) : d - N;
      loadOr(w, a.weight, at, 1);
      if constexpr (Gelu) loadOr(b, a.bias, at, 0);
      dy[k].widen(h[k]);
      sum[k].widen(xhat);
      float pieceH = 0, pieceHx = 0;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        xhat[i] = fmaf(xhat[i], rstd, offset);
        if constexpr (Gelu) {
          const float n = fmaf(xhat[i], w[i], b[i]);
          h[k][i] *= activationSlope<T>(n);
        }
        if constexpr (Parameters) {
          dW[k][i] = fmaf(h[k][i], xhat[i], dW[k][i]);
          dB[k][i] += h[k][i];
        }
        h[k][i] *= w[i];
        pieceH += h[k][i];
        pieceHx = fmaf(h[k][i], xhat[i], pieceHx);
      }
      sumH += pieceAt<N>(k) < d ? pieceH : 0.0f;
      sumHx += pieceAt<N>(k) < d ? pieceHx : 0.0f;
      if constexpr (N > 1) syncWarp();  // the compiler would fetch all weights at once: too many registers
    }
    const float meanH = -rstd * inverse * warpSum(sumH), meanHx = -rstd * inverse * warpSum(sumHx);
#pragma unroll
    for (int k = 0; k < Steps; ++k) {
      float xhat[N];
      sum[k].widen(xhat);
#pragma unroll
      for (int i = 0; i < N; ++i) h[k][i] = fmaf(h[k][i], rstd, fmaf(fmaf(xhat[i], rstd, offset), meanHx, meanH));
    }
    storeRow(a.dsum + first, h, d);
  }
  if constexpr (Parameters) {
    float* sums = shared<float>();
    for (int w = 0; w < warps; ++w) {
      if (warp() == w) {
#pragma unroll
        for (int k = 0; k < Steps; ++k) {
          if (pieceAt<N>(k) >= d) continue;
#pragma unroll
          for (int i = 0; i < N; ++i) {
            const int c = pieceAt<N>(k) + i;
            sums[c] = w == 0 ? dW[k][i] : sums[c] + dW[k][i];
            sums[d + c] = w == 0 ? dB[k][i] : sums[d + c] + dB[k][i];
          }
        }
      }
      syncThreads();
    }
    float* out = partial + static_cast<int64_t>(blockX()) * 2 * d;
    for (int c = threadX(); c < 2 * d; c += kBackwardThreads) out[c] = sums[c];
  }
}

// --- longer rows: a block per row

template <typename T, int N, bool Gelu>
D2V_KERNEL(kLongThreads)
layerNormLong(Forward<T> a) {
  float* scratch = shared<float>();
  const int64_t row = blockX(), first = row * a.d, step = kLongThreads * N;
  const T* s = a.residual == nullptr ? a.x : a.sum;
  float sum = 0;
  for (int64_t at = threadX() * N; at < a.d; at += step) {
    float v[N];
    addResidual(v, a, first, at);
    for (int i = 0; i < N; ++i) sum += v[i];
  }
  const float mean = blockSum(sum, scratch) / static_cast<float>(a.d);
  float square = 0;
  for (int64_t at = threadX() * N; at < a.d; at += step) {
    float v[N];
    load(v, s + first + at);
    for (int i = 0; i < N; ++i) square = fmaf(v[i] - mean, v[i] - mean, square);
  }
  const float rstd = 1.0f / sqrtf(blockSum(square, scratch) / static_cast<float>(a.d) + a.eps);
  if (threadX() == 0) {
    a.mean[row] = mean;
    a.rstd[row] = rstd;
  }
  for (int64_t at = threadX() * N; at < a.d; at += step) {
    float v[N];
    load(v, s + first + at);
    finish<Gelu>(v, mean, rstd, a, first, at);
  }
}

template <typename T, int N, bool Gelu>
D2V_KERNEL(kLongThreads)
layerNormBackwardLong(Backward<T> a) {
  float* scratch = shared<float>();
  const int64_t row = blockX(), first = row * a.d, step = kLongThreads * N;
  const float mean = a.mean[row], rstd = a.rstd[row];
  const auto piece = [&](float(&h)[N], float(&xhat)[N], int64_t at) {
    load(h, a.dy + first + at);
    load(xhat, a.sum + first + at);
    gradient<Gelu>(h, xhat, mean, rstd, a, at);
    timesWeight(h, a.weight, at);
  };
  float sumH = 0, sumHx = 0;
  for (int64_t at = threadX() * N; at < a.d; at += step) {
    float h[N], xhat[N];
    piece(h, xhat, at);
    for (int i = 0; i < N; ++i) {
      sumH += h[i];
      sumHx = fmaf(h[i], xhat[i], sumHx);
    }
  }
  const float meanH = blockSum(sumH, scratch) / static_cast<float>(a.d);
  const float meanHx = blockSum(sumHx, scratch) / static_cast<float>(a.d);
  for (int64_t at = threadX() * N; at < a.d; at += step) {
    float h[N], xhat[N];
    piece(h, xhat, at);
    for (int i = 0; i < N; ++i) h[i] = rstd * (h[i] - fmaf(xhat[i], meanHx, meanH));
    store(a.dsum + first + at, h);
  }
}

/// partial[y] = dW [d], dB [d] of rows y * chunk .. + chunk; a thread per column.
template <typename T, bool Gelu>
D2V_KERNEL(kLongThreads)
layerNormParametersLong(Backward<T> a, float* partial, int64_t chunk) {
  const int64_t c = static_cast<int64_t>(blockX()) * kLongThreads + threadX();
  if (c >= a.d) return;
  const int64_t begin = blockY() * chunk, end = begin + chunk < a.rows ? begin + chunk : a.rows;
  float dW = 0, dB = 0;
  for (int64_t row = begin; row < end; ++row) {
    float g[1], xhat[1];
    load(g, a.dy + row * a.d + c);
    load(xhat, a.sum + row * a.d + c);
    gradient<Gelu>(g, xhat, a.mean[row], a.rstd[row], a, c);
    dW = fmaf(g[0], xhat[0], dW);
    dB += g[0];
  }
  partial[blockY() * 2 * a.d + c] = dW;
  partial[blockY() * 2 * a.d + a.d + c] = dB;
}

// --- launches

constexpr size_t kLongShared = kLongThreads / kWarp * sizeof(float);

template <bool Gelu, typename T>
void forward(const Forward<T>& a, Stream stream) {
  const bool wide = fitsWide(a.x, a.d) && fitsWide(a.residual, a.d) && fitsWide(a.weight, a.d) &&
                    fitsWide(a.bias, a.d) && fitsWide(a.after, a.d) && fitsWide(a.y, a.d) && fitsWide(a.sum, a.d);
  const bool held = forRowShape<T>(a.d, wide, [&](auto n, auto steps) {
    launch(layerNormRows<T, n(), steps(), Gelu>, Grid{blocksFor(a.rows, kForwardThreads / kWarp)}, kForwardThreads, 0,
           stream, a);
  });
  if (held) return;
  launch(wide ? layerNormLong<T, kWide<T>, Gelu> : layerNormLong<T, 1, Gelu>, Grid{a.rows}, kLongThreads, kLongShared,
         stream, a);
}

template <bool Gelu, typename T>
void backward(const Backward<T>& a, float* dWeight, float* dBias, Allocator& memory, int multiprocessors,
              Stream stream) {
  const bool wide = fitsWide(a.dy, a.d) && fitsWide(a.sum, a.d) && fitsWide(a.weight, a.d) && fitsWide(a.bias, a.d) &&
                    fitsWide(a.dsum, a.d);
  const bool parameters = dWeight != nullptr || dBias != nullptr;
  const int64_t d = a.d;
  const auto combine = [&](const Workspace& partial, int64_t parts) {
    launchColumnSums(dWeight, dBias, d, partial.floats(), parts, 2 * d, 2 * d, stream);
  };
  const bool held = forRowShape<T>(d, wide, [&](auto n, auto steps) {
    const int64_t resident = multiprocessors * kResident<n(), steps(), Gelu>;
    const int64_t needed = blocksFor(a.rows, kBackwardThreads / kWarp);
    const int64_t blocks = needed < resident ? needed : resident;
    if (!parameters) {
      launch(layerNormBackwardRows<T, n(), steps(), Gelu, false>, Grid{blocks}, kBackwardThreads, 0, stream, a,
             nullptr);
      return;
    }
    const Workspace partial(memory, static_cast<size_t>(blocks * 2 * d) * sizeof(float));
    launch(layerNormBackwardRows<T, n(), steps(), Gelu, true>, Grid{blocks}, kBackwardThreads,
           static_cast<size_t>(2 * d) * sizeof(float), stream, a, partial.floats());
    combine(partial, blocks);
  });
  if (held) return;
  launch(wide ? layerNormBackwardLong<T, kWide<T>, Gelu> : layerNormBackwardLong<T, 1, Gelu>, Grid{a.rows},
         kLongThreads, kLongShared, stream, a);
  if (!parameters) return;
  const int64_t chunk = blocksFor(a.rows, 256), parts = blocksFor(a.rows, chunk);
  const Workspace partial(memory, static_cast<size_t>(parts * 2 * d) * sizeof(float));
  launch(layerNormParametersLong<T, Gelu>, Grid{blocksFor(d, kLongThreads), parts}, kLongThreads, 0, stream, a,
         partial.floats(), chunk);
  combine(partial, parts);
}

}  // namespace

void CudaBackend::layerNorm(const LayerNormArgs& a) {
  forFloatType(a.x.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Forward<T> args{typed<T>(a.x, "layerNorm: x"),
                          typed<T>(a.residual, "layerNorm: residual"),
                          typed<T>(a.weight, "layerNorm: weight"),
                          typed<T>(a.bias, "layerNorm: bias"),
                          typed<T>(a.after, "layerNorm: after"),
                          typed<T>(a.y, "layerNorm: y"),
                          typed<T>(a.sum, "layerNorm: sum"),
                          a.mean,
                          a.rstd,
                          a.rows,
                          a.d,
                          a.eps};
    if (a.activation == Activation::Gelu) {
      forward<true>(args, stream_);
    } else {
      forward<false>(args, stream_);
    }
  });
}

void CudaBackend::layerNormBackward(const LayerNormBackwardArgs& a) {
  forFloatType(a.dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Backward<T> args{typed<T>(a.dy, "layerNormBackward: dy"),
                           typed<T>(a.sum, "layerNormBackward: sum"),
                           typed<T>(a.weight, "layerNormBackward: weight"),
                           typed<T>(a.bias, "layerNormBackward: bias"),
                           a.mean,
                           a.rstd,
                           typed<T>(a.dsum, "layerNormBackward: dsum"),
                           a.rows,
                           a.d};
    if (a.activation == Activation::Gelu) {
      backward<true>(args, a.dWeight, a.dBias, memory_, properties_.multiprocessors, stream_);
    } else {
      backward<false>(args, a.dWeight, a.dBias, memory_, properties_.multiprocessors, stream_);
    }
  });
}

}  // namespace d2v::cuda
