// Many Philox words at once (the algorithm is in ../random.h), laid out so that the compiler vectorises the rounds.
#pragma once

#include <cstdint>

#include "../random.h"

#ifndef D2V_ISA
#define D2V_ISA isa_base
#endif

namespace d2v {
namespace D2V_ISA {

constexpr int kPhiloxBlocks = 16;  // blocks per call of the inner function

/// Words of kPhiloxBlocks blocks from `first` on: 4 * kPhiloxBlocks values in stream order.
inline void philoxGroup(const RngKey& key, uint64_t first, uint32_t* __restrict out) {
  uint32_t c0[kPhiloxBlocks], c1[kPhiloxBlocks], c2[kPhiloxBlocks], c3[kPhiloxBlocks];
  for (int l = 0; l < kPhiloxBlocks; ++l) {
    const uint64_t block = first + static_cast<uint64_t>(l);
    c0[l] = static_cast<uint32_t>(block);
    c1[l] = static_cast<uint32_t>(block >> 32);
    c2[l] = key.stream;
    c3[l] = key.update;
  }
  uint32_t k0 = key.seedLo, k1 = key.seedHi;
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int l = 0; l < kPhiloxBlocks; ++l) {
      const uint64_t a = 0xD2511F53ull * c0[l], b = 0xCD9E8D57ull * c2[l];
      const uint32_t n0 = static_cast<uint32_t>(b >> 32) ^ c1[l] ^ k0, n2 = static_cast<uint32_t>(a >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<uint32_t>(b);
      c3[l] = static_cast<uint32_t>(a);
      c0[l] = n0;
      c2[l] = n2;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int l = 0; l < kPhiloxBlocks; ++l) {
    out[4 * l] = c0[l];
    out[4 * l + 1] = c1[l];
    out[4 * l + 2] = c2[l];
    out[4 * l + 3] = c3[l];
  }
}

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
