// Layer norm forward and backward: rows in registers of every length class, tails, odd sizes, and rows too long for them.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

struct Case {
  int64_t rows, d;
};
// Classes of 256, 512, 768, 1024 and 1536 elements; pieces of 16 bytes (d a multiple of 8) and single elements; long rows.
constexpr Case kCases[] = {{1, 1},  {5, 3},    {9, 64},   {37, 200}, {3, 257},  {4, 392},
                           {3, 768}, {2, 1000}, {2, 1280}, {2, 1025}, {3, 1600}};

void forward(Harness& h, DType t, const Case& c, bool residual, bool affine, bool after, Activation activation) {
  h.check("layerNorm", t, {c.rows, c.d}, [&](Side& s) {
    const int64_t n = c.rows * c.d;
    LayerNormArgs a{};
    a.x = s.in(n);
    if (residual) a.residual = s.in(n);
    if (affine) {
      a.weight = s.in(c.d);
      a.bias = s.in(c.d);
    }
    if (after) a.after = s.in(n);
    a.y = s.out(n);
    if (residual) a.sum = s.out(n);
    a.mean = s.f32Out(c.rows);
    a.rstd = s.f32Out(c.rows);
    a.rows = c.rows;
    a.d = c.d;
    a.eps = 1e-2f;
    a.activation = activation;
    s.backend.layerNorm(a);
  });
}

void backward(Harness& h, DType t, const Case& c, bool affine, bool dWeight, bool dBias, Activation activation) {
  h.check("layerNormBackward", t, {c.rows, c.d}, [&](Side& s) {
    const int64_t n = c.rows * c.d;
    LayerNormBackwardArgs a{};
    a.dy = s.in(n);
    a.sum = s.in(n);
    if (affine) {
      a.weight = s.in(c.d);
      a.bias = s.in(c.d);
    }
    a.mean = s.f32(c.rows, -0.2, 0.2);
    a.rstd = s.f32(c.rows, 0.8, 1.3);
    a.dsum = s.out(n);
    if (dWeight) a.dWeight = s.f32InOut(c.d);
    if (dBias) a.dBias = s.f32InOut(c.d);
    a.rows = c.rows;
    a.d = c.d;
    a.activation = activation;
    s.backend.layerNormBackward(a);
  });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  for (const DType t : kFloats) {
    for (const Case& c : kCases) {
      forward(h, t, c, true, true, true, Activation::Gelu);
      forward(h, t, c, false, true, false, Activation::None);
      backward(h, t, c, true, true, true, Activation::Gelu);
      backward(h, t, c, true, false, true, Activation::None);
      backward(h, t, c, false, false, false, Activation::None);
    }
    // More rows than the grid has warps at once.
    backward(h, t, {300, 40}, true, true, true, Activation::Gelu);
    forward(h, t, {5, 24}, true, false, false, Activation::Gelu);
  }
  return h.finish();
}
