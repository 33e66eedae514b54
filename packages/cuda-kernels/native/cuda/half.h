// float16 values: stored, moved and cast, never computed with. By bits, since casts of them are rare.
#pragma once

#include "device.h"

namespace d2v::cuda {

struct alignas(2) F16 {
  uint16_t bits;
};

D2V_DEVICE float toFloat(F16 h) {
  const uint32_t sign = static_cast<uint32_t>(h.bits & 0x8000u) << 16, magnitude = h.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) {  // infinity; NaN becomes a quiet one
    return bitsFloat(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13) | (magnitude > 0x7c00u ? 0x400000u : 0u));
  }
  if (magnitude >= 0x400u) return bitsFloat(sign | ((magnitude << 13) + 0x38000000u));
  const float subnormal = static_cast<float>(magnitude) * 5.9604644775390625e-8f;  // 2^-24, exact
  return sign != 0 ? -subnormal : subnormal;
}

/// Rounds to nearest, ties to even; what is too large becomes infinity.
D2V_DEVICE F16 toF16(float x) {
  const uint32_t bits = floatBits(x), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  uint32_t h;
  if (magnitude > 0x7f800000u) {
    h = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {  // rounds to more than the largest half
    h = 0x7c00u;
  } else if (magnitude >= 0x38800000u) {
    const uint32_t rebased = magnitude - 0x38000000u;
    h = (rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13;
  } else if (magnitude < 0x33000000u) {
    h = 0;
  } else {  // subnormal half: shift the mantissa into place, round by what falls off
    const uint32_t shift = 126 - (magnitude >> 23), mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const uint32_t tie = 1u << (shift - 1), rest = mantissa & ((1u << shift) - 1);
    h = mantissa >> shift;
    if (rest > tie || (rest == tie && (h & 1u) != 0)) ++h;
  }
  return {static_cast<uint16_t>(sign | h)};
}

}  // namespace d2v::cuda
