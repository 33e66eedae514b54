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
void CudaBackend::gatherTokens(In, const int32_t*, In, Out, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t) {
  pending("gatherTokens");
}
void CudaBackend::gatherTokensBackward(In, const int32_t*, Out, float*, int64_t, int64_t, int64_t, int64_t, int64_t,
                                       int64_t) {
  pending("gatherTokensBackward");
}
void CudaBackend::restoreTokens(In, const int32_t*, In, double, const RngKey&, Out, int64_t, int64_t, int64_t,
                                int64_t, int64_t) {
  pending("restoreTokens");
}
void CudaBackend::restoreTokensBackward(In, const int32_t*, Out, int64_t, int64_t, int64_t, int64_t, int64_t) {
  pending("restoreTokensBackward");
}
void CudaBackend::repeatRows(In, Out, int64_t, int64_t, int64_t) { pending("repeatRows"); }
void CudaBackend::repeatRowsBackward(In, Out, int64_t, int64_t, int64_t) { pending("repeatRowsBackward"); }
void CudaBackend::copySlab(const void*, void*, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t) {
  pending("copySlab");
}
void CudaBackend::transpose(const void*, void*, size_t, int, const int64_t*, const int*) { pending("transpose"); }
void CudaBackend::embedding(const int32_t*, In, Out, int64_t, int64_t) { pending("embedding"); }
void CudaBackend::embeddingGrad(float*, const int32_t*, In, int64_t, int64_t, int64_t, int64_t) {
  pending("embeddingGrad");
}

}  // namespace d2v::cuda
