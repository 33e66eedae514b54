// Plain types shared by the binding layer and every backend. No Node-API here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace d2v {

enum class DType : uint8_t { F32, BF16, F16, I32, I64, U8, F64 };
constexpr int kDTypes = 7;

constexpr size_t sizeOf(DType t) {
  switch (t) {
    case DType::F32:
    case DType::I32:
      return 4;
    case DType::BF16:
    case DType::F16:
      return 2;
    case DType::I64:
    case DType::F64:
      return 8;
    case DType::U8:
      return 1;
  }
  return 0;
}

constexpr const char* nameOf(DType t) {
  switch (t) {
    case DType::F32:
      return "f32";
    case DType::BF16:
      return "bf16";
    case DType::F16:
      return "f16";
    case DType::I32:
      return "i32";
    case DType::I64:
      return "i64";
    case DType::U8:
      return "u8";
    case DType::F64:
      return "f64";
  }
  return "?";
}

/// A float operand that is read. A backend whose `computesBf16()` is false only ever sees f32 and may use the
/// conversion to `const float*` (null when an optional operand is absent).
struct In {
  const void* data = nullptr;
  DType dtype = DType::F32;
  In() = default;
  In(const float* p) : data(p) {}
  In(const void* p, DType t) : data(p), dtype(t) {}
  operator const float*() const { return static_cast<const float*>(data); }
};

/// A float operand that is written (or read and written, where the op's comment says `+=`).
struct Out {
  void* data = nullptr;
  DType dtype = DType::F32;
  Out() = default;
  Out(float* p) : data(p) {}
  Out(void* p, DType t) : data(p), dtype(t) {}
  operator float*() const { return static_cast<float*>(data); }
};

/// Names one stream of random numbers; see random.h for the generator.
struct RngKey {
  uint32_t seedLo = 0;
  uint32_t seedHi = 0;
  uint32_t stream = 0;
  uint32_t update = 0;
};

enum class Activation : uint8_t { None, Gelu };  // x Phi(x); in bf16 on a GPU, linear layers use the tanh form

}  // namespace d2v
