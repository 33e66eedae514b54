// Unary and binary ops, scaling, softmax.
#include <cmath>

#include "loops.h"
#include "vec_math.h"

namespace d2v {
namespace D2V_ISA {

namespace {

/// y = f(x) over vectors, in parallel.
template <typename F>
void mapVectors(const float* x, float* y, int64_t n, const F& f) {
  parallelFor(n, kGrain / 4, [=](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) vstore(y + i, f(vload(x + i)));
    if (i < end) vstoreN(y + i, f(vloadN(x + i, end - i)), end - i);
  });
}

/// dx = dy * slope(x, y).
template <typename F>
void mapSlopes(const float* dy, const float* x, const float* y, float* dx, int64_t n, const F& slope) {
  parallelFor(n, kGrain / 4, [=](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      vstore(dx + i, vload(dy + i) * slope(vload(x + i), vload(y + i)));
    }
    if (i < end) {
      const int64_t tail = end - i;
      vstoreN(dx + i, vloadN(dy + i, tail) * slope(vloadN(x + i, tail), vloadN(y + i, tail)), tail);
    }
  });
}

template <typename F>
void mapScalars(const float* x, float* y, int64_t n, const F& f) {
  parallelFor(n, kGrain / 4, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = f(x[i]);
  });
}

template <typename F>
void zip(const float* a, const float* b, float* y, int64_t outer, int64_t inner, const F& f) {
  if (outer == 1) {
    parallelFor(inner, kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] = f(a[i], b[i]);
    });
  } else if (inner == 1) {
    const float value = b[0];
    parallelFor(outer, kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) y[i] = f(a[i], value);
    });
  } else {
    parallelFor(outer, rowGrain(inner), [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* from = a + row * inner;
        float* to = y + row * inner;
#pragma omp simd
        for (int64_t i = 0; i < inner; ++i) to[i] = f(from[i], b[i]);
      }
    });
  }
}

}  // namespace

void CpuBackend::unary(Unary op, In x, Out y, int64_t n) {
  switch (op) {
    case Unary::Gelu:
      return mapVectors(x, y, n, [](Vf v) { return vgelu(v); });
    case Unary::Relu:
      return mapScalars(x, y, n, [](float v) { return v < 0 ? 0.0f : v; });
    case Unary::Tanh:
      return mapVectors(x, y, n, [](Vf v) { return vtanh(v); });
    case Unary::Sigmoid:
      return mapVectors(x, y, n, [](Vf v) { return vsigmoid(v); });
    case Unary::Exp:
      return mapVectors(x, y, n, [](Vf v) { return vexp(v); });
    case Unary::Log:
      return mapScalars(x, y, n, [](float v) { return std::log(v); });
    case Unary::Sqrt:
      return mapScalars(x, y, n, [](float v) { return std::sqrt(v); });
    case Unary::Square:
      return mapScalars(x, y, n, [](float v) { return v * v; });
  }
}

void CpuBackend::unaryBackward(Unary op, In dy, In x, In y, Out dx, int64_t n) {
  const Vf one = vset(1.0f);
  switch (op) {
    case Unary::Gelu:
      return mapSlopes(dy, x, y, dx, n, [](Vf a, Vf) { return vgeluSlope(a); });
    case Unary::Relu:
      return mapSlopes(dy, x, y, dx, n, [=](Vf a, Vf) { return vselectGe(vzero(), a, vzero(), one); });
    case Unary::Tanh:
      return mapSlopes(dy, x, y, dx, n, [=](Vf, Vf b) { return one - b * b; });
    case Unary::Sigmoid:
      return mapSlopes(dy, x, y, dx, n, [=](Vf, Vf b) { return b * (one - b); });
    case Unary::Exp:
      return mapSlopes(dy, x, y, dx, n, [](Vf, Vf b) { return b; });
    case Unary::Log:
      return mapSlopes(dy, x, y, dx, n, [=](Vf a, Vf) { return one / a; });
    case Unary::Sqrt:
      return mapSlopes(dy, x, y, dx, n, [](Vf, Vf b) { return vset(0.5f) / b; });
    case Unary::Square:
      return mapSlopes(dy, x, y, dx, n, [](Vf a, Vf) { return a + a; });
  }
}

void CpuBackend::binary(Binary op, In a, In b, Out y, int64_t outer, int64_t inner) {
  switch (op) {
    case Binary::Add:
      return zip(a, b, y, outer, inner, [](float p, float q) { return p + q; });
    case Binary::Sub:
      return zip(a, b, y, outer, inner, [](float p, float q) { return p - q; });
    case Binary::Mul:
      return zip(a, b, y, outer, inner, [](float p, float q) { return p * q; });
  }
}

void CpuBackend::scale(In x, double alpha, Out y, int64_t n) {
  const float* in = x;
  float* out = y;
  const float factor = static_cast<float>(alpha);
  parallelFor(n, kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) out[i] = factor * in[i];
  });
}

void CpuBackend::axpy(Out y, double alpha, In x, int64_t n) {
  const float* in = x;
  float* out = y;
  const float factor = static_cast<float>(alpha);
  parallelFor(n, kGrain, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) out[i] += factor * in[i];
  });
}

void CpuBackend::scaleRows(In x, const float* s, Out y, int64_t b, int64_t inner) {
  const float* in = x;
  float* out = y;
  parallelFor(b, rowGrain(inner), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float factor = s[row];
#pragma omp simd
      for (int64_t i = row * inner; i < (row + 1) * inner; ++i) out[i] = factor * in[i];
    }
  });
}

namespace {

float rowMax(const float* x, int64_t d) {
  float best = x[0];
#pragma omp simd reduction(max : best)
  for (int64_t i = 0; i < d; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

/// y = exp(x - shift); returns the sum. y may be null.
float expSum(const float* x, float shift, float* y, int64_t d) {
  Vf sum = vzero();
  const Vf s = vset(shift);
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
    const Vf e = vexpSmall(vload(x + i) - s);
    if (y != nullptr) vstore(y + i, e);
    sum = sum + e;
  }
  float total = vsum(sum);
  if (i < d) {
    float tail[kLanes];
    vstore(tail, vexpSmall(vloadN(x + i, d - i) - s));
    for (int64_t j = 0; i + j < d; ++j) {
      if (y != nullptr) y[i + j] = tail[j];
      total += tail[j];
    }
  }
  return total;
}

}  // namespace

void CpuBackend::softmax(In x, Out y, int64_t rows, int64_t d) {
  const float* in = x;
  float* out = y;
  parallelFor(rows, rowGrain(4 * d), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* to = out + row * d;
      const float factor = 1.0f / expSum(in + row * d, rowMax(in + row * d, d), to, d);
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) to[i] *= factor;
    }
  });
}

void CpuBackend::softmaxBackward(In dy, In y, Out dx, int64_t rows, int64_t d) {
  const float *g = dy, *p = y;
  float* out = dx;
  parallelFor(rows, rowGrain(4 * d), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *gr = g + row * d, *pr = p + row * d;
      float* to = out + row * d;
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = 0; i < d; ++i) dot += gr[i] * pr[i];
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) to[i] = pr[i] * (gr[i] - dot);
    }
  });
}

void CpuBackend::logSoftmax(In x, Out y, int64_t rows, int64_t d) {
  const float* in = x;
  float* out = y;
  parallelFor(rows, rowGrain(4 * d), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = in + row * d;
      float* to = out + row * d;
      const float most = rowMax(from, d);
      const float shift = std::log(expSum(from, most, nullptr, d));
#pragma omp simd
      for (int64_t i = 0; i < d; ++i) to[i] = (from[i] - most) - shift;
    }
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
