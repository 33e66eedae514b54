// Philox 4x32-10 (Salmon et al. 2011), counter based: word i of a stream depends on (key, i) only, so results are
// equal for any number of threads and on any device.
//
//   key     = [seedLo, seedHi]
//   counter = [block lo, block hi, stream, update]         block = i / 4, the word is output[i % 4]
//   round   : (hi0,lo0) = 0xD2511F53 * c0   (hi1,lo1) = 0xCD9E8D57 * c2     (32x32 -> 64 bit products)
//             c = [hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0];  ten rounds; between rounds
//             k0 += 0x9E3779B9, k1 += 0xBB67AE85
//
//   uniform(i) = (word i >> 8) * 2^-24 in [0, 1);  between lo and hi: f32(lo + f32(hi - lo) * uniform(i)), sum in double
//   normal(i)  : pairs (i even: cosine, i odd: sine) from words 2j = i & ~1 and 2j + 1 of the same stream:
//             u1 = ((word[2j] >> 8) + 1) * 2^-24  in (0, 1],  u2 = (word[2j + 1] >> 8) * 2^-24
//             mean + std * sqrt(-2 ln u1) * (cos or sin)(2 pi u2), in f32 with errors of a few units in the last
//             place, which may differ between instruction sets
//   dropout(i) : kept when word i >= floor(p * 2^32), scaled by 1 / (1 - p)
#pragma once

#include <cstdint>

#include "types.h"

// Kernels of a GPU call these too.
#if defined(__CUDACC__)
#define D2V_ANYWHERE __host__ __device__ inline
#else
#define D2V_ANYWHERE inline
#endif

namespace d2v {

/// Four words of block `block`.
D2V_ANYWHERE void philox(const RngKey& key, uint64_t block, uint32_t out[4]) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32);
  uint32_t c2 = key.stream, c3 = key.update, k0 = key.seedLo, k1 = key.seedHi;
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
    const uint32_t n0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(b);
    c3 = static_cast<uint32_t>(a);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/// Words are compared with this: dropped when word < threshold. p in [0, 1).
D2V_ANYWHERE uint32_t dropThreshold(double p) { return static_cast<uint32_t>(p * 4294967296.0); }

/// out[j] = 0 or `keepScale` for j in [0, n): word j of the blocks from `firstBlock` on. Attention gives row r of
/// its probabilities the blocks r * ceil(Tk / 4) .., r = (b * H + h) * Tq + i.
inline void dropMask(const RngKey& key, uint64_t firstBlock, int64_t n, uint32_t threshold, float keepScale,
                     float* out) {
  uint32_t w[4];
  int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    philox(key, firstBlock + static_cast<uint64_t>(j / 4), w);
    for (int e = 0; e < 4; ++e) out[j + e] = w[e] < threshold ? 0.0f : keepScale;
  }
  if (j < n) {
    philox(key, firstBlock + static_cast<uint64_t>(j / 4), w);
    for (int e = 0; j + e < n; ++e) out[j + e] = w[e] < threshold ? 0.0f : keepScale;
  }
}

}  // namespace d2v
