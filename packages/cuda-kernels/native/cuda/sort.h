// Stable sort of ids by counting digits of 8 bits, lowest first (LSD radix sort): where each id occurs, in order.
//
// A pass takes three kernels: blocks count the digits of their 1024 ids; one block turns the counts, digit by digit and
// block by block, into the places where they begin; blocks move their ids there. Within a block a warp numbers equal digits
// by comparing votes on each bit, so equal ids keep their order, and the result never depends on timing.
#pragma once

#include "launch.h"

namespace d2v::cuda {

constexpr int kSortThreads = 256, kSortWarps = kSortThreads / kWarp, kSortRounds = 4;
constexpr int kSortTile = kSortThreads * kSortRounds, kDigits = 256, kDigitBits = 8, kScanThreads = 1024;

/// What a pass reads: ids at their own positions (first pass; those equal to `skip` count as `last`), or pairs.
struct SortInput {
  const int32_t* ids;  // null: keys and positions
  int64_t skip;
  uint32_t last;
  const uint32_t *keys, *positions;
  D2V_DEVICE uint32_t key(int64_t i) const {
    if (ids == nullptr) return keys[i];
    return ids[i] == skip ? last : static_cast<uint32_t>(ids[i]);
  }
  D2V_DEVICE uint32_t position(int64_t i) const { return ids == nullptr ? positions[i] : static_cast<uint32_t>(i); }
};

/// counts[digit * blocks + block].
template <typename Input>
D2V_KERNEL(kSortThreads)
countDigits(Input in, int64_t n, int shift, uint32_t* counts) {
  uint32_t* local = shared<uint32_t>();
  local[threadX()] = 0;
  syncThreads();
  for (int r = 0; r < kSortRounds; ++r) {
    const int64_t i = static_cast<int64_t>(blockX()) * kSortTile + r * kSortThreads + threadX();
    if (i < n) atomicAdd(local + (in.key(i) >> shift & (kDigits - 1)), 1u);
  }
  syncThreads();
  counts[static_cast<int64_t>(threadX()) * gridX() + blockX()] = local[threadX()];
}

/// counts[i] = sum of counts[0..i), by one block: each thread takes a run of them.
template <typename T>
D2V_KERNEL(kScanThreads)
scanCounts(T* counts, int64_t n) {
  T* sums = shared<T>();
  const int64_t each = (n + kScanThreads - 1) / kScanThreads, begin = threadX() * each;
  const int64_t end = begin + each < n ? begin + each : n;
  T own = 0;
  for (int64_t i = begin; i < end; ++i) own += counts[i];
  T before = own;  // over the warp's lanes so far
  for (int delta = 1; delta < kWarp; delta *= 2) {
    const T lower = shuffle(before, lane() >= delta ? lane() - delta : lane());
    if (lane() >= delta) before += lower;
  }
  if (lane() == kWarp - 1) sums[warp()] = before;
  syncThreads();
  T at = before - own;
  for (int w = 0; w < warp(); ++w) at += sums[w];
  for (int64_t i = begin; i < end; ++i) {
    const T count = counts[i];
    counts[i] = at;
    at += count;
  }
}

template <typename Input>
D2V_KERNEL(kSortThreads)
placeByDigit(Input in, int64_t n, int shift, const uint32_t* begins, uint32_t* keys, uint32_t* positions) {
  uint32_t* counts = shared<uint32_t>();  // [warp][digit]: first how many, then where they begin
  for (int w = 0; w < kSortWarps; ++w) counts[w * kDigits + threadX()] = 0;
  syncThreads();
  uint32_t* own = counts + warp() * kDigits;
  const int64_t first = static_cast<int64_t>(blockX()) * kSortTile + warp() * kWarp * kSortRounds + lane();
  uint32_t key[kSortRounds], rank[kSortRounds];
#pragma unroll
  for (int r = 0; r < kSortRounds; ++r) {
    const bool valid = first + r * kWarp < n;
    key[r] = valid ? in.key(first + r * kWarp) : 0;
    const uint32_t digit = key[r] >> shift & (kDigits - 1);
    uint32_t equal = vote(valid);
    for (int bit = 0; bit < kDigitBits; ++bit) {
      const bool set = digit >> bit & 1;
      const uint32_t with = vote(set);
      equal &= set ? with : ~with;
    }
    rank[r] = own[digit] + static_cast<uint32_t>(bitCount(equal & ((1u << lane()) - 1)));
    syncWarp();
    if (valid && lowestBit(equal) == lane()) own[digit] += static_cast<uint32_t>(bitCount(equal));
    syncWarp();
  }
  syncThreads();
  uint32_t at = begins[static_cast<int64_t>(threadX()) * gridX() + blockX()];
  for (int w = 0; w < kSortWarps; ++w) {
    const uint32_t count = counts[w * kDigits + threadX()];
    counts[w * kDigits + threadX()] = at;
    at += count;
  }
  syncThreads();
#pragma unroll
  for (int r = 0; r < kSortRounds; ++r) {
    const int64_t i = first + r * kWarp;
    if (i >= n) continue;
    const uint32_t to = own[key[r] >> shift & (kDigits - 1)] + rank[r];
    keys[to] = key[r];
    positions[to] = in.position(i);
  }
}

/// Sorted ids and where they came from, in scratch memory of the size that sortScratch gives.
struct Sorted {
  uint32_t *keys, *positions;
};
constexpr int64_t sortScratch(int64_t n) { return 4 * n + kDigits * blocksFor(n, kSortTile); }

/// Sorts ids [n] < v; those equal to `skip` come last, as v. n < 2^32.
inline Sorted sortIds(const int32_t* ids, int64_t n, int64_t v, int64_t skip, uint32_t* scratch, Stream stream) {
  const int64_t blocks = blocksFor(n, kSortTile);
  uint32_t* counts = scratch + 4 * n;
  Sorted to{scratch, scratch + n}, from{scratch + 2 * n, scratch + 3 * n};
  SortInput in{ids, skip, static_cast<uint32_t>(v), nullptr, nullptr};
  for (int shift = 0; shift == 0 || v >> shift > 0; shift += kDigitBits) {
    launch(countDigits<SortInput>, Grid{blocks}, kSortThreads, kDigits * sizeof(uint32_t), stream, in, n, shift,
           counts);
    launch(scanCounts<uint32_t>, Grid{}, kScanThreads, kScanThreads / kWarp * sizeof(uint32_t), stream, counts,
           kDigits * blocks);
    launch(placeByDigit<SortInput>, Grid{blocks}, kSortThreads, kSortWarps * kDigits * sizeof(uint32_t), stream, in, n,
           shift, counts, to.keys, to.positions);
    const Sorted done = to;
    to = from;
    from = done;
    in = {nullptr, 0, 0, done.keys, done.positions};
  }
  return from;
}

}  // namespace d2v::cuda
