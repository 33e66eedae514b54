// Fill, casts, copies and the search for wrong indices.
//
// All of it is bound by memory: a thread moves 8 neighbours at once between f32 and bf16 where the addresses allow it (the bf16
// copies of the weights, once per update: 4 bytes read and 2 written per element), one element otherwise.
#include <cmath>
#include <limits>
#include <type_traits>

#include "cuda_backend.h"
#include "half.h"
#include "launch.h"
#include "staging.h"

namespace d2v::cuda {

namespace {

constexpr int kThreads = 256;
/// No position: larger than any, and exact as a double.
constexpr int64_t kNone = int64_t{1} << 62;
/// Blocks that fill the GPU; a thread takes every so many'th piece.
constexpr int kBlocksPerMultiprocessor = 8;

Grid gridFor(int64_t pieces, const DeviceProperties& device) {
  const int64_t most = static_cast<int64_t>(device.multiprocessors) * kBlocksPerMultiprocessor;
  const int64_t blocks = blocksFor(pieces, kThreads);
  return {blocks < most ? blocks : most};
}

D2V_DEVICE int64_t firstPiece() { return static_cast<int64_t>(blockX()) * threadCount() + threadX(); }
D2V_DEVICE int64_t pieceStep() { return static_cast<int64_t>(gridX()) * threadCount(); }

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
D2V_KERNEL(kThreads) castKernel(const From* src, To* dst, int64_t n) {
  const int64_t pieces = n / N;
  for (int64_t i = firstPiece(); i < pieces; i += pieceStep()) {
    if constexpr (N == 1) {
      dst[i] = convert<To>(src[i]);
    } else {
      const Vec<From, N> from = reinterpret_cast<const Vec<From, N>*>(src)[i];
      Vec<To, N> to;
#pragma unroll
      for (int j = 0; j < N; ++j) to[j] = convert<To>(from[j]);
      reinterpret_cast<Vec<To, N>*>(dst)[i] = to;
    }
  }
  if constexpr (N > 1) {
    const int64_t i = pieces * N + firstPiece();
    if (i < n) dst[i] = convert<To>(src[i]);
  }
}

template <typename T>
D2V_KERNEL(kThreads) fillKernel(T* dst, double value, int64_t n) {
  const T filled = convert<T>(value);
  for (int64_t i = firstPiece(); i < n; i += pieceStep()) dst[i] = filled;
}

D2V_KERNEL(kThreads)
rangeKernel(const int32_t* values, int64_t n, int64_t lo, int64_t hi, int64_t except, int64_t* first) {
  for (int64_t i = firstPiece(); i < n; i += pieceStep()) {
    const int64_t x = values[i];
    if ((x < lo || x >= hi) && x != except) {
      atomicMin(first, i);
      return;  // later ones of this thread do not matter
    }
  }
}

bool aligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

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
    launch(fillKernel<T>, gridFor(n, properties_), kThreads, 0, stream_, static_cast<T*>(dst), value, n);
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
        if (aligned(in, kNeighbours * sizeof(From)) && aligned(out, kNeighbours * sizeof(To))) {
          launch(castKernel<From, To, kNeighbours>, gridFor(blocksFor(n, kNeighbours), properties_), kThreads, 0, stream_, in, out, n);
          return;
        }
      }
      launch(castKernel<From, To, 1>, gridFor(n, properties_), kThreads, 0, stream_, in, out, n);
    });
  });
}

void CudaBackend::copyBytes(void* dst, const void* src, int64_t bytes) {
  copy(dst, src, static_cast<size_t>(bytes), stream_);
}

Staging& CudaBackend::staging() {
  if (!staging_) staging_ = std::make_unique<Staging>(stream_);
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
  launch(rangeKernel, gridFor(n, properties_), kThreads, 0, stream_, values, n, lo, hi, except, first);
  int64_t position = 0;
  toHost(&position, first, sizeof position);
  return position == kNone ? -1 : position;
}

}  // namespace d2v::cuda
