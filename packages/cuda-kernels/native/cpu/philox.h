// Many Philox words at once; the algorithm is in ../random.h.
#pragma once

#include <cstdint>

#include "../random.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef D2V_ISA
#define D2V_ISA isa_base
#endif

namespace d2v {
namespace D2V_ISA {

constexpr int kPhiloxBlocks = 16;  // blocks per call of philoxGroup

#if defined(__AVX2__)

// Each 64-bit lane holds one 32-bit counter word (above it: rubbish, which the 32 x 32 -> 64 bit product ignores), so a
// product needs no shuffling. Two vectors at once hide its latency.
struct PhiloxLanes {
  __m256i c0, c1, c2, c3;
};

inline void philoxRound(PhiloxLanes& p, __m256i k0, __m256i k1) {
  const __m256i a = _mm256_mul_epu32(p.c0, _mm256_set1_epi64x(0xD2511F53ll));
  const __m256i b = _mm256_mul_epu32(p.c2, _mm256_set1_epi64x(0xCD9E8D57ll));
  p.c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(b, 32), p.c1), k0);
  p.c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(a, 32), p.c3), k1);
  p.c1 = b;
  p.c3 = a;
}

inline PhiloxLanes philoxStart(const RngKey& key, uint64_t first) {
  const auto at = static_cast<long long>(first);
  PhiloxLanes p;
  p.c0 = _mm256_set_epi64x(at + 3, at + 2, at + 1, at);
  p.c1 = _mm256_srli_epi64(p.c0, 32);
  p.c2 = _mm256_set1_epi64x(key.stream);
  p.c3 = _mm256_set1_epi64x(key.update);
  return p;
}

/// Four blocks in stream order.
inline void philoxStore(const PhiloxLanes& p, uint32_t* out) {
  const __m256i low = _mm256_set1_epi64x(0xffffffffll);
  const __m256i x = _mm256_or_si256(_mm256_and_si256(p.c0, low), _mm256_slli_epi64(p.c1, 32));  // words 0, 1
  const __m256i y = _mm256_or_si256(_mm256_and_si256(p.c2, low), _mm256_slli_epi64(p.c3, 32));  // words 2, 3
  const __m256i even = _mm256_unpacklo_epi64(x, y), odd = _mm256_unpackhi_epi64(x, y);  // blocks 0, 2 and 1, 3
  __m256i* to = reinterpret_cast<__m256i*>(out);
  _mm256_storeu_si256(to, _mm256_permute2x128_si256(even, odd, 0x20));
  _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(even, odd, 0x31));
}

/// Words of kPhiloxBlocks blocks from `first` on: 4 * kPhiloxBlocks values in stream order.
inline void philoxGroup(const RngKey& key, uint64_t first, uint32_t* out) {
  for (int l = 0; l < kPhiloxBlocks; l += 8) {
    PhiloxLanes p = philoxStart(key, first + static_cast<uint64_t>(l));
    PhiloxLanes q = philoxStart(key, first + static_cast<uint64_t>(l) + 4);
    uint32_t k0 = key.seedLo, k1 = key.seedHi;
    for (int round = 0; round < 10; ++round) {
      const __m256i v0 = _mm256_set1_epi64x(k0), v1 = _mm256_set1_epi64x(k1);
      philoxRound(p, v0, v1);
      philoxRound(q, v0, v1);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    philoxStore(p, out + 4 * l);
    philoxStore(q, out + 4 * l + 16);
  }
}

#else

/// Words of kPhiloxBlocks blocks from `first` on: 4 * kPhiloxBlocks values in stream order.
inline void philoxGroup(const RngKey& key, uint64_t first, uint32_t* out) {
  for (int l = 0; l < kPhiloxBlocks; ++l) philox(key, first + static_cast<uint64_t>(l), out + 4 * l);
}

#endif

/// Calls body(offset, words, count) for words [start, start + n) of a stream in pieces of at most 4 * kPhiloxBlocks;
/// `offset` counts from 0, words[0] belongs to it. Pieces begin at even words when `start` is even.
template <typename Body>
inline void forWords(const RngKey& key, uint64_t start, int64_t n, const Body& body) {
  uint32_t words[4 * kPhiloxBlocks];
  int64_t done = 0;
  while (done < n) {
    const uint64_t at = start + static_cast<uint64_t>(done);
    const auto skip = static_cast<int64_t>(at & 3);
    const int64_t count = n - done < 4 * kPhiloxBlocks - skip ? n - done : 4 * kPhiloxBlocks - skip;
    philoxGroup(key, at >> 2, words);
    body(done, words + skip, count);
    done += count;
  }
}

/// out[i] = mean + std * normal(start + i), i in [0, n).
void fillNormal(const RngKey& key, uint64_t start, int64_t n, float mean, float std, float* out);

}  // namespace D2V_ISA
}  // namespace d2v
