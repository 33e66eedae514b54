// The last step of a sum in f64 that the blocks of a grid made in part: one block adds the parts in a fixed order.
#pragma once

#include "launch.h"

namespace d2v::cuda {

constexpr int kOrderedSumThreads = 1024;

/// *result = factor * sum of parts[0..n).
template <typename T>
D2V_KERNEL(kOrderedSumThreads)
orderedSum(T* result, const T* parts, int64_t n, T factor) {
  T sum = 0;
  for (int64_t i = threadX(); i < n; i += kOrderedSumThreads) sum += parts[i];
  sum = blockSum(sum, shared<T>());
  if (threadX() == 0) *result = sum * factor;
}

inline void launchOrderedSum(double* result, const double* parts, int64_t n, double factor, Stream stream) {
  launch(orderedSum<double>, Grid{}, kOrderedSumThreads, kOrderedSumThreads / kWarp * sizeof(double), stream, result, parts, n,
         factor);
}

}  // namespace d2v::cuda
