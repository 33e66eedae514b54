// The tanh form of GELU, x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which is what libraries of matrix products fuse. Used
// by linear layers in bf16 only, see docs/decisions/0019-gelu-in-bf16.md.
#pragma once

#include "device.h"

namespace d2v::cuda {

/// Slope of the polynomial 2 sqrt(2/pi) (x + 0.044715 x^3), and the logistic function of it: (1 + tanh) / 2.
D2V_DEVICE float geluGate(float x, float& slope) {
  constexpr float c = 1.5957691216f, cubic = 0.044715f, log2e = 1.4426950409f;
  const float square = x * x;
  slope = c * fmaf(3.0f * cubic, square, 1.0f);
  return reciprocal(1.0f + fastExp2(-log2e * c * x * fmaf(cubic, square, 1.0f)));
}

D2V_DEVICE float geluTanh(float x) {
  float slope;
  const float gate = geluGate(x, slope);
  return gate > 0.0f || x != x ? x * gate : 0.0f;
}

D2V_DEVICE float geluTanhSlope(float x) {
  float slope;
  const float gate = geluGate(x, slope);
  const float bend = gate * (1.0f - gate);
  return bend > 0.0f || x != x ? fmaf(x * bend, slope, gate) : gate;
}

}  // namespace d2v::cuda
