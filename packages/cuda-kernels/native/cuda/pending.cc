// Ops of the CUDA backend that have not been written yet. Whoever writes one deletes its line here.
#include "../errors.h"
#include "cuda_backend.h"

namespace d2v::cuda {

namespace {

[[noreturn]] void pending(const char* op) {
  throw Error("D2V_NOT_IMPLEMENTED", std::string(op) + " is not implemented on CUDA yet; use device cpu");
}

}  // namespace

// --- conv
void CudaBackend::conv(const ConvShape&, In, In, In, Out) { pending("conv"); }
void CudaBackend::convGradInput(const ConvShape&, In, In, Out) { pending("convGradInput"); }
void CudaBackend::convGradWeight(const ConvShape&, In, In, float*, float*) { pending("convGradWeight"); }
// --- tokens
void CudaBackend::patchify(const PatchShape&, In, Out) { pending("patchify"); }
void CudaBackend::unpatchify(const PatchShape&, In, Out) { pending("unpatchify"); }

}  // namespace d2v::cuda
