// Layer norm over the last dimension, fused with the residual addition before it and GELU and a second addition after.
//
//   forward    s = x + residual;  y = act((s - mean) * rstd * w + b) + after
//   backward   g = dy * act'(n), n = xhat w + b recomputed from s;  h = g w
//              ds = rstd (h - mean(h) - xhat mean(h xhat));  dW += g xhat;  dB += g
//
// A row is read from memory once; its second and third pass find it in the first-level cache. The variance is the mean
// of squared distances from the mean (two passes), never a difference of large numbers. dW and dB are summed per
// chunk of rows, chunks cut by the shape alone, then combined in order: equal for any number of threads.
#include <cmath>
#include <cstring>

#include "cpu_backend.h"
#include "vec_math.h"

namespace d2v {
namespace D2V_ISA {
namespace {

/// Four independent sums hide the latency of the addition.
struct Sum4 {
  Vf s[4] = {vzero(), vzero(), vzero(), vzero()};
  float total() const { return vsum((s[0] + s[1]) + (s[2] + s[3])); }
};

/// Calls body(load, store, i) for every vector of a row; i counts vectors modulo 4.
template <typename Body>
D2V_INLINE void forRow(int64_t d, const Body& body) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= d; c += 4 * kLanes) {
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      const int64_t at = c + e * kLanes;
      body([at](const float* p) D2V_LAMBDA { return vload(p + at); },
           [at](float* p, Vf v) D2V_LAMBDA { vstore(p + at, v); }, e);
    }
  }
  for (; c + kLanes <= d; c += kLanes) {
    body([c](const float* p) D2V_LAMBDA { return vload(p + c); },
         [c](float* p, Vf v) D2V_LAMBDA { vstore(p + c, v); }, 0);
  }
}

/// The last d % kLanes columns, for bodies that need to know how many there are.
template <typename Body>
D2V_INLINE void forTail(int64_t d, const Body& body) {
  const int64_t n = d % kLanes, c = d - n;
  if (n == 0) return;
  body([c, n](const float* p) D2V_LAMBDA { return vloadN(p + c, n); },
       [c, n](float* p, Vf v) D2V_LAMBDA { vstoreN(p + c, v, n); }, n);
}

template <bool kGelu>
void forwardRow(const LayerNormArgs& a, int64_t row) {
  const int64_t d = a.d, at = row * d;
  const float* x = static_cast<const float*>(a.x) + at;
  const float* residual = a.residual.data ? static_cast<const float*>(a.residual) + at : nullptr;
  const float* after = a.after.data ? static_cast<const float*>(a.after) + at : nullptr;
  const float* w = a.weight;
  const float* b = a.bias;
  float* y = static_cast<float*>(a.y) + at;
  float* keep = a.sum.data ? static_cast<float*>(a.sum) + at : nullptr;

  Sum4 sum;
  const auto add = [&](auto load, auto store, int e) D2V_LAMBDA {
    Vf v = load(x);
    if (residual) v = v + load(residual);
    if (keep) store(keep, v);
    sum.s[e & 3] = sum.s[e & 3] + v;
  };
  forRow(d, add);
  forTail(d, [&](auto load, auto store, int64_t) D2V_LAMBDA { add(load, store, 0); });
  const float* s = keep ? keep : x;
  const float mean = sum.total() / static_cast<float>(d);
  const Vf m = vset(mean);

  Sum4 squares;
  forRow(d, [&](auto load, auto, int e) D2V_LAMBDA {
    const Vf v = load(s) - m;
    squares.s[e] = vfma(v, v, squares.s[e]);
  });
  float square = squares.total();
  for (int64_t c = d - d % kLanes; c < d; ++c) square += (s[c] - mean) * (s[c] - mean);
  const float rstd = 1.0f / std::sqrt(square / static_cast<float>(d) + a.eps);
  const Vf r = vset(rstd);
  a.mean[row] = mean;
  a.rstd[row] = rstd;

  const auto finish = [&](auto load, auto store) D2V_LAMBDA {
    Vf v = (load(s) - m) * r;
    if (w) v = v * load(w);
    if (b) v = v + load(b);
    if (kGelu) v = vgelu(v);
    if (after) v = v + load(after);
    store(y, v);
  };
  forRow(d, [&](auto load, auto store, int) D2V_LAMBDA { finish(load, store); });
  forTail(d, [&](auto load, auto store, int64_t) D2V_LAMBDA { finish(load, store); });
}

