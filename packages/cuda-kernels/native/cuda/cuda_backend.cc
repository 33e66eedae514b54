#include "cuda_backend.h"

#include "gemm_library.h"
#include "staging.h"
#include "work_stream.h"

namespace d2v::cuda {

namespace {

std::unique_ptr<WorkStream> openStream(int device) {
  useDevice(device);
  return std::make_unique<WorkStream>();
}

}  // namespace

CudaBackend::CudaBackend(int device, Allocator& memory)
    : device_(device),
      name_("cuda:" + std::to_string(device)),
      memory_(memory),
      properties_(propertiesOf(device)),
      work_(openStream(device)),
      stream_(work_->get()) {
  memory_.beforeFree = [this] { work_->flushQuietly(); };  // what is recorded may be about that memory
}

CudaBackend::~CudaBackend() { memory_.beforeFree = [] {}; }

void CudaBackend::recordGraph() { work_->record(); }
void CudaBackend::startGraph() { work_->flush(); }
GraphStats CudaBackend::graphStats() const { return work_->graphs(); }

std::string CudaBackend::isa() const {
  return "sm_" + std::to_string(properties_.major) + std::to_string(properties_.minor);
}

std::string CudaBackend::gemmLibrary() const { return gemmLibraryName() + (tf32_ ? ", TF32" : ""); }

GemmReport CudaBackend::gemmReport() const {
  GemmReport report{refusals_.list(), 0, 0};
  if (gemm_) gemm_->addSearches(report.searches, report.searchMs);
  return report;
}

GemmLibrary& CudaBackend::gemm() {
  if (!gemm_) gemm_ = openGemmLibrary(properties_);
  return *gemm_;
}

void CudaBackend::synchronize() { work_->synchronize(); }

}  // namespace d2v::cuda
