// Normally distributed numbers from Philox words: the steps of ../cpu/random.cc, so that values agree with the CPU's to a few
// units in the last place. Polynomials, no calls: about twenty instructions per number beside the fifteen of Philox.
#pragma once

#include "../random.h"
#include "device.h"

namespace d2v::cuda {

/// ln(u) for u in [2^-24, 1]: u = m 2^e with m in [sqrt(1/2), sqrt 2), then the series of 2 atanh((m-1)/(m+1)).
D2V_DEVICE float logUnit(float u) {
  uint32_t bits = floatBits(u);
  const int32_t e = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
  const float m = bitsFloat(bits - (static_cast<uint32_t>(e) << 23));
  const float t = (m - 1.0f) * reciprocal(m + 1.0f), t2 = t * t;
  const float series = fmaf(t2, fmaf(t2, fmaf(t2, fmaf(t2, 0.22222222f, 0.28571430f), 0.4f), 0.66666667f), 2.0f);
  return fmaf(static_cast<float>(e), 0.69314718f, t * series);
}

/// Box-Muller: two numbers of mean 0 and deviation `std` from two words; `even` belongs to the even element.
D2V_DEVICE void normalPair(uint32_t word0, uint32_t word1, float std, float& even, float& odd) {
  const float u1 = static_cast<float>(static_cast<int32_t>((word0 >> 8) + 1)) * 5.9604644775390625e-8f;
  const float square = -2.0f * logUnit(u1);
  const float radius = square > 0.0f ? std * square * inverseSqrt(square) : 0.0f;
  // The angle in quarter turns: nearest quarter q, rest r in [-1/2, 1/2].
  const int32_t k = static_cast<int32_t>(word1 >> 8), q = (k + (1 << 21)) >> 22;
  const float x = static_cast<float>(k - q * (1 << 22)) * 3.74507027e-7f;  // pi/2 * 2^-22
  const float x2 = x * x;
  const float s = fmaf(
      x * x2, fmaf(x2, fmaf(x2, fmaf(x2, 2.7557319e-6f, -1.9841270e-4f), 8.3333333e-3f), -0.16666667f), x);
  const float c = fmaf(
      x2, fmaf(x2, fmaf(x2, fmaf(x2, fmaf(x2, -2.7557319e-7f, 2.4801587e-5f), -1.3888889e-3f), 4.1666667e-2f), -0.5f),
      1.0f);
  const bool swap = q & 1;
  const float cosine = swap ? s : c, sine = swap ? c : s;
  even = radius * (((q + 1) & 2) ? -cosine : cosine);
  odd = radius * ((q & 2) ? -sine : sine);
}

/// Four numbers: elements 4 * block .. 4 * block + 3 of the stream.
D2V_DEVICE void normalBlock(const RngKey& key, uint64_t block, float std, float (&out)[4]) {
  uint32_t words[4];
  philox(key, block, words);
  normalPair(words[0], words[1], std, out[0], out[1]);
  normalPair(words[2], words[3], std, out[2], out[3]);
}

}  // namespace d2v::cuda
