// exp, erf, tanh, GELU and its derivative on vectors.
//
// exp: x = n ln2 + r, degree-6 polynomial for e^r, relative error below 2e-7 (1.5 ulp).
// GELU: x Phi(x), Phi(x) - 1/2 = erf(x / sqrt 2) / 2 is x P(x^2) / Q(x^2) with P, Q of degree 5 on |x| < 5.6 and +-1/2
// beyond, where the remainder is below one half ulp of 1; the absolute error of Phi is 1.1e-7. Its derivative
// Phi(x) + x phi(x) is fitted the same way (degrees 7 and 6, |x| < 6.2, absolute error 1.4e-7), so that neither needs
// an exponential. Coefficients: reweighted least squares towards the minimax fit, in double.
// NaN stays NaN, infinities give the limits.
#pragma once

#include <limits>

#include "vec.h"

namespace d2v {
namespace D2V_ISA {

/// exp(x) for x <= 88; below -87.3 it is 0, also for -inf.
D2V_INLINE Vf vexpSmall(Vf x) {
  const Vf lowest = vset(-87.3f);
  const Vf n = vround(vmax(lowest, x) * vset(1.44269504f));
  Vf r = vfma(n, vset(-0.693359375f), vmax(lowest, x));
  r = vfma(n, vset(2.12194440e-4f), r);
  Vf p = vset(0.0013814467238262296f);
  p = vfma(p, r, vset(0.008368780836462975f));
  p = vfma(p, r, vset(0.04166839271783829f));
  p = vfma(p, r, vset(0.1666651964187622f));
  p = vfma(p, r, vset(0.4999999403953552f));
  p = vfma(p, r, vset(1.0f));
  p = vfma(p, r, vset(1.0f));
  p = p * vpow2(n);
  return vselectGe(lowest, x, vzero(), p);
}

/// exp(x) everywhere: inf above 88.72, 0 below -87.3.
D2V_INLINE Vf vexp(Vf x) {
  const Vf half = vexpSmall(vmin(vset(88.8f), x) * vset(0.5f));
  return vselectGe(vset(-87.3f), x, vzero(), half * half);
}

/// Phi(x) - 1/2 = erf(x / sqrt 2) / 2.
D2V_INLINE Vf vphiMinusHalf(Vf x) {
  const Vf limit = vset(5.6f);
  const Vf c = vmin(limit, vmax(-limit, x));
  const Vf u = c * c;
  Vf p = vset(2.214496142016742e-08f);
  p = vfma(p, u, vset(6.356402536766836e-06f));
  p = vfma(p, u, vset(0.00017384655075147748f));
  p = vfma(p, u, vset(0.004707233980298042f));
  p = vfma(p, u, vset(0.034375812858343124f));
  p = vfma(p, u, vset(0.398942232131958f));
  Vf q = vset(1.1801918162746006e-06f);
  q = vfma(q, u, vset(7.510002615163103e-05f));
  q = vfma(q, u, vset(0.0019129556603729725f));
  q = vfma(q, u, vset(0.028939899057149887f));
  q = vfma(q, u, vset(0.2528330981731415f));
  q = vfma(q, u, vset(1.0f));
  return vselectGe(vabs(x), limit, vcopysign(vset(0.5f), x), c * p / q);
}

/// gelu'(x) - 1/2.
D2V_INLINE Vf vgeluSlopeMinusHalf(Vf x) {
  const Vf limit = vset(6.2f);
  const Vf c = vmin(limit, vmax(-limit, x));
  const Vf u = c * c;
  Vf p = vset(-3.067200313178198e-11f);
  p = vfma(p, u, vset(1.5008437159735877e-08f));
  p = vfma(p, u, vset(1.4068332347960677e-06f));
  p = vfma(p, u, vset(3.1996962206903845e-05f));
  p = vfma(p, u, vset(0.00039101188303902745f));
  p = vfma(p, u, vset(0.013338027521967888f));
  p = vfma(p, u, vset(-0.012207637540996075f));
  p = vfma(p, u, vset(0.7978845238685608f));
  Vf q = vset(4.4219038386472675e-07f);
  q = vfma(q, u, vset(1.2178897122794297e-05f));
  q = vfma(q, u, vset(0.00028499774634838104f));
  q = vfma(q, u, vset(0.0044494266621768475f));
  q = vfma(q, u, vset(0.04772978276014328f));
  q = vfma(q, u, vset(0.31803256273269653f));
  q = vfma(q, u, vset(1.0f));
  return vselectGe(vabs(x), limit, vcopysign(vset(0.5f), x), c * p / q);
}

/// x Phi(x). Far below zero the product with an exact 0 would be NaN for -inf: 0 there.
D2V_INLINE Vf vgelu(Vf x) {
  const Vf floor = vmax(vset(-3.0e38f), x);
  return floor * (vphiMinusHalf(x) + vset(0.5f));
}

/// d gelu(x) / dx.
D2V_INLINE Vf vgeluSlope(Vf x) { return vgeluSlopeMinusHalf(x) + vset(0.5f); }

/// erf(x) = 2 Phi(x sqrt 2) - 1.
D2V_INLINE Vf verf(Vf x) { return vset(2.0f) * vphiMinusHalf(x * vset(1.41421356f)); }

/// 1 / (1 + exp(-x)).
D2V_INLINE Vf vsigmoid(Vf x) {
  const Vf e = vexpSmall(-vabs(x));
  const Vf s = vset(1.0f) / (vset(1.0f) + e);
  return vselectGe(x, vzero(), s, e * s);
}

/// tanh(x): series below 0.3, where the exponential form cancels.
D2V_INLINE Vf vtanh(Vf x) {
  const Vf a = vabs(x);
  const Vf e = vexpSmall(vset(-2.0f) * a);
  const Vf large = (vset(1.0f) - e) / (vset(1.0f) + e);
  const Vf u = a * a;
  Vf p = vset(2.1869488536e-2f);
  p = vfma(p, u, vset(-5.3968253968e-2f));
  p = vfma(p, u, vset(1.3333333333e-1f));
  p = vfma(p, u, vset(-3.3333333333e-1f));
  const Vf small = vfma(a * u, p, a);
  return vcopysign(vselectGe(a, vset(0.3f), large, small), x);
}

}  // namespace D2V_ISA
}  // namespace d2v
