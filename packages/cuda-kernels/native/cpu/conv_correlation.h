// The one operation behind a convolution and its gradient to the input; see conv.cc.
#pragma once

#include <cstdint>

#include "../backend.h"
#include "../storage.h"
#include "vec.h"

namespace d2v {
namespace D2V_ISA {

struct Correlation {
  // source [batch, h, w, groups * cin]
  const float* source;
  int64_t batch, h, w, groups, cin;
  // target pixel (y, x) of [outH, outW] reads source (y * strideH + top + a, x * strideW + left + b), a < kH, b < kW
  int64_t kH, kW, strideH, strideW, top, left, outH, outW;
  // and is stored at target + b * targetImage + y * targetRow + x * targetPixel + group * cout
  float* target;
  int64_t targetImage, targetRow, targetPixel, cout;
  const float* bias;  // [groups * cout] or null

  int64_t depth() const { return kH * kW * cin; }
};

/// Weights by (group, tap row, tap column, source channel): target channel o is at the result + o * step.
struct TapWeights {
  const float* data;
  int64_t step;     // from one target channel to the next
  int64_t channel;  // from one source channel to the next
  int64_t group, row, column, first;
  const float* at(int64_t g, int64_t a, int64_t b, int64_t i) const {
    return data + g * group + first + a * row + b * column + i * channel;
  }
};

/// The variant of conv_lanes.h, where it applies: false otherwise, and nothing has been done.
bool correlateLanes(Allocator& memory, const Correlation& c, const TapWeights& weights);
bool gradWeightLanes(Allocator& memory, const ConvShape& s, const float* dy, const float* x, float* dw, float* db);
/// The same of conv_windows.cc.
bool gradWeightWindows(Allocator& memory, const ConvShape& s, const float* dy, const float* x, float* dw, float* db);

}  // namespace D2V_ISA
}  // namespace d2v
