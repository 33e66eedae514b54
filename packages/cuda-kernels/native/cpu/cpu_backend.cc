#include "cpu_backend.h"

#include <memory>

namespace d2v {
namespace D2V_ISA {

std::unique_ptr<Backend> makeCpuBackend(Allocator& memory);  // called by devices.cc

std::unique_ptr<Backend> makeCpuBackend(Allocator& memory) { return std::make_unique<CpuBackend>(memory); }

CpuBackend::CpuBackend(Allocator& memory) : memory_(memory) {}

CpuBackend::~CpuBackend() = default;

const std::string& CpuBackend::name() const {
  static const std::string name = "cpu";
  return name;
}

std::string CpuBackend::isa() const {
#if defined(__AVX512F__)
  return "avx512";
#elif defined(__AVX2__)
  return "avx2";
#elif defined(__x86_64__) || defined(_M_X64)
  return "sse2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "generic";
#endif
}

}  // namespace D2V_ISA
}  // namespace d2v
