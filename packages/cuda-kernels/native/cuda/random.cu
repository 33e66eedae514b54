// Normal and uniform numbers, dropout. The words are those of ../random.h, so they are the CPU's.
//
// A thread makes the four numbers of a Philox block: ten rounds of two wide products, about 80 instructions per four words,
// which an H200 hides behind the 8 bytes per element that dropout moves in f32 and just about behind the 4 in bf16.
#include "cuda_backend.h"
#include "normal.h"
#include "operands.h"

namespace d2v::cuda {

namespace {

constexpr int kWords = 4;  // of a block

/// Value e of a piece that begins at element i: of four numbers, or of the one that a single element is.
template <int N>
D2V_DEVICE float pick(const float (&four)[kWords], int64_t i, int e) {
  if constexpr (N == kWords) {
    return four[e];
  } else {
    const int at = static_cast<int>(i % kWords);  // no indexing by a variable: the numbers stay in registers
    return at == 0 ? four[0] : at == 1 ? four[1] : at == 2 ? four[2] : four[3];
  }
}

template <typename T, int N>
D2V_KERNEL(kLoopThreads) normalKernel(T* x, float mean, float std, RngKey key, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    constexpr int W = width;
    float four[kWords], v[W];
    normalBlock(key, static_cast<uint64_t>(i / kWords), std, four);
#pragma unroll
    for (int e = 0; e < W; ++e) v[e] = mean + pick<W>(four, i, e);
    store(x + i, v);
  });
}

/// The sum is in f64, as on the CPU: the same numbers.
template <typename T, int N>
D2V_KERNEL(kLoopThreads) uniformKernel(T* x, double lo, double range, RngKey key, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    constexpr int W = width;
    uint32_t words[kWords];
    philox(key, static_cast<uint64_t>(i / kWords), words);
    float four[kWords], v[W];
#pragma unroll
    for (int e = 0; e < kWords; ++e) four[e] = static_cast<float>(words[e] >> 8) * 0x1p-24f;  // exact
#pragma unroll
    for (int e = 0; e < W; ++e) {
      v[e] = static_cast<float>(lo + range * static_cast<double>(pick<W>(four, i, e)));
    }
    store(x + i, v);
  });
}

template <typename T, int N>
D2V_KERNEL(kLoopThreads) dropoutKernel(const T* x, T* y, uint32_t threshold, float keep, RngKey key, int64_t n) {
  forPieces<N>(n, [&](int64_t i, auto width) {
    constexpr int W = width;
    uint32_t words[kWords];
    philox(key, static_cast<uint64_t>(i / kWords), words);
    float factors[kWords], v[W];
#pragma unroll
    for (int e = 0; e < kWords; ++e) factors[e] = words[e] < threshold ? 0.0f : keep;
    load(v, x + i);
#pragma unroll
    for (int e = 0; e < W; ++e) v[e] *= pick<W>(factors, i, e);  // 0 times NaN: a bad value is not hidden
    store(y + i, v);
  });
}

/// Calls body(T(), width): four elements at once, or one where four cannot be moved together.
template <typename Body>
void withBlocks(DType t, std::initializer_list<const void*> operands, const Body& body) {
  forFloatType(t, [&](auto zero) {
    if (allAligned(operands, kWords * sizeof(zero))) body(zero, Width<kWords>());
    else body(zero, Width<1>());
  });
}

}  // namespace

void CudaBackend::normal(Out x, double mean, double std, const RngKey& key, int64_t n) {
  withBlocks(x.dtype, {x.data}, [&](auto zero, auto width) {
    using T = decltype(zero);
    launch(normalKernel<T, width>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(x),
           static_cast<float>(mean), static_cast<float>(std), key, n);
  });
}

void CudaBackend::uniform(Out x, double lo, double hi, const RngKey& key, int64_t n) {
  const double range = static_cast<double>(static_cast<float>(hi - lo));
  withBlocks(x.dtype, {x.data}, [&](auto zero, auto width) {
    using T = decltype(zero);
    launch(uniformKernel<T, width>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(x), lo, range, key,
           n);
  });
}

void CudaBackend::dropout(In x, Out y, double p, const RngKey& key, int64_t n) {
  withBlocks(x.dtype, {x.data, y.data}, [&](auto zero, auto width) {
    using T = decltype(zero);
    launch(dropoutKernel<T, width>, loopGrid(n / width, properties_), kLoopThreads, 0, stream_, as<T>(x), as<T>(y),
           dropThreshold(p), static_cast<float>(1 / (1 - p)), key, n);
  });
}

}  // namespace d2v::cuda
