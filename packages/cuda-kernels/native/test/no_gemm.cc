#include "../cuda/gemm_library.h"

#include "../errors.h"

namespace d2v::cuda {

std::unique_ptr<GemmLibrary> openGemmLibrary(const DeviceProperties&) {
  throw Error("D2V_NOT_IMPLEMENTED", "no stand-in for the library of matrix products yet");
}

}  // namespace d2v::cuda
