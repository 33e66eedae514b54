// Convolutions, forward and both gradients: each way to compute (slabs, few values per window, the library's products, one
// value after the other), tiles that end inside images, tails of channels and pixels, strides, padding, groups and kernels of
// many sizes.
#include <cstdlib>
#include <string>

#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

/// Along one dimension; as many outputs as fit.
ConvShape sequence(int64_t batch, int64_t t, int64_t cin, int64_t cout, int64_t groups, int64_t k, int64_t stride = 1,
                   int64_t before = 0, int64_t after = 0) {
  return {batch, 1, t, cin, 1, (t + before + after - k) / stride + 1, cout, groups, 1, k, 1, stride, 0, before};
}
/// As many outputs as inputs.
ConvShape same(int64_t batch, int64_t t, int64_t cin, int64_t cout, int64_t groups, int64_t k) {
  return sequence(batch, t, cin, cout, groups, k, 1, k / 2, (k - 1) / 2);
}
ConvShape grid(int64_t batch, int64_t h, int64_t w, int64_t cin, int64_t cout, int64_t groups, int64_t kH, int64_t kW,
               int64_t strideH = 1, int64_t strideW = 1, int64_t padH = 0, int64_t padW = 0) {
  return {batch, h, w, cin, (h + 2 * padH - kH) / strideH + 1, (w + 2 * padW - kW) / strideW + 1, cout, groups, kH, kW,
          strideH, strideW, padH, padW};
}

void check(Harness& h, DType t, const ConvShape& s, bool bias, const std::string& suffix = "") {
  const int64_t taps = s.kH * s.kW, weights = s.cout * (s.cin / s.groups) * taps;
  const int64_t inputs = s.batch * s.inH * s.inW * s.cin, outputs = s.batch * s.outH * s.outW * s.cout;
  const std::vector<int64_t> shape = {s.batch, s.inH, s.inW, s.cin, s.cout, s.groups, s.kH, s.kW, s.strideH, s.strideW};
  h.check("conv" + suffix, t, shape, [&](Side& side) {
    const In x = side.in(inputs), w = side.in(weights), b = bias ? side.in(s.cout) : In();
    const Out y = side.out(outputs);
    side.backend.conv(s, x, w, b, y);
  });
  h.check("convGradInput" + suffix, t, shape, [&](Side& side) {
    const In dy = side.in(outputs), w = side.in(weights);
    const Out dx = side.out(inputs);
    side.backend.convGradInput(s, dy, w, dx);
  });
  h.check("convGradWeight" + suffix, t, shape, [&](Side& side) {
    const In dy = side.in(outputs), x = side.in(inputs);
    float* dw = side.f32InOut(weights);
    float* db = bias ? side.f32InOut(s.cout) : nullptr;
    side.backend.convGradWeight(s, dy, x, dw, db);
  });
}

/// One group of at least 128 channels: the library's products, or slabs at odd addresses and where it has none.
void dense(Harness& h, DType t) {
  check(h, t, same(2, 45, 128, 136, 1, 9), true, " dense");
}
void denseAligned(Harness& h, DType t) {
  h.aligned();
  // Short sequences: samples in one row, with zeros between them.
  check(h, t, sequence(3, 30, 136, 128, 1, 3, 2), false, " dense");
  check(h, t, sequence(2, 41, 128, 128, 1, 2, 2), true, " dense");
  check(h, t, sequence(2, 24, 128, 128, 1, 3, 2, 2, 0), true, " dense");
  check(h, t, sequence(4, 20, 128, 128, 1, 2, 1, -1, -2), false, " dense");
  check(h, t, sequence(2, 25, 128, 128, 1, 2, 3), true, " dense");
  // Long ones: each sample as it lies, and the windows over its ends by slabs.
  check(h, t, sequence(2, 516, 128, 128, 1, 3, 2), false, " dense");
  check(h, t, sequence(2, 257, 128, 128, 1, 2, 2), true, " dense");
  check(h, t, same(1, 390, 128, 128, 1, 3), true, " dense");
  // Too few windows for what would have to lie between the samples.
  check(h, t, same(3, 6, 128, 128, 1, 9), true, " dense");
  h.aligned(false);
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  h.tolerance(5e-5, 1e-2);  // tensor cores cut sums off where f32 would round them
  for (const DType t : kFloats) {
    dense(h, t);
    denseAligned(h, t);
    // The models' own: groups of the decoders and of the positions.
    check(h, t, grid(2, 14, 14, 96, 96, 2, 3, 3, 1, 1, 1, 1), true);
    check(h, t, same(3, 50, 96, 48, 2, 7), true);   // 48 -> 24 channels per group
    check(h, t, same(2, 30, 48, 48, 1, 19), true);  // five steps of weights per chunk, and more
    check(h, t, grid(1, 7, 7, 192, 192, 16, 3, 3, 1, 1, 1, 1), false);  // 12 -> 12
    // Chunks of channels, several tiles of output channels.
    check(h, t, same(2, 20, 144, 136, 1, 9), true);
    check(h, t, same(1, 9, 160, 80, 2, 1), true);
    // The audio front end.
    check(h, t, sequence(2, 700, 1, 64, 1, 10, 5), false);
    check(h, t, sequence(2, 41, 40, 40, 1, 3, 2), false);
    check(h, t, sequence(1, 40, 40, 40, 1, 2, 2), false);
    // Few values per window, several channels, padding.
    check(h, t, sequence(2, 140, 3, 40, 1, 3, 1, 2, 1), true);
    // Channels per group of all kinds: 1, 3, 8, 20.
    check(h, t, same(1, 12, 16, 16, 16, 3), true);
    check(h, t, grid(2, 5, 6, 6, 10, 2, 2, 3, 1, 1, 1, 1), true);
    check(h, t, grid(1, 9, 8, 16, 32, 2, 3, 2, 2, 3, 2, 0), false);
    check(h, t, same(2, 5, 20, 20, 1, 3), true);
    // One line of a grid, lines longer than a tile, strides beyond the kernel, and single pixels.
    check(h, t, grid(1, 1, 300, 8, 8, 1, 3, 3, 1, 1, 1, 1), true);
    check(h, t, sequence(2, 23, 8, 8, 1, 2, 4, 1, 0), true);
    check(h, t, grid(5, 1, 1, 24, 24, 1, 1, 1), true);
    check(h, t, grid(1, 3, 3, 4, 4, 1, 3, 3, 5, 5, 2, 2), false);
    // A kernel whose slab fits no shared memory.
    h.aligned();
    check(h, t, sequence(1, 8, 1, 1, 1, 11500, 1, 5746, 5750), true, " direct");
    h.aligned(false);
  }
  int failed = h.finish();
  if (argc == 1 && cuda::propertiesOf(0).name == "emulated") {
    setenv("D2V_EMULATED_GEMM", "none", 1);
    std::printf("library: none\n");
    Harness without(argc, argv);
    dense(without, DType::BF16);
    failed |= without.finish();
  }
  return failed;
}
