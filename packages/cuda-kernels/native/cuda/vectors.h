// Moving neighbours of a float operand as one 16-byte piece, as f32 in registers whatever they are in memory.
//
// Kernels of memory-bound ops are templates over T (float or Bf16) and N, the elements that a lane moves at once: kWide<T>
// (16 bytes of T) where every address and row length allows it, 1 otherwise. The host chooses at the launch with
// `fitsWide`. An f32 operand beside a bf16 one moves N floats as two pieces of 16 bytes.
#pragma once

#include <cstring>
#include <string>

#include "../errors.h"
#include "../types.h"
#include "device.h"

namespace d2v::cuda {

/// Elements of T in 16 bytes.
template <typename T>
constexpr int kWide = static_cast<int>(16 / sizeof(T));

/// Whether rows of `d` elements of T that begin at `p` can be moved in pieces of 16 bytes; null needs nothing.
template <typename T>
inline bool fitsWide(const T* p, int64_t d) {
  return p == nullptr || (reinterpret_cast<uintptr_t>(p) % 16 == 0 && d * static_cast<int64_t>(sizeof(T)) % 16 == 0);
}

/// to[i] = from[i] for N neighbours; from N > 1 on the address is a multiple of min(16, N * sizeof(T)) bytes.
template <int N, typename T>
D2V_DEVICE void load(float (&to)[N], const T* from) {
  if constexpr (N * sizeof(T) <= 16) {
    const Vec<T, N> piece = *reinterpret_cast<const Vec<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = toFloat(piece[i]);
  } else {
    constexpr int each = kWide<T>;
#pragma unroll
    for (int k = 0; k < N; k += each) {
      const Vec<T, each> piece = *reinterpret_cast<const Vec<T, each>*>(from + k);
#pragma unroll
      for (int i = 0; i < each; ++i) to[k + i] = toFloat(piece[i]);
    }
  }
}

/// to[i] = from[i], rounded to T, for N neighbours; alignment as for `load`.
template <int N, typename T>
D2V_DEVICE void store(T* to, const float (&from)[N]) {
  constexpr int each = N < kWide<T> ? N : kWide<T>;
#pragma unroll
  for (int k = 0; k < N; k += each) {
    Vec<T, each> piece;
    if constexpr (sizeof(T) == 2 && each % 2 == 0) {
      uint32_t words[each / 2];  // one instruction rounds two numbers
#pragma unroll
      for (int i = 0; i < each / 2; ++i) words[i] = packBf16(from[k + 2 * i], from[k + 2 * i + 1]);
      memcpy(&piece, words, sizeof piece);
    } else {
#pragma unroll
      for (int i = 0; i < each; ++i) piece[i] = fromFloat<T>(from[k + i]);
    }
    *reinterpret_cast<Vec<T, each>*>(to + k) = piece;
  }
}

/// The address of an operand that has to be of type T (all float operands of a call share one). `what` names it.
template <typename T>
inline T* typed(const void* data, DType dtype, const char* what) {
  const DType expected = sizeof(T) == 2 ? DType::BF16 : DType::F32;
  if (data != nullptr && dtype != expected) {
    throw ArgumentError(std::string(what) + ": is " + nameOf(dtype) + " beside operands of " + nameOf(expected) +
                        "; cast it first");
  }
  return static_cast<T*>(const_cast<void*>(data));
}
template <typename T>
inline const T* typed(In x, const char* what) {
  return typed<T>(x.data, x.dtype, what);
}
template <typename T>
inline T* typed(Out x, const char* what) {
  return typed<T>(x.data, x.dtype, what);
}

/// Calls body(T()) with T the element type of `dtype`: float or Bf16.
template <typename Body>
inline void forFloatType(DType dtype, const Body& body) {
  if (dtype == DType::BF16) {
    body(Bf16());
  } else {
    body(float());
  }
}

}  // namespace d2v::cuda
