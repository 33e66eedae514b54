// The language that kernels are written in: what they use of the GPU beyond plain C++, and nothing else.
//
// It has two implementations. device_gpu.h is the GPU: each function below is one instruction or intrinsic. emulator/ is
// the host: the threads of a block are fibers that run in an order of our choice until the next barrier, asynchronous
// copies happen as late as they may, shared memory begins as NaN, and what a warp does together (shuffles, votes, matrix
// fragments) checks that all of its lanes came. Kernels that pass there in several orders have their indices, tails and
// barriers right; what remains for a GPU to show is speed.
//
// Rules for kernels: blocks are one-dimensional, a multiple of 32 threads, at most 1024; warp functions are called by all
// 32 lanes; shared memory is dynamic only; no floating-point atomics (results must be the same from run to run).
#pragma once

#include <cmath>
#include <cstdint>

// D2V_KERNEL(threads) name(args...)        a kernel of at most so many threads per block
// D2V_DEVICE                               a function called by kernels
// D2V_BOTH                                 a function called by kernels and by the host
#if defined(__CUDACC__)
#define D2V_KERNEL(threads) __global__ void __launch_bounds__(threads)
#define D2V_DEVICE __device__ __forceinline__
#define D2V_BOTH __host__ __device__ __forceinline__
#else
#define D2V_KERNEL(threads) void
#define D2V_DEVICE inline
#define D2V_BOTH inline
#endif

namespace d2v::cuda {

constexpr int kWarp = 32;

/// A bfloat16 value. The same bits as everywhere else.
struct alignas(2) Bf16 {
  uint16_t bits;
};

/// N neighbours, moved by one load or store where they fill 4, 8 or 16 bytes. The address must be a multiple of the size.
template <typename T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
  D2V_BOTH T& operator[](int i) { return v[i]; }
  D2V_BOTH const T& operator[](int i) const { return v[i]; }
};

// --- where a thread is
D2V_DEVICE int threadX();
D2V_DEVICE int threadCount();  // threads per block
D2V_DEVICE int blockX();
D2V_DEVICE int blockY();
D2V_DEVICE int blockZ();
D2V_DEVICE int gridX();  // blocks
D2V_DEVICE int gridY();
D2V_DEVICE int lane() { return threadX() % kWarp; }
D2V_DEVICE int warp() { return threadX() / kWarp; }

// --- shared memory
/// The block's dynamic shared memory, 128-byte aligned, from byte `offset` on.
template <typename T>
D2V_DEVICE T* shared(int offset = 0);

// --- barriers
D2V_DEVICE void syncThreads();
D2V_DEVICE void syncWarp();

// --- a warp together; T is a type of 4 or 8 bytes
template <typename T>
D2V_DEVICE T shuffle(T value, int lane);
template <typename T>
D2V_DEVICE T shuffleXor(T value, int mask);
/// Of lane + delta; its own value in the last lanes.
template <typename T>
D2V_DEVICE T shuffleDown(T value, int delta);
/// Bit i: the predicate of lane i.
D2V_DEVICE uint32_t vote(bool predicate);
/// Ones of a vote, and the lowest of them (undefined for 0).
D2V_DEVICE int bitCount(uint32_t bits);
D2V_DEVICE int lowestBit(uint32_t bits);

// --- integer atomics on device or shared memory; they return the old value
D2V_DEVICE uint32_t atomicAdd(uint32_t* address, uint32_t value);
D2V_DEVICE int64_t atomicMin(int64_t* address, int64_t value);

// --- asynchronous copies from device to shared memory (cp.async)
/// Bytes is 4, 8 or 16; both addresses are multiples of it. Zeros are written instead when not `valid` (the source is
/// then not read, and may be any address).
template <int Bytes>
D2V_DEVICE void copyAsync(void* sharedTarget, const void* source, bool valid = true);
/// Closes a group of copies.
D2V_DEVICE void commitCopies();
/// Waits until at most `Left` of this thread's groups are still under way. Other threads see the data after syncThreads().
template <int Left>
D2V_DEVICE void waitCopies();

// --- matrix fragments (mma.sync). Lane l holds, with g = l / 4 and t = l % 4:
//   C, f32, 16 x 8:        c[0..1] = (g, 2t), (g, 2t+1)    c[2..3] = (g+8, 2t), (g+8, 2t+1)
//   A, bf16, 16 x 16:      a[0] = (g, 2t..2t+1)  a[1] = (g+8, 2t..)  a[2] = (g, 2t+8..)  a[3] = (g+8, 2t+8..)
//   B, bf16, 16 x 8 (kxn): b[0] = (2t..2t+1, g)  b[1] = (2t+8..2t+9, g)
//   A, tf32, 16 x 8:       a[0] = (g, t)  a[1] = (g+8, t)  a[2] = (g, t+4)  a[3] = (g+8, t+4)
//   B, tf32, 8 x 8 (kxn):  b[0] = (t, g)  b[1] = (t+4, g)
// A pair of bf16 lies in one word, the first in the low half.
/// c += a b, bf16 operands.
D2V_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
/// c += a b, operands are f32 bits of which the top 19 count (tf32).
D2V_DEVICE void multiplyTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
/// Loads four 8 x 8 matrices of 16-bit elements from shared memory (ldmatrix.x4). Lanes 8i..8i+7 give the addresses of
/// the rows (16 bytes, 16-byte aligned) of matrix i; r[i] of lane l is elements (l/4, 2(l%4)..+1) of matrix i, or, when
/// transposed, elements (2(l%4)..+1, l/4).
D2V_DEVICE void loadMatrices(uint32_t (&r)[4], const void* sharedRow);
D2V_DEVICE void loadMatricesTransposed(uint32_t (&r)[4], const void* sharedRow);

// --- numbers
D2V_BOTH float toFloat(float x) { return x; }
D2V_BOTH float toFloat(Bf16 x);
/// Rounds to nearest, ties to even; NaN stays NaN.
D2V_BOTH Bf16 toBf16(float x);
template <typename T>
D2V_BOTH T fromFloat(float x);
/// Two bf16 in a word, `first` in the low half.
D2V_DEVICE uint32_t packBf16(float first, float second);
/// 2^x, with an error of about two units in the last place of f32 (ex2.approx).
D2V_DEVICE float fastExp2(float x);
/// 1 / sqrt(x), correctly rounded operations only where the host has them: an error of about two units in the last place.
D2V_DEVICE float inverseSqrt(float x);
/// 1 / x, with an error of about one unit in the last place of f32 (rcp.approx).
D2V_DEVICE float reciprocal(float x);
D2V_DEVICE uint32_t floatBits(float x);
D2V_DEVICE float bitsFloat(uint32_t x);

/// Sum over the lanes of a warp, in every lane; always in the same order.
template <typename T>
D2V_DEVICE T warpSum(T value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffleXor(value, mask);
  return value;
}
D2V_DEVICE float warpMax(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value = fmaxf(value, shuffleXor(value, mask));
  return value;
}
/// Sum over the threads of a block, in every thread. `scratch`: shared memory for one T per warp; the block is
/// synchronised on the way, also before the scratch memory is written.
template <typename T>
D2V_DEVICE T blockSum(T value, T* scratch) {
  value = warpSum(value);
  syncThreads();
  if (lane() == 0) scratch[warp()] = value;
  syncThreads();
  const int warps = threadCount() / kWarp;
  return warpSum(lane() < warps ? scratch[lane()] : T(0));
}

}  // namespace d2v::cuda

#if defined(__CUDACC__)
#include "device_gpu.h"
#else
#include "emulator/device_host.h"
#endif
