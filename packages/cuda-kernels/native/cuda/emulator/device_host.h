// device.h on the host. Included by it only. What a warp or block does together is in emulator.cc.
#pragma once

#include <cstring>

#include "emulator.h"

namespace d2v::cuda {

D2V_DEVICE int threadX() { return emulator::here.thread; }
D2V_DEVICE int threadCount() { return emulator::here.threads; }
D2V_DEVICE int blockX() { return emulator::here.block[0]; }
D2V_DEVICE int blockY() { return emulator::here.block[1]; }
D2V_DEVICE int blockZ() { return emulator::here.block[2]; }
D2V_DEVICE int gridX() { return emulator::here.grid[0]; }
D2V_DEVICE int gridY() { return emulator::here.grid[1]; }

template <typename T>
D2V_DEVICE T* shared(int offset) {
  if (offset < 0 || offset > emulator::here.sharedBytes || offset % static_cast<int>(alignof(T)) != 0) {
    emulator::fail("shared memory at byte " + std::to_string(offset) + " of " +
                   std::to_string(emulator::here.sharedBytes) + ", for elements aligned to " +
                   std::to_string(alignof(T)));
  }
  return reinterpret_cast<T*>(emulator::here.shared + offset);
}

D2V_DEVICE void syncThreads() { emulator::barrier(); }
D2V_DEVICE void syncWarp() { emulator::meet(emulator::Call::SyncWarp, nullptr); }

template <typename T>
D2V_DEVICE T shuffle(T value, int lane) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
  emulator::ShuffleArgs args{0, lane};
  std::memcpy(&args.value, &value, sizeof(T));
  emulator::meet(emulator::Call::Shuffle, &args);
  std::memcpy(&value, &args.value, sizeof(T));
  return value;
}
template <typename T>
D2V_DEVICE T shuffleXor(T value, int mask) {
  return shuffle(value, lane() ^ mask);
}
template <typename T>
D2V_DEVICE T shuffleDown(T value, int delta) {
  return shuffle(value, lane() + delta < kWarp ? lane() + delta : lane());
}
D2V_DEVICE uint32_t vote(bool predicate) {
  emulator::VoteArgs args{predicate, 0};
  emulator::meet(emulator::Call::Vote, &args);
  return args.result;
}
D2V_DEVICE int bitCount(uint32_t bits) {
  int count = 0;
  for (; bits != 0; bits &= bits - 1) ++count;
  return count;
}
D2V_DEVICE int lowestBit(uint32_t bits) {
  int at = 0;
  for (; (bits & 1) == 0; bits >>= 1) ++at;
  return at;
}

D2V_DEVICE uint32_t atomicAdd(uint32_t* address, uint32_t value) {
  const uint32_t old = *address;
  *address = old + value;
  return old;
}
D2V_DEVICE int64_t atomicMin(int64_t* address, int64_t value) {
  const int64_t old = *address;
  if (value < old) *address = value;
  return old;
}

template <int Bytes>
D2V_DEVICE void copyAsync(void* sharedTarget, const void* source, bool valid) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "an asynchronous copy moves 4, 8 or 16 bytes");
  emulator::copyAsync(sharedTarget, source, Bytes, valid);
}
D2V_DEVICE void commitCopies() { emulator::commitCopies(); }
template <int Left>
D2V_DEVICE void waitCopies() {
  emulator::waitCopies(Left);
}

D2V_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::MultiplyArgs args{c, a, b};
  emulator::meet(emulator::Call::Multiply, &args);
}
D2V_DEVICE void multiplyTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::MultiplyArgs args{c, a, b};
  emulator::meet(emulator::Call::MultiplyTf32, &args);
}
D2V_DEVICE void loadMatrices(uint32_t (&r)[4], const void* sharedRow) {
  emulator::LoadArgs args{r, static_cast<const unsigned char*>(sharedRow)};
  emulator::meet(emulator::Call::LoadMatrices, &args);
}
D2V_DEVICE void loadMatricesTransposed(uint32_t (&r)[4], const void* sharedRow) {
  emulator::LoadArgs args{r, static_cast<const unsigned char*>(sharedRow)};
  emulator::meet(emulator::Call::LoadMatricesTransposed, &args);
}

D2V_DEVICE uint32_t floatBits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
D2V_DEVICE float bitsFloat(uint32_t x) {
  float value;
  std::memcpy(&value, &x, 4);
  return value;
}
D2V_BOTH float toFloat(Bf16 x) { return bitsFloat(static_cast<uint32_t>(x.bits) << 16); }
D2V_BOTH Bf16 toBf16(float x) {
  const uint32_t bits = floatBits(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}
template <>
D2V_BOTH float fromFloat<float>(float x) {
  return x;
}
template <>
D2V_BOTH Bf16 fromFloat<Bf16>(float x) {
  return toBf16(x);
}
D2V_DEVICE uint32_t packBf16(float first, float second) {
  return toBf16(first).bits | static_cast<uint32_t>(toBf16(second).bits) << 16;
}
D2V_DEVICE float fastExp2(float x) { return std::exp2(x); }
D2V_DEVICE float reciprocal(float x) { return 1.0f / x; }
D2V_DEVICE float inverseSqrt(float x) { return 1.0f / std::sqrt(x); }

}  // namespace d2v::cuda
