// device.h on the GPU. Included by it only; compute capability 8.0 and newer.
#pragma once

#include <cuda_bf16.h>

namespace d2v::cuda {

// Numbers of threads are small and not negative, which makes divisions of them shifts.
D2V_DEVICE int threadX() {
  const int x = static_cast<int>(threadIdx.x);
  __builtin_assume(x >= 0 && x < 1024);
  return x;
}
D2V_DEVICE int threadCount() {
  const int count = static_cast<int>(blockDim.x);
  __builtin_assume(count >= kWarp && count <= 1024);
  return count;
}
D2V_DEVICE int blockX() { return static_cast<int>(blockIdx.x); }
D2V_DEVICE int blockY() { return static_cast<int>(blockIdx.y); }
D2V_DEVICE int blockZ() { return static_cast<int>(blockIdx.z); }
D2V_DEVICE int gridX() { return static_cast<int>(gridDim.x); }
D2V_DEVICE int gridY() { return static_cast<int>(gridDim.y); }

template <typename T>
D2V_DEVICE T* shared(int offset) {
  extern __shared__ __align__(128) unsigned char memory[];
  return reinterpret_cast<T*>(memory + offset);
}
D2V_DEVICE uint32_t sharedAddress(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

D2V_DEVICE void syncThreads() { __syncthreads(); }
D2V_DEVICE void syncWarp() { __syncwarp(); }

constexpr unsigned kAllLanes = 0xffffffffu;
template <typename T>
D2V_DEVICE T shuffle(T value, int lane) {
  return __shfl_sync(kAllLanes, value, lane);
}
template <typename T>
D2V_DEVICE T shuffleXor(T value, int mask) {
  return __shfl_xor_sync(kAllLanes, value, mask);
}
template <typename T>
D2V_DEVICE T shuffleDown(T value, int delta) {
  return __shfl_down_sync(kAllLanes, value, static_cast<unsigned>(delta));
}
D2V_DEVICE uint32_t vote(bool predicate) { return __ballot_sync(kAllLanes, predicate); }
D2V_DEVICE int bitCount(uint32_t bits) { return __popc(bits); }
D2V_DEVICE int lowestBit(uint32_t bits) { return __ffs(static_cast<int>(bits)) - 1; }

D2V_DEVICE uint32_t atomicAdd(uint32_t* address, uint32_t value) { return ::atomicAdd(address, value); }
D2V_DEVICE int64_t atomicMin(int64_t* address, int64_t value) {
  return static_cast<int64_t>(::atomicMin(reinterpret_cast<long long*>(address), static_cast<long long>(value)));
}

template <int Bytes>
D2V_DEVICE void copyAsync(void* sharedTarget, const void* source, bool valid) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async moves 4, 8 or 16 bytes");
  const int read = valid ? Bytes : 0;  // the rest is filled with zeros
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(sharedTarget)), "l"(source),
                 "r"(read)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(sharedAddress(sharedTarget)), "l"(source),
                 "n"(Bytes), "r"(read)
                 : "memory");
  }
}
D2V_DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Left>
D2V_DEVICE void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

D2V_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
D2V_DEVICE void multiplyTf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
D2V_DEVICE void loadMatrices(uint32_t (&r)[4], const void* sharedRow) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(sharedRow))
               : "memory");
}
D2V_DEVICE void loadMatricesTransposed(uint32_t (&r)[4], const void* sharedRow) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(sharedRow))
               : "memory");
}

D2V_BOTH float toFloat(Bf16 x) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
#else
  return __bfloat162float(__nv_bfloat16(__nv_bfloat16_raw{x.bits}));
#endif
}
D2V_BOTH Bf16 toBf16(float x) {
#if defined(__CUDA_ARCH__)
  // The conversion of two numbers runs at the rate of arithmetic, that of one at an eighth of it.
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(0.0f), "f"(x));
  return {static_cast<uint16_t>(word)};
#else
  return {static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(x)).x};
#endif
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
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}
D2V_DEVICE float fastExp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
D2V_DEVICE float inverseSqrt(float x) { return rsqrtf(x); }
D2V_DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
D2V_DEVICE uint32_t floatBits(float x) { return __float_as_uint(x); }
D2V_DEVICE float bitsFloat(uint32_t x) { return __uint_as_float(x); }

}  // namespace d2v::cuda
