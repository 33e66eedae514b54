// GELU and its derivative: the rational fits of ../cpu/vec_math.h (absolute errors of Phi 1.1e-7, of the derivative 1.4e-7),
// so that both devices compute the same function. About twenty instructions, half of those of erff: a norm or an
// elementwise op with GELU stays bound by memory.
#pragma once

#include "device.h"

namespace d2v::cuda {

/// x Phi(x); 0 for -inf.
D2V_DEVICE float gelu(float x) {
  const float c = fminf(5.6f, fmaxf(-5.6f, x)), u = c * c;
  float p = 2.214496142016742e-08f;
  p = fmaf(p, u, 6.356402536766836e-06f);
  p = fmaf(p, u, 0.00017384655075147748f);
  p = fmaf(p, u, 0.004707233980298042f);
  p = fmaf(p, u, 0.034375812858343124f);
  p = fmaf(p, u, 0.398942232131958f);
  float q = 1.1801918162746006e-06f;
  q = fmaf(q, u, 7.510002615163103e-05f);
  q = fmaf(q, u, 0.0019129556603729725f);
  q = fmaf(q, u, 0.028939899057149887f);
  q = fmaf(q, u, 0.2528330981731415f);
  q = fmaf(q, u, 1.0f);
  const float phi = fabsf(x) >= 5.6f ? copysignf(0.5f, x) : c * p * reciprocal(q);
  return (x == x ? fmaxf(-3.0e38f, x) : x) * (phi + 0.5f);
}

/// d gelu(x) / dx = Phi(x) + x phi(x).
D2V_DEVICE float geluSlope(float x) {
  const float c = fminf(6.2f, fmaxf(-6.2f, x)), u = c * c;
  float p = -3.067200313178198e-11f;
  p = fmaf(p, u, 1.5008437159735877e-08f);
  p = fmaf(p, u, 1.4068332347960677e-06f);
  p = fmaf(p, u, 3.1996962206903845e-05f);
  p = fmaf(p, u, 0.00039101188303902745f);
  p = fmaf(p, u, 0.013338027521967888f);
  p = fmaf(p, u, -0.012207637540996075f);
  p = fmaf(p, u, 0.7978845238685608f);
  float q = 4.4219038386472675e-07f;
  q = fmaf(q, u, 1.2178897122794297e-05f);
  q = fmaf(q, u, 0.00028499774634838104f);
  q = fmaf(q, u, 0.0044494266621768475f);
  q = fmaf(q, u, 0.04772978276014328f);
  q = fmaf(q, u, 0.31803256273269653f);
  q = fmaf(q, u, 1.0f);
  const float slope = fabsf(x) >= 6.2f ? copysignf(0.5f, x) : c * p * reciprocal(q);
  return x == x ? slope + 0.5f : x;
}

/// The same for results that are rounded to bf16, in half the instructions: Phi(x) = 1 / (1 + 2^(-x P(x^2))) with a P of
/// degree 2, fitted to x Phi(x). Errors of the function below 2.6e-5, of its derivative below 1.2e-4, against roundings of
/// up to 4e-3 near 1.
struct GeluGate {
  float phi, slope;  // Phi(x); d (x P(x^2)) / dx, by ln 2
  D2V_DEVICE explicit GeluGate(float x) {
    constexpr float c0 = 1.59501067f, c1 = 0.0740158336f, c2 = -7.03762313e-4f, log2e = 1.4426950409f;
    const float u = fminf(x * x, 16.0f);
    phi = reciprocal(1.0f + fastExp2(x * fmaf(fmaf(-log2e * c2, u, -log2e * c1), u, -log2e * c0)));
    slope = fmaf(fmaf(5 * c2, u, 3 * c1), u, c0);
  }
};
/// Both for finite x.
D2V_DEVICE float geluForBf16(float x) { return x * GeluGate(x).phi; }
D2V_DEVICE float geluSlopeForBf16(float x) {
  const GeluGate gate(x);
  return fmaf(x * fmaf(-gate.phi, gate.phi, gate.phi), gate.slope, gate.phi);
}

}  // namespace d2v::cuda
