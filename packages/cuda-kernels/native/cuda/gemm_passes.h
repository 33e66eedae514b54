// What surrounds the library's products where it has no epilogue for it, and a product of our own where it has none at all.
#pragma once

#include "gemm_library.h"

namespace d2v::cuda {

/// y = act(y + bias?); pre? = y + bias, both [rows, columns] of `type`; bias of the same dtype. `gelu`: the exact form in
/// f32, the tanh form in bf16.
void finishLinear(DType type, void* y, void* pre, const void* bias, bool gelu, int64_t rows, int64_t columns,
                  const DeviceProperties& device, Stream stream);

/// dx (= or +=) product * gelu'(pre), n elements of `type`; product may be dx.
void multiplyGeluSlope(DType type, void* dx, const void* product, const void* pre, bool accumulate, int64_t n,
                       const DeviceProperties& device, Stream stream);

/// Floats of scratch memory that addAllRows needs.
int64_t allRowsScratch(int64_t rows, int64_t columns);
/// sums[columns] += sum over the rows of x [rows, columns], in a fixed order.
void addAllRows(DType type, const void* x, int64_t rows, int64_t columns, float* scratch, float* sums, Stream stream);
/// The same for few rows.
void addSums(const float* rows, float* sums, int64_t count, int64_t columns, Stream stream);

/// Any product without an epilogue, at any alignment; several times slower than a library's.
void multiplyPlainly(const GemmProblem& p, Stream stream);

}  // namespace d2v::cuda
