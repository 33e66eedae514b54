// What attention adds to q.k: distances for ALiBi, key padding, dropout. Used by both passes.
#pragma once

#include <cmath>
#include <limits>

#include "../backend.h"
#include "philox.h"
#include "vec.h"

namespace d2v {
namespace D2V_ISA {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Positions of n tokens as floats, coordinate-major with row stride `ld` (a multiple of kLanes); one more row holds 1
/// for tokens that take part in ALiBi and 0 for the others (first coordinate negative) and the filling.
inline void loadPositions(const int32_t* positions, int64_t n, int64_t dims, float* out, int64_t ld) {
  for (int64_t p = 0; p < dims; ++p) {
    for (int64_t j = 0; j < ld; ++j) out[p * ld + j] = j < n ? static_cast<float>(positions[j * dims + p]) : 0.0f;
  }
  float* valid = out + dims * ld;
  for (int64_t j = 0; j < ld; ++j) valid[j] = j < n && positions[j * dims] >= 0 ? 1.0f : 0.0f;
}

/// Distances of the token `point` to kLanes tokens from j on, in the layout of loadPositions.
D2V_INLINE Vf distances(const int32_t* point, const float* others, int64_t ld, int64_t dims, bool euclidean,
                        int64_t j) {
  Vf sum = vzero();
  for (int64_t p = 0; p < dims; ++p) {
    const Vf d = vload(others + p * ld + j) - vset(static_cast<float>(point[p]));
    sum = euclidean ? vfma(d, d, sum) : sum + vabs(d);
  }
  if (euclidean) sum = vsqrt(sum);
  return sum * vload(others + dims * ld + j);
}

/// Multipliers (0 or 1 / (1 - p)) of columns [first, first + n) of probability row `row`; first a multiple of 4.
inline void dropoutRow(const AttentionShape& s, int64_t row, int64_t first, int64_t n, float* out) {
  const uint32_t threshold = dropThreshold(s.dropout);
  const float keep = static_cast<float>(1.0 / (1.0 - s.dropout));
  const int64_t start = row * ((s.tk + 3) / 4) * 4 + first;
  forWords(s.key, static_cast<uint64_t>(start), n, [&](int64_t at, const uint32_t* words, int64_t count) {
    for (int64_t i = 0; i < count; ++i) out[at + i] = words[i] < threshold ? 0.0f : keep;
  });
}

/// Where head h of token (b, i) begins.
inline int64_t headOffset(const AttentionShape& s, int64_t b, int64_t h, int64_t tokens, int64_t ld) {
  return b * tokens * ld + h * s.headDim;
}

}  // namespace D2V_ISA
}  // namespace d2v
