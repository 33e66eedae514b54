// The convolution's ways to compute, between which the methods of CudaBackend (conv.cu, conv_weight.cu) choose. Functions
// that return bool do nothing and return false where they do not apply.
#pragma once

#include <functional>

#include "../backend.h"
#include "../storage.h"
#include "conv_tiles.h"
#include "driver.h"

namespace d2v::cuda {

struct GemmProblem;

/// Where a convolution runs.
struct ConvContext {
  Allocator& memory;
  const DeviceProperties& device;
  Stream stream;
  std::function<bool(const GemmProblem&)> multiply;  // CudaBackend::multiplyByLibrary, counted
};

// --- conv_direct.cu: any shape, one value after the other
void correlateDirect(const ConvContext& context, const Correlation& c, const TapWeights& weights, In source, In w,
                     In bias, Out target);
void gradWeightDirect(const ConvContext& context, const ConvShape& s, In dy, In x, float* dw, float* db);

// --- conv_narrow.cu: few inputs per output and many channels, as the first layer on a waveform
bool convNarrow(const ConvContext& context, const ConvShape& s, In x, In w, In bias, Out y);
bool gradWeightNarrow(const ConvContext& context, const ConvShape& s, In dy, In x, float* dw, float* db);

// --- conv_gemm.cu: sequences, many channels in one group
/// Outputs of each sample.
struct Stretch {
  int first, end;
};
/// The outputs that are computed; the others are as they were, or anything.
Stretch correlateByProducts(const ConvContext& context, const Correlation& c, const TapWeights& weights, In source, In w,
                            In bias, Out target);
bool gradWeightByProducts(const ConvContext& context, const Correlation& c, In dy, In x, float* dw, float* db);

}  // namespace d2v::cuda
