// Grouped convolution, gradient to weight and bias.
//
//   dw[o, i, ky, kx] += sum over images and output pixels p of dy[p, o] * x[p * stride + tap - pad, i]
//
// A product with the pixels as its long dimension: rows are output channels (dy transposed per image, contiguous along
// the pixels), columns are the kW * channels contiguous values under one kernel row in the slab of x, read in place:
// the row of the next pixel begins `stride * channels` further. So nothing but dy is rearranged, and the columns are
// nearly always whole vectors although a group may have few channels.
//
// A task owns a block of output channels of one group and goes through all images in order: sums need no combining.
#include <algorithm>
#include <cstring>

#include "conv_correlation.h"
#include "conv_slab.h"
#include "conv_tile.h"
#include "cpu_backend.h"
#include "gemm_small.h"

namespace d2v {
namespace D2V_ISA {
namespace {

constexpr int64_t kChannelBlock = 8 * kMR;
constexpr int64_t kSlabFloats = 48 * 1024;

/// Sizes of one task's work and its scratch memory.
struct WeightPlan {
  int64_t cin, cout, row, channels, channelBlocks, lines, pixels, slabH, slabW;
  int64_t slab, dyT, acc, total;

  explicit WeightPlan(const ConvShape& s) : cin(s.cin / s.groups), cout(s.cout / s.groups) {
    row = s.kW * cin;
    channels = std::min(cout, kChannelBlock);
    channelBlocks = (cout + channels - 1) / channels;
    // Output lines (pixels, when there is one line) taken at a time.
    lines = s.outH;
    pixels = s.outW;
    const auto floats = [&] { return ((lines - 1) * s.strideH + s.kH) * ((pixels - 1) * s.strideW + s.kW) * cin; };
    if (s.outH > 1) {
      while (lines > 1 && floats() > kSlabFloats) lines = (lines + 1) / 2;
    } else {
      while (pixels > 64 && floats() > kSlabFloats) pixels = (pixels + 1) / 2;
    }
    slabH = (lines - 1) * s.strideH + s.kH;
    slabW = (pixels - 1) * s.strideW + s.kW;
    slab = roundUp(slabH * slabW * cin, 16) + 16 * kLanes;  // tail vectors read behind the last pixel
    dyT = roundUp(channels * lines * pixels, 16);
    acc = roundUp(channels * s.kH * row, 16);
    total = roundUp(slab + dyT + acc, 1024) + 16;
  }
};

void weightTask(const ConvShape& s, const WeightPlan& plan, const float* dy, const float* x, float* dw, float* db,
                int64_t g, int64_t o0, float* scratch) {
  const int64_t n = std::min(plan.channels, plan.cout - o0);
  float* slab = scratch;
  float* dyT = slab + plan.slab;
  float* acc = dyT + plan.dyT;
  const int64_t ldAcc = s.kH * plan.row;
  std::memset(slab + plan.slab - 16 * kLanes, 0, 16 * kLanes * sizeof(float));
  std::memset(acc, 0, static_cast<size_t>(n * ldAcc) * sizeof(float));
  const RowTiles tiles(n);
  const int64_t channel = g * plan.cout + o0;
  for (int64_t image = 0; image < s.batch; ++image) {
    const Image from{x + image * s.inH * s.inW * s.cin + g * plan.cin, s.inH, s.inW, s.cin};
    for (int64_t y0 = 0; y0 < s.outH; y0 += plan.lines) {
      const int64_t lines = std::min(plan.lines, s.outH - y0);
      for (int64_t x0 = 0; x0 < s.outW; x0 += plan.pixels) {
        const int64_t pixels = std::min(plan.pixels, s.outW - x0), count = lines * pixels;
        fillSlab(from, y0 * s.strideH - s.padTop, x0 * s.strideW - s.padLeft, plan.slabH, plan.slabW, plan.cin, slab);
        // Lines follow each other in memory whenever several are taken (then a line is taken whole).
        transposeBlock(dy + ((image * s.outH + y0) * s.outW + x0) * s.cout + channel, s.cout, count, n, dyT, count);
        if (db) {
          for (int64_t o = 0; o < n; ++o) db[channel + o] += sumOf(dyT + o * count, count);
        }
        for (int64_t ky = 0; ky < s.kH; ++ky) {
          const float* window = slab + ky * plan.slabW * plan.cin;
          for (int64_t j = 0; j < plan.row; j += kNR) {
            const int64_t cols = std::min<int64_t>(kNR, plan.row - j);
            for (int64_t t = 0; t < tiles.count; ++t) {
              const int64_t o = tiles.begin(t), height = tiles.begin(t + 1) - o;
              pixelTileFor(height, cols)(dyT + o * count, count, window + j, lines, pixels,
                                         s.strideH * plan.slabW * plan.cin, s.strideW * plan.cin,
                                         acc + o * ldAcc + ky * plan.row + j, ldAcc, cols);
            }
          }
        }
      }
    }
  }
  const int64_t taps = s.kH * s.kW;
  for (int64_t o = 0; o < n; ++o) {
    float* target = dw + (channel + o) * plan.cin * taps;
    for (int64_t ky = 0; ky < s.kH; ++ky) {
      for (int64_t kx = 0; kx < s.kW; ++kx) {
        const float* src = acc + o * ldAcc + ky * plan.row + kx * plan.cin;
        for (int64_t i = 0; i < plan.cin; ++i) target[i * taps + ky * s.kW + kx] += src[i];
      }
    }
  }
}

}  // namespace

void CpuBackend::convGradWeight(const ConvShape& s, In dy, In x, float* dw, float* db) {
  if (gradWeightLanes(memory_, s, dy, x, dw, db) || gradWeightWindows(memory_, s, dy, x, dw, db)) return;
  const WeightPlan plan(s);
  Workspace scratch(memory_, static_cast<size_t>(plan.total * threadCount()) * sizeof(float));
  parallelItems(s.groups * plan.channelBlocks, [&](int64_t item) {
    weightTask(s, plan, dy, x, dw, db, item / plan.channelBlocks, item % plan.channelBlocks * plan.channels,
               scratch.floats() + threadIndex() * plan.total);
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
