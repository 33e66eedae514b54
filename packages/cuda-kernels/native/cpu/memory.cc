// Fill, casts and copies.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "half.h"
#include "loops.h"

namespace d2v {
namespace D2V_ISA {

namespace {

template <typename T>
constexpr bool isFloat =
    std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, Bf16> || std::is_same_v<T, F16>;

inline float toFloat(float x) { return x; }
inline double toFloat(double x) { return x; }

template <typename To, typename From>
inline To clampTo(From x) {
  constexpr auto lo = std::numeric_limits<To>::min(), hi = std::numeric_limits<To>::max();
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

/// `x` is a float or a double; the halves round to f32 first.
template <typename To, typename From>
inline To fromFloat(From x) {
  if constexpr (std::is_same_v<To, double>) return static_cast<double>(x);
  if constexpr (std::is_same_v<To, float>) return static_cast<float>(x);
  if constexpr (std::is_same_v<To, Bf16>) return toBf16(static_cast<float>(x));
  if constexpr (std::is_same_v<To, F16>) return toF16(static_cast<float>(x));
}

template <typename From, typename To>
inline To convert(From x) {
  if constexpr (isFloat<From>) {
    if constexpr (isFloat<To>) return fromFloat<To>(toFloat(x));
    else return clampTo<To>(toFloat(x));
  } else {
    if constexpr (std::is_same_v<To, double>) return static_cast<double>(x);
    else if constexpr (isFloat<To>) return fromFloat<To>(static_cast<float>(x));
    else return clampTo<To>(x);
  }
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

template <typename From, typename To>
void convertAll(const From* __restrict src, To* __restrict dst, int64_t n) {
  parallelFor(n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dst[i] = convert<From, To>(src[i]);
  });
}

}  // namespace

void CpuBackend::fill(void* dst, DType t, double value, int64_t n) {
  if (value == 0 && !std::signbit(value)) {
    parallelFor(n, kGrain, [=](int64_t begin, int64_t end) {
      const size_t size = sizeOf(t);
      std::memset(static_cast<char*>(dst) + static_cast<size_t>(begin) * size, 0, static_cast<size_t>(end - begin) * size);
    });
    return;
  }
  withType(t, [&](auto kind) {
    using T = decltype(kind);
    T filled;
    if constexpr (isFloat<T>) filled = fromFloat<T>(value);
    else filled = clampTo<T>(value);
    T* out = static_cast<T*>(dst);
    parallelFor(n, kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = filled;
    });
  });
}

void CpuBackend::cast(const void* src, DType from, void* dst, DType to, int64_t n) {
  if (from == to) {
    copyBytes(dst, src, n * static_cast<int64_t>(sizeOf(from)));
    return;
  }
  withType(from, [&](auto source) {
    withType(to, [&](auto target) {
      convertAll(static_cast<const decltype(source)*>(src), static_cast<decltype(target)*>(dst), n);
    });
  });
}

void CpuBackend::copyBytes(void* dst, const void* src, int64_t bytes) {
  parallelFor(bytes, 4 * kGrain, [=](int64_t begin, int64_t end) {
    std::memcpy(static_cast<char*>(dst) + begin, static_cast<const char*>(src) + begin, static_cast<size_t>(end - begin));
  });
}

void CpuBackend::toHost(void* host, const void* src, int64_t bytes) { copyBytes(host, src, bytes); }

void CpuBackend::fromHost(void* dst, const void* host, int64_t bytes) { copyBytes(dst, host, bytes); }

namespace {

/// On this device the copy is made at once.
class HostReadback final : public Readback {
 public:
  explicit HostReadback(const std::vector<Piece>& pieces) {
    for (const Piece& p : pieces) {
      const char* first = static_cast<const char*>(p.src);
      bytes_.insert(bytes_.end(), first, first + p.bytes);
    }
  }
  const char* wait() override { return bytes_.data(); }

 private:
  std::vector<char> bytes_;
};

}  // namespace

std::unique_ptr<Readback> CpuBackend::readback(const std::vector<Piece>& pieces) {
  return std::make_unique<HostReadback>(pieces);
}

int64_t CpuBackend::findOutOfRange(const int32_t* values, int64_t n, int64_t lo, int64_t hi, int64_t except) {
  constexpr int64_t block = 4096;
  for (int64_t first = 0; first < n; first += block) {
    const int64_t last = std::min(n, first + block);
    int bad = 0;
    for (int64_t i = first; i < last; ++i) bad |= static_cast<int>(values[i] < lo) | static_cast<int>(values[i] >= hi);
    if (!bad) continue;
    for (int64_t i = first; i < last; ++i) {
      if ((values[i] < lo || values[i] >= hi) && values[i] != except) return i;
    }
  }
  return -1;
}

}  // namespace D2V_ISA
}  // namespace d2v
