#include "cuda_backend.h"

#include "gemm_library.h"
#include "staging.h"

namespace d2v::cuda {

CudaBackend::CudaBackend(int device, Allocator& memory)
    : device_(device), name_("cuda:" + std::to_string(device)), memory_(memory), properties_(propertiesOf(device)) {
  useDevice(device_);
  stream_ = createStream();
}

CudaBackend::~CudaBackend() {
  staging_.reset();
  gemm_.reset();
  destroyStream(stream_);
}

std::string CudaBackend::isa() const {
  return "sm_" + std::to_string(properties_.major) + std::to_string(properties_.minor);
}

std::string CudaBackend::gemmLibrary() const { return gemm_ ? gemm_->name() : gemmLibraryName(); }

GemmLibrary& CudaBackend::gemm() {
  if (!gemm_) gemm_ = openGemmLibrary(properties_);
  return *gemm_;
}

void CudaBackend::synchronize() { cuda::synchronize(stream_); }

}  // namespace d2v::cuda
