// Division by a number that is the same for a whole launch: a product and a shift, where a division takes twenty to thirty
// instructions.
#pragma once

#include <cstdint>

#include "device.h"

namespace d2v::cuda {

/// Divides numbers from 0 to 2^31 - 1 by `by`, which is at least 1.
struct Divisor {
  int by = 1;
  uint32_t factor = uint32_t{1} << 31;  // 2^(31 + s) / by, rounded up, for the least s with 2^s >= by
  int shift = 31;

  Divisor() = default;
  explicit Divisor(int number) : by(number) {
    int s = 0;
    while ((int64_t{1} << s) < number) ++s;
    shift = 31 + s;
    factor = static_cast<uint32_t>(((uint64_t{1} << shift) + static_cast<uint64_t>(number) - 1) / static_cast<uint64_t>(number));
  }
  D2V_BOTH int quotient(int n) const {
    return static_cast<int>(static_cast<uint64_t>(static_cast<uint32_t>(n)) * factor >> shift);
  }
  D2V_BOTH int quotient(int n, int& rest) const {
    const int q = quotient(n);
    rest = n - q * by;
    return q;
  }
};

}  // namespace d2v::cuda
