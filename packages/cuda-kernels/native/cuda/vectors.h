// Moving neighbours of a float operand as one 16-byte piece, as f32 in registers whatever they are in memory.
//
// Kernels of memory-bound ops are templates over T (float or Bf16) and N, the elements that a lane moves at once: kWide<T>
// (16 bytes of T) where every address and row length allows it, 1 otherwise. The host chooses at the launch with
// `fitsWide`. An f32 operand beside a bf16 one moves N floats as two pieces of 16 bytes.
#pragma once

#include <string>
#include <type_traits>

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

/// N neighbours as the bits that they are in memory, at most 16 bytes of them. Kernels read all pieces that they are going
/// to need before they look at one: what follows a load may not wait for it.
template <typename T, int N>
struct RawPiece {
  static constexpr bool kPairs = sizeof(T) == 2 && N % 2 == 0;  // two bf16 in a word
  using Word = std::conditional_t<kPairs, uint32_t, T>;
  Vec<Word, N * static_cast<int>(sizeof(T)) / static_cast<int>(sizeof(Word))> words;

  /// The address is a multiple of the size.
  D2V_DEVICE void read(const T* from) { words = *reinterpret_cast<const decltype(words)*>(from); }
  D2V_DEVICE void write(T* to) const { *reinterpret_cast<decltype(words)*>(to) = words; }
  /// `value` in every place.
  D2V_DEVICE void fill(float value) {
#pragma unroll
    for (Word& word : words.v) {
      if constexpr (kPairs) word = packBf16(value, value);
      else word = fromFloat<T>(value);
    }
  }
  D2V_DEVICE void widen(float (&to)[N]) const {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if constexpr (kPairs) {  // one instruction each
        to[i] = bitsFloat(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u);
      } else {
        to[i] = toFloat(words[i]);
      }
    }
  }
  /// Rounds to T.
  D2V_DEVICE void narrow(const float (&from)[N]) {
    if constexpr (kPairs) {
#pragma unroll
      for (int i = 0; i < N / 2; ++i) words[i] = packBf16(from[2 * i], from[2 * i + 1]);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) words[i] = fromFloat<T>(from[i]);
    }
  }
};

/// to[i] = from[i] for N neighbours; from N > 1 on the address is a multiple of min(16, N * sizeof(T)) bytes.
template <int N, typename T>
D2V_DEVICE void load(float (&to)[N], const T* from) {
  constexpr int each = N < kWide<T> ? N : kWide<T>;
#pragma unroll
  for (int k = 0; k < N; k += each) {
    RawPiece<T, each> piece;
    float values[each];
    piece.read(from + k);
    piece.widen(values);
#pragma unroll
    for (int i = 0; i < each; ++i) to[k + i] = values[i];
  }
}

/// to[i] = from[i], rounded to T, for N neighbours; alignment as for `load`.
template <int N, typename T>
D2V_DEVICE void store(T* to, const float (&from)[N]) {
  constexpr int each = N < kWide<T> ? N : kWide<T>;
#pragma unroll
  for (int k = 0; k < N; k += each) {
    RawPiece<T, each> piece;
    float values[each];
#pragma unroll
    for (int i = 0; i < each; ++i) values[i] = from[k + i];
    piece.narrow(values);
    piece.write(to + k);
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
