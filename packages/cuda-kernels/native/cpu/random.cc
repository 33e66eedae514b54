// Normal, uniform and dropout. Every element depends on its index only, never on threads or vector width.
#include <cmath>
#include <cstring>

#include "loops.h"
#include "philox.h"

namespace d2v {
namespace D2V_ISA {

namespace {

/// ln(u) for u in [2^-24, 1]: u = m 2^e with m in [sqrt(1/2), sqrt 2), then the series of 2 atanh((m-1)/(m+1)).
inline float logUnit(float u) {
  uint32_t bits;
  std::memcpy(&bits, &u, sizeof bits);
  const int32_t e = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;
  bits -= static_cast<uint32_t>(e) << 23;
  float m;
  std::memcpy(&m, &bits, sizeof m);
  const float t = (m - 1.0f) / (m + 1.0f), t2 = t * t;
  const float series = 2.0f + t2 * (0.66666667f + t2 * (0.4f + t2 * (0.28571430f + t2 * 0.22222222f)));
  return static_cast<float>(e) * 0.69314718f + t * series;
}

/// Box-Muller on pairs of words: out[2j], out[2j+1] from words[2j], words[2j+1].
inline void boxMuller(const uint32_t* __restrict words, int pairs, float mean, float std, float* __restrict out) {
  float radius[2 * kPhiloxBlocks], cosine[2 * kPhiloxBlocks], sine[2 * kPhiloxBlocks];
#pragma omp simd
  for (int j = 0; j < pairs; ++j) {
    const float u1 = static_cast<float>(static_cast<int32_t>((words[2 * j] >> 8) + 1)) * 5.9604644775390625e-8f;
    radius[j] = std * std::sqrt(-2.0f * logUnit(u1));
    // The angle in quarter turns: nearest quarter q, rest r in [-1/2, 1/2].
    const auto k = static_cast<int32_t>(words[2 * j + 1] >> 8);
    const int32_t q = (k + (1 << 21)) >> 22;
    const float x = static_cast<float>(k - q * (1 << 22)) * 3.74507027e-7f;  // pi/2 * 2^-22
    const float x2 = x * x;
    const float s =
        x + x * x2 * (-0.16666667f + x2 * (8.3333333e-3f + x2 * (-1.9841270e-4f + x2 * 2.7557319e-6f)));
    const float c =
        1.0f + x2 * (-0.5f + x2 * (4.1666667e-2f + x2 * (-1.3888889e-3f + x2 * (2.4801587e-5f - x2 * 2.7557319e-7f))));
    const bool swap = q & 1;
    const float a = swap ? s : c, b = swap ? c : s;
    cosine[j] = ((q + 1) & 2) ? -a : a;
    sine[j] = (q & 2) ? -b : b;
  }
  for (int j = 0; j < pairs; ++j) {
    out[2 * j] = mean + radius[j] * cosine[j];
    out[2 * j + 1] = mean + radius[j] * sine[j];
  }
}

}  // namespace

void fillNormal(const RngKey& key, uint64_t start, int64_t n, float mean, float std, float* out) {
  const int64_t head = static_cast<int64_t>(start & 1);
  float piece[4 * kPhiloxBlocks];
  // Whole pairs only: an odd start or end takes one value of a pair.
  forWords(key, start - static_cast<uint64_t>(head), n + head + ((n + head) & 1),
           [&](int64_t offset, const uint32_t* words, int64_t count) {
             const int64_t first = offset - head;
             if (first >= 0 && first + count <= n) {
               boxMuller(words, static_cast<int>(count / 2), mean, std, out + first);
               return;
             }
             boxMuller(words, static_cast<int>(count / 2), mean, std, piece);
             for (int64_t i = 0; i < count; ++i) {
               if (first + i >= 0 && first + i < n) out[first + i] = piece[i];
             }
           });
}

void CpuBackend::normal(Out x, double mean, double std, const RngKey& key, int64_t n) {
  float* out = x;
  parallelFor(n, kGrain / 4, [&, out](int64_t begin, int64_t end) {
    fillNormal(key, static_cast<uint64_t>(begin), end - begin, static_cast<float>(mean), static_cast<float>(std),
               out + begin);
  });
}

void CpuBackend::uniform(Out x, double lo, double hi, const RngKey& key, int64_t n) {
  float* out = x;
  const double range = static_cast<double>(static_cast<float>(hi - lo));
  parallelFor(n, kGrain / 4, [=, &key](int64_t begin, int64_t end) {
    forWords(key, static_cast<uint64_t>(begin), end - begin, [=](int64_t at, const uint32_t* words, int64_t count) {
      float* piece = out + begin + at;
      for (int64_t i = 0; i < count; ++i) {
        // The product is exact in double (24 times 24 bits), so a fused multiply-add gives the same.
        piece[i] = static_cast<float>(lo + range * (static_cast<int32_t>(words[i] >> 8) * 0x1p-24));
      }
    });
  });
}

void CpuBackend::dropout(In x, Out y, double p, const RngKey& key, int64_t n) {
  const float* in = x;
  float* out = y;
  const uint32_t threshold = dropThreshold(p);
  const float keep = static_cast<float>(1 / (1 - p));
  parallelFor(n, kGrain / 4, [=, &key](int64_t begin, int64_t end) {
    forWords(key, static_cast<uint64_t>(begin), end - begin, [=](int64_t at, const uint32_t* words, int64_t count) {
      const float* from = in + begin + at;
      float* to = out + begin + at;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        const float factor = words[i] < threshold ? 0.0f : keep;  // 0 times NaN: a bad value is not hidden
        to[i] = from[i] * factor;
      }
    });
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
