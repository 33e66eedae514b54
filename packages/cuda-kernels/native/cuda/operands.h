// In and Out as pointers to the elements' type, and the choice of a kernel for them.
#pragma once

#include <initializer_list>

#include "loops.h"
#include "vectors.h"

namespace d2v::cuda {

template <typename T>
const T* as(In x) {
  return static_cast<const T*>(x.data);
}
template <typename T>
T* as(Out x) {
  return static_cast<T*>(x.data);
}

/// Whether every operand begins at a multiple of `bytes`.
inline bool allAligned(std::initializer_list<const void*> operands, size_t bytes) {
  for (const void* p : operands) {
    if (reinterpret_cast<uintptr_t>(p) % bytes != 0) return false;
  }
  return true;
}

/// Calls body(T(), width): the type of the elements, and how many a thread moves at once (16 bytes of T, or 1), as a Width.
/// Rows of `d` elements have to begin at multiples of 16 bytes for the wide way; 0 where there are no rows.
template <typename Body>
void withPieces(DType t, std::initializer_list<const void*> operands, int64_t d, const Body& body) {
  forFloatType(t, [&](auto zero) {
    using T = decltype(zero);
    if (allAligned(operands, 16) && d % kWide<T> == 0) body(zero, Width<kWide<T>>());
    else body(zero, Width<1>());
  });
}

}  // namespace d2v::cuda