/// One row; dW and dB (null or [d]) receive its share. With GELU, `g` is scratch for one row.
template <bool kGelu>
void backwardRow(const LayerNormBackwardArgs& a, int64_t row, float* dW, float* dB, float* g) {
  const int64_t d = a.d, at = row * d;
  const float* dy = static_cast<const float*>(a.dy) + at;
  const float* s = static_cast<const float*>(a.sum) + at;
  const float* w = a.weight;
  const float* b = a.bias;
  float* ds = static_cast<float*>(a.dsum) + at;
  const Vf m = vset(a.mean[row]), r = vset(a.rstd[row]);
  const float* grad = kGelu ? g : dy;

  Sum4 sumH, sumHx;
  // In a tail vector the lanes behind the row hold xhat = -mean * rstd, but every product with them is zero.
  const auto gather = [&](auto load, auto store, int e) D2V_LAMBDA {
    const Vf xhat = (load(s) - m) * r;
    Vf v = load(dy);
    if (kGelu) {
      Vf n = xhat;
      if (w) n = n * load(w);
      if (b) n = n + load(b);
      v = v * vgeluSlope(n);
      store(g, v);
    }
    if (dW) store(dW, vfma(v, xhat, load(dW)));
    if (dB) store(dB, load(dB) + v);
    if (w) v = v * load(w);
    sumH.s[e & 3] = sumH.s[e & 3] + v;
    sumHx.s[e & 3] = vfma(v, xhat, sumHx.s[e & 3]);
  };
  forRow(d, gather);
  forTail(d, [&](auto load, auto store, int64_t) D2V_LAMBDA { gather(load, store, 0); });
  const Vf meanH = vset(sumH.total() / static_cast<float>(d));
  const Vf meanHx = vset(sumHx.total() / static_cast<float>(d));

  const auto finish = [&](auto load, auto store) D2V_LAMBDA {
    const Vf xhat = (load(s) - m) * r;
    Vf h = load(grad);
    if (w) h = h * load(w);
    store(ds, r * (h - vfma(xhat, meanHx, meanH)));
  };
  forRow(d, [&](auto load, auto store, int) D2V_LAMBDA { finish(load, store); });
  forTail(d, [&](auto load, auto store, int64_t) D2V_LAMBDA { finish(load, store); });
}

void addInto(float* dst, const float* src, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] += src[i];
}

/// Rows worth a thread of their own.
int64_t grainOf(int64_t d) { return d >= 8192 ? 1 : 8192 / d; }

}  // namespace

void CpuBackend::layerNorm(const LayerNormArgs& a) {
  parallelFor(a.rows, grainOf(a.d), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      if (a.activation == Activation::Gelu) {
        forwardRow<true>(a, row);
      } else {
        forwardRow<false>(a, row);
      }
    }
  });
}

void CpuBackend::layerNormBackward(const LayerNormBackwardArgs& a) {
  const int64_t d = a.d;
  const int64_t least = grainOf(d), share = (a.rows + 63) / 64;
  const int64_t chunk = share > least ? share : least, parts = (a.rows + chunk - 1) / chunk;
  // Per chunk: dW, dB, one row of scratch.
  Workspace memory(memory_, static_cast<size_t>(parts * 3 * d) * sizeof(float));
  parallelChunks(a.rows, chunk, [&](int64_t part, int64_t begin, int64_t end) {
    float* dW = memory.floats() + part * 3 * d;
    float* dB = dW + d;
    float* scratch = dB + d;
    std::memset(dW, 0, static_cast<size_t>(2 * d) * sizeof(float));
    for (int64_t row = begin; row < end; ++row) {
      if (a.activation == Activation::Gelu) {
        backwardRow<true>(a, row, a.dWeight ? dW : nullptr, a.dBias ? dB : nullptr, scratch);
      } else {
        backwardRow<false>(a, row, a.dWeight ? dW : nullptr, a.dBias ? dB : nullptr, scratch);
      }
    }
  });
  for (int64_t part = 0; part < parts; ++part) {
    const float* dW = memory.floats() + part * 3 * d;
    if (a.dWeight) addInto(a.dWeight, dW, d);
    if (a.dBias) addInto(a.dBias, dW + d, d);
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
