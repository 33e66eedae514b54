// Finds the devices of this machine, and for the CPU the best instruction set that the kernels were compiled for.
#include <cstdlib>
#include <memory>
#include <string>

#include "backend.h"
#include "tensor.h"

namespace d2v {

#define D2V_DECLARE(isa)                                              \
  namespace isa {                                                     \
  std::unique_ptr<Backend> makeCpuBackend(Allocator& memory);         \
  }
D2V_DECLARE(isa_base)
#ifdef D2V_X86_ISAS
D2V_DECLARE(isa_avx2)
D2V_DECLARE(isa_avx512)
#endif

namespace {

std::unique_ptr<Backend> bestCpuBackend(Allocator& memory) {
#if defined(D2V_X86_ISAS) && (defined(__GNUC__) || defined(__clang__))
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  // For tests and measurements: D2V_ISA=base|avx2 asks for less than the processor can do.
  const char* wanted = std::getenv("D2V_ISA");
  const std::string limit = wanted == nullptr ? "" : wanted;
  if (avx512 && limit != "avx2" && limit != "base") return isa_avx512::makeCpuBackend(memory);
  if (avx2 && limit != "base") return isa_avx2::makeCpuBackend(memory);
#endif
  return isa_base::makeCpuBackend(memory);
}

}  // namespace

std::shared_ptr<Device> makeCpuDevice() {
  auto device = std::make_shared<Device>();
  device->name = "cpu";
  device->memory = makeHostAllocator();
  device->backend = bestCpuBackend(*device->memory);
  return device;
}

}  // namespace d2v
