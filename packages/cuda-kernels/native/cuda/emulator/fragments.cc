#include "fragments.h"

#include <algorithm>
#include <cstring>

namespace d2v::cuda::emulator {

namespace {

constexpr int kLanes = 32;

float asFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

void shuffleLanes(void* const args[]) {
  uint64_t values[kLanes];
  for (int l = 0; l < kLanes; ++l) values[l] = static_cast<ShuffleArgs*>(args[l])->value;
  for (int l = 0; l < kLanes; ++l) {
    auto& a = *static_cast<ShuffleArgs*>(args[l]);
    if (a.lane < 0 || a.lane >= kLanes) fail("a shuffle reads lane " + std::to_string(a.lane));
    a.value = values[a.lane];
  }
}

void voteOfLanes(void* const args[]) {
  uint32_t all = 0;
  for (int l = 0; l < kLanes; ++l) all |= static_cast<uint32_t>(static_cast<VoteArgs*>(args[l])->predicate) << l;
  for (int l = 0; l < kLanes; ++l) static_cast<VoteArgs*>(args[l])->result = all;
}

/// c += a b from whole matrices, a [16,K], b [K,8], into the lanes' fragments of c.
template <int K>
void accumulate(const float (&a)[16][K], const float (&b)[K][8], void* const args[]) {
  for (int row = 0; row < 16; ++row) {
    float sums[8];
    float* c[8];
    for (int n = 0; n < 8; ++n) {
      c[n] = static_cast<MultiplyArgs*>(args[row % 8 * 4 + n / 2])->c + row / 8 * 2 + n % 2;
      sums[n] = *c[n];
    }
    for (int k = 0; k < K; ++k) {
      for (int n = 0; n < 8; ++n) sums[n] += a[row][k] * b[k][n];
    }
    for (int n = 0; n < 8; ++n) *c[n] = sums[n];
  }
}

void multiplyBf16(void* const args[]) {
  float a[16][16], b[16][8];
  for (int l = 0; l < kLanes; ++l) {
    const auto& f = *static_cast<MultiplyArgs*>(args[l]);
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i) {
      float* pair = &a[g + i % 2 * 8][2 * t + i / 2 * 8];
      pair[0] = asFloat(f.a[i] << 16);
      pair[1] = asFloat(f.a[i] & 0xffff0000u);
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * t + 8 * i][g] = asFloat(f.b[i] << 16);
      b[2 * t + 8 * i + 1][g] = asFloat(f.b[i] & 0xffff0000u);
    }
  }
  accumulate(a, b, args);
}

void multiplyTf32s(void* const args[]) {
  constexpr uint32_t kTop = 0xffffe000u;  // 19 bits
  float a[16][8], b[8][8];
  for (int l = 0; l < kLanes; ++l) {
    const auto& f = *static_cast<MultiplyArgs*>(args[l]);
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = asFloat(f.a[i] & kTop);
    for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = asFloat(f.b[i] & kTop);
  }
  accumulate(a, b, args);
}

MatrixReads allReads;

/// Counts the reads of one call. Rows at the same address are one.
void countReads(void* const args[]) {
  for (int first = 0; first < kLanes; first += 8) {
    const unsigned char* rows[8];
    int count = 0, inBanks[8] = {}, turns = 0;
    for (int l = first; l < first + 8; ++l) {
      const unsigned char* row = static_cast<LoadArgs*>(args[l])->row;
      if (std::find(rows, rows + count, row) != rows + count) continue;
      rows[count++] = row;
      turns = std::max(turns, ++inBanks[(row - here.shared) / 16 % 8]);  // 128 bytes wide
    }
    ++allReads.reads;
    allReads.turns += turns;
  }
}

void load(bool transposed, void* const args[]) {
  uint16_t matrix[4][8][8];
  for (int l = 0; l < kLanes; ++l) {
    const unsigned char* row = static_cast<LoadArgs*>(args[l])->row;
    const int64_t offset = row - here.shared;
    if (offset < 0 || offset + 16 > here.sharedBytes || offset % 16 != 0) {
      fail("matrices are loaded from byte " + std::to_string(offset) + " of shared memory by lane " +
           std::to_string(l) + "; a row is 16 bytes at a multiple of 16 within " + std::to_string(here.sharedBytes));
    }
    std::memcpy(matrix[l / 8][l % 8], row, 16);
  }
  countReads(args);
  for (int l = 0; l < kLanes; ++l) {
    uint32_t* r = static_cast<LoadArgs*>(args[l])->r;
    const int g = l / 4, t = 2 * (l % 4);
    for (int i = 0; i < 4; ++i) {
      const auto& m = matrix[i];
      r[i] = transposed ? m[t][g] | static_cast<uint32_t>(m[t + 1][g]) << 16
                        : m[g][t] | static_cast<uint32_t>(m[g][t + 1]) << 16;
    }
  }
}

}  // namespace

MatrixReads matrixReads() { return allReads; }

const char* nameOf(Call call) {
  switch (call) {
    case Call::SyncWarp: return "syncWarp";
    case Call::Shuffle: return "a shuffle";
    case Call::Vote: return "vote";
    case Call::Multiply: return "multiply";
    case Call::MultiplyTf32: return "multiplyTf32";
    case Call::LoadMatrices: return "loadMatrices";
    case Call::LoadMatricesTransposed: return "loadMatricesTransposed";
  }
  return "?";
}

void perform(Call call, void* const args[]) {
  switch (call) {
    case Call::SyncWarp: return;
    case Call::Shuffle: return shuffleLanes(args);
    case Call::Vote: return voteOfLanes(args);
    case Call::Multiply: return multiplyBf16(args);
    case Call::MultiplyTf32: return multiplyTf32s(args);
    case Call::LoadMatrices: return load(false, args);
    case Call::LoadMatricesTransposed: return load(true, args);
  }
}

}  // namespace d2v::cuda::emulator
