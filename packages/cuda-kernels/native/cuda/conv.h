// The convolution's ways to compute, between which the methods of CudaBackend (conv.cu, conv_weight.cu) choose. Functions
// that return bool do nothing and return false where they do not apply.
#pragma once

#include "../backend.h"
#include "../storage.h"
#include "conv_tiles.h"
#include "driver.h"

namespace d2v::cuda {

/// Where a convolution runs.
struct ConvContext {
  Allocator& memory;
  const DeviceProperties& device;
  Stream stream;
};

// --- conv_direct.cu: any shape, one value after the other
void correlateDirect(const ConvContext& context, const Correlation& c, const TapWeights& weights, In source, In w,
                     In bias, Out target);
void gradWeightDirect(const ConvContext& context, const ConvShape& s, In dy, In x, float* dw, float* db);

// --- conv_narrow.cu: few inputs per output and many channels, as the first layer on a waveform
bool convNarrow(const ConvContext& context, const ConvShape& s, In x, In w, In bias, Out y);
bool gradWeightNarrow(const ConvContext& context, const ConvShape& s, In dy, In x, float* dw, float* db);

}  // namespace d2v::cuda
