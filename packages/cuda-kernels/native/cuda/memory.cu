// Fill, casts, copies and the search for wrong indices.
//
// All of it is bound by memory: a thread moves 8 neighbours at once between f32 and bf16 where the addresses allow it (the bf16
// copies of the weights, once per update: 4 bytes read and 2 written per element), one element otherwise.
#include <cmath>
#include <limits>
#include <type_traits>

#include "cuda_backend.h"
#include "half.h"
#include "operands.h"
#include "staging.h"

namespace d2v::cuda {

namespace {

/// No position: larger than any, and exact as a double.
constexpr int64_t kNone = int64_t{1} << 62;

// Limits as constants, since <limits> has host functions.
template <typename T>
constexpr T kLowest = std::numeric_limits<T>::min();
template <typename T>
constexpr T kLargest = std::numeric_limits<T>::max();

/// To an integer: truncated and saturated, NaN gives 0.
template <typename To, typename From>
D2V_BOTH To toInteger(From x) {
  constexpr To lo = kLowest<To>, hi = kLargest<To>;
  if constexpr (std::is_floating_point_v<From>) {
    if (!(x == x)) return 0;
    if (x <= static_cast<From>(lo)) return lo;
    if (x >= static_cast<From>(hi)) return hi;
    return static_cast<To>(x);
  } else {
    const int64_t wide = static_cast<int64_t>(x);
    if (wide < static_cast<int64_t>(lo)) return lo;
    if (wide > static_cast<int64_t>(hi)) return hi;
    return static_cast<To>(wide);
  }
}

template <typename From>
D2V_DEVICE auto widen(From x) {
  if constexpr (std::is_same_v<From, Bf16> || std::is_same_v<From, F16>) return toFloat(x);
  else return x;
}

/// As the CPU does: what becomes a half is rounded to f32 first.
template <typename To, typename From>
D2V_DEVICE To convert(From value) {
  const auto x = widen(value);
  if constexpr (std::is_same_v<To, double> || std::is_same_v<To, float>) return static_cast<To>(x);
  else if constexpr (std::is_same_v<To, Bf16>) return toBf16(static_cast<float>(x));
  else if constexpr (std::is_same_v<To, F16>) return toF16(static_cast<float>(x));
  else return toInteger<To>(x);
}

/// Between f32 and bf16, which is what an update casts.
template <typename From, typename To>
constexpr bool isCommon = (std::is_same_v<From, float> && std::is_same_v<To, Bf16>) ||
                          (std::is_same_v<From, Bf16> && std::is_same_v<To, float>);
constexpr int kNeighbours = 8;

template <typename From, typename To, int N>
D2V_KERNEL(kLoopThreads) castKernel(const From* src, To* dst, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    constexpr int each = width;
    const auto from = *reinterpret_cast<const Vec<From, each>*>(src + i);
    Vec<To, each> to;
#pragma unroll
    for (int j = 0; j < each; ++j) to[j] = convert<To>(from[j]);
    *reinterpret_cast<Vec<To, each>*>(dst + i) = to;
  });
}

template <typename T>
D2V_KERNEL(kLoopThreads) fillKernel(T* dst, double value, int64_t n) {
  const T filled = convert<T>(value);
  forPieces<1>(n, [&](int64_t i, auto) { dst[i] = filled; });
}

D2V_KERNEL(kLoopThreads)
rangeKernel(const int32_t* values, int64_t n, int64_t lo, int64_t hi, int64_t except, int64_t* first) {
  forPieces<1>(n, [&](int64_t i, auto) {
    const int64_t x = values[i];
    if ((x < lo || x >= hi) && x != except) atomicMin(first, i);
  });
}

/// Calls body with a value of the type that stands for `t`.
template <typename Body>
void withType(DType t, const Body& body) {
  switch (t) {
    case DType::F32:
      return body(float{});
    case DType::BF16:
      return body(Bf16{});
    case DType::F16:
      return body(F16{});
    case DType::I32:
      return body(int32_t{});
    case DType::I64:
      return body(int64_t{});
    case DType::U8:
      return body(uint8_t{});
    case DType::F64:
      return body(double{});
  }
}

}  // namespace

void CudaBackend::fill(void* dst, DType t, double value, int64_t n) {
  if (value == 0 && !std::signbit(value)) {
    zero(dst, static_cast<size_t>(n) * sizeOf(t), stream_);
    return;
  }
  withType(t, [&](auto kind) {
    using T = decltype(kind);
    launch(fillKernel<T>, loopGrid(n, properties_), kLoopThreads, 0, stream_, static_cast<T*>(dst), value, n);
  });
}

void CudaBackend::cast(const void* src, DType from, void* dst, DType to, int64_t n) {
  if (from == to) {
    copyBytes(dst, src, n * static_cast<int64_t>(sizeOf(from)));
    return;
  }
  withType(from, [&](auto source) {
    withType(to, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      const auto* in = static_cast<const From*>(src);
      auto* out = static_cast<To*>(dst);
      if constexpr (isCommon<From, To>) {
        if (allAligned({in}, kNeighbours * sizeof(From)) && allAligned({out}, kNeighbours * sizeof(To))) {
          launch(castKernel<From, To, kNeighbours>, loopGrid(blocksFor(n, kNeighbours), properties_),
                 kLoopThreads, 0, stream_, in, out, n);
          return;
        }
      }
      launch(castKernel<From, To, 1>, loopGrid(n, properties_), kLoopThreads, 0, stream_, in, out, n);
    });
  });
}

void CudaBackend::copyBytes(void* dst, const void* src, int64_t bytes) {
  copy(dst, src, static_cast<size_t>(bytes), stream_);
}

Staging& CudaBackend::staging() {
  if (!staging_) staging_ = std::make_unique<Staging>(*work_, memory_);
  return *staging_;
}

void CudaBackend::toHost(void* host, const void* src, int64_t bytes) {
  staging().down(host, src, static_cast<size_t>(bytes));
}

void CudaBackend::fromHost(void* dst, const void* host, int64_t bytes) {
  staging().up(dst, host, static_cast<size_t>(bytes));
}

std::unique_ptr<Readback> CudaBackend::readback(const std::vector<Piece>& pieces) { return staging().readback(pieces); }

int64_t CudaBackend::findOutOfRange(const int32_t* values, int64_t n, int64_t lo, int64_t hi, int64_t except) {
  Workspace found(memory_, sizeof(int64_t));
  auto* first = found.as<int64_t>();
  launch(fillKernel<int64_t>, {1}, kWarp, 0, stream_, first, static_cast<double>(kNone), int64_t{1});
  launch(rangeKernel, loopGrid(n, properties_), kLoopThreads, 0, stream_, values, n, lo, hi, except, first);
  int64_t position = 0;
  toHost(&position, first, sizeof position);
  return position == kNone ? -1 : position;
}

}  // namespace d2v::cuda
