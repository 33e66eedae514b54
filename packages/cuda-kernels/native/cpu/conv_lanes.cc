// Drivers of conv_lanes.h: whole images at a time, all sets of P groups of an image on one thread.
#include "conv_lanes.h"

#include <algorithm>
#include <cstring>

#include "conv_correlation.h"
#include "cpu_backend.h"
#include "gemm_small.h"

namespace d2v {
namespace D2V_ISA {
namespace {

constexpr int64_t kLargestSlab = 96 * 1024;        // floats
constexpr int64_t kLargestSums = 2 * 1024 * 1024;  // floats
constexpr int64_t kLargestPanel = 384 * kLaneWidth;  // floats

template <int P>
void correlateSets(Allocator& memory, const Correlation& c, const TapWeights& weights) {
  const int64_t sets = c.groups / P, depth = c.depth(), cout = c.cout;
  const int64_t slabH = (c.outH - 1) * c.strideH + c.kH, slabW = (c.outW - 1) * c.strideW + c.kW;
  const int64_t panel = (depth + 1) * kLaneWidth;  // the first row is the bias
  Workspace packed(memory, static_cast<size_t>(sets * panel) * sizeof(float));
  parallelFor(sets, 1, [&](int64_t begin, int64_t end) {
    for (int64_t set = begin; set < end; ++set) {
      float* dst = packed.floats() + set * panel;
      for (int64_t o = 0; o < cout; ++o) {
        for (int64_t p = 0; p < P; ++p) dst[o * P + p] = c.bias ? c.bias[(set * P + p) * cout + o] : 0.0f;
      }
      dst += kLaneWidth;
      for (int64_t a = 0; a < c.kH; ++a) {
        for (int64_t b = 0; b < c.kW; ++b) {
          for (int64_t i = 0; i < c.cin; ++i, dst += kLaneWidth) {
            for (int64_t p = 0; p < P; ++p) {
              const float* src = weights.at(set * P + p, a, b, i);
              for (int64_t o = 0; o < cout; ++o) dst[o * P + p] = src[o * weights.step];
            }
          }
        }
      }
    }
  });

  const int64_t threads = threadCount(), slice = roundUp(slabH * slabW * c.cin * P, 1024) + 16;
  const int64_t splits = c.batch >= 4 * threads ? 1 : std::min(sets, (4 * threads + c.batch - 1) / c.batch);
  const int64_t line = slabW * c.cin * P, pixels = c.outH * c.outW;
  Workspace scratch(memory, static_cast<size_t>(slice * threads + c.kH * 2) * sizeof(float));
  auto* offsets = reinterpret_cast<int64_t*>(scratch.floats() + slice * threads);
  for (int64_t a = 0; a < c.kH; ++a) offsets[a] = a * line;
  const Stretches stretches{offsets, c.kH, c.kW * c.cin};
  parallelItems(c.batch * splits, [&](int64_t item) {
    float* slab = scratch.floats() + threadIndex() * slice;
    const int64_t image = item / splits, split = item % splits, ld = c.groups * c.cin;
    for (int64_t set = sets * split / splits; set < sets * (split + 1) / splits; ++set) {
      const Image from{c.source + image * c.h * c.w * ld + set * P * c.cin, c.h, c.w, ld};
      fillLaneSlab<P>(from, c.top, c.left, slabH, slabW, c.cin, slab);
      const float* bias = packed.floats() + set * panel;
      float* target = c.target + image * c.targetImage + set * P * cout;
      for (int64_t first = 0; first < pixels; first += kLaneRows) {
        const float* rows[kLaneRows];
        float* out[kLaneRows];
        for (int64_t r = 0; r < kLaneRows; ++r) {  // a short last tile repeats its last pixel
          const int64_t pixel = std::min(first + r, pixels - 1), y = pixel / c.outW, x = pixel % c.outW;
          rows[r] = slab + y * c.strideH * line + x * c.strideW * c.cin * P;
          out[r] = target + y * c.targetRow + x * c.targetPixel;
        }
        laneTile<P>(rows, stretches, bias + kLaneWidth, bias, out, cout);
      }
    }
  });
}

constexpr int64_t kPixels = 128;  // of a pass over the sums: their operands stay in the first-level cache

/// Work of the weight gradient: a task takes a run of images through all sets, so that an image's cache lines, which
/// hold channels of several sets, are fetched once. It keeps sums of its own, combined in order afterwards.
struct WeightTasks {
  int64_t together, images, parts;
  int64_t lines, length;  // of a pass: several whole images, or lines of one, or a part of a line
  explicit WeightTasks(const ConvShape& s) {
    const int64_t pixels = s.outH * s.outW;
    const auto cut = [](int64_t n, int64_t most) {  // nearly equal pieces
      const int64_t pieces = (n + most - 1) / most;
      return (n + pieces - 1) / pieces;
    };
    length = cut(s.outW, kPixels);
    lines = cut(s.outH, std::max<int64_t>(1, kPixels / s.outW));
    together = std::clamp<int64_t>(kPixels / pixels, 1, s.batch);
    images = roundUp(std::max(together, (s.batch + 15) / 16), together);
    parts = (s.batch + images - 1) / images;
  }
};

template <int P>
void weightSets(Allocator& memory, const ConvShape& s, const float* dy, const float* x, float* dw, float* db) {
  const WeightTasks tasks(s);
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, sets = s.groups / P, taps = s.kH * s.kW;
  const int64_t slabH = (s.outH - 1) * s.strideH + s.kH, slabW = (s.outW - 1) * s.strideW + s.kW;
  const int64_t pixels = s.outH * s.outW, slabSize = slabH * slabW * cin * P, line = slabW * cin * P;
  const int64_t step = s.strideW * cin * P;
  // Sums of a set: a row per (tap, source channel), one for the bias, spare ones for the filling of the last tile.
  const int64_t rows = taps * cin, setSize = (rows + kLaneRows) * kLaneWidth;
  const int64_t slice = roundUp(tasks.together * (slabSize + pixels * kLaneWidth), 1024) + 16;
  Workspace partial(memory, static_cast<size_t>(tasks.parts * sets * setSize) * sizeof(float));
  Workspace scratch(memory, static_cast<size_t>(slice * threadCount()) * sizeof(float));
  Workspace table(memory, static_cast<size_t>(rows) * sizeof(int64_t));
  auto* offsets = table.as<int64_t>();
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t tap = r / cin;
    offsets[r] = tap / s.kW * line + (tap % s.kW * cin + r % cin) * P;
  }
  const auto addPass = [&](const float* windows, const float* grad, int64_t images, int64_t lines, int64_t length,
                           float* sums) {
    for (int64_t r0 = 0; r0 < rows; r0 += kLaneRows) {
      const float* from[kLaneRows];
      float* out[kLaneRows];
      for (int64_t e = 0; e < kLaneRows; ++e) {
        const int64_t r = std::min(r0 + e, rows - 1);
        from[e] = windows + offsets[r];
        out[e] = sums + (r0 + e < rows ? r : rows + e) * kLaneWidth;
      }
      laneWeightTile<P>(from, grad, images, slabSize, lines, s.strideH * line, length, step, out);
    }
  };
  parallelChunks(s.batch, tasks.images, [&](int64_t part, int64_t begin, int64_t end) {
    float* slab = scratch.floats() + threadIndex() * slice;
    float* grad = slab + tasks.together * slabSize;
    float* sums = partial.floats() + part * sets * setSize;
    std::memset(sums, 0, static_cast<size_t>(sets * setSize) * sizeof(float));
    for (int64_t b0 = begin; b0 < end; b0 += tasks.together) {
      const int64_t images = std::min(tasks.together, end - b0);
      for (int64_t set = 0; set < sets; ++set, sums += setSize) {
        for (int64_t b = 0; b < images; ++b) {
          const Image from{x + (b0 + b) * s.inH * s.inW * s.cin + set * P * cin, s.inH, s.inW, s.cin};
          fillLaneSlab<P>(from, -s.padTop, -s.padLeft, slabH, slabW, cin, slab + b * slabSize);
          const Image out{dy + (b0 + b) * pixels * s.cout + set * P * cout, s.outH, s.outW, s.cout};
          fillLaneSlab<P>(out, 0, 0, s.outH, s.outW, cout, grad + b * pixels * kLaneWidth);
        }
        for (int64_t y = 0; y < s.outH; y += tasks.lines) {
          for (int64_t c = 0; c < s.outW; c += tasks.length) {
            const int64_t lines = std::min(tasks.lines, s.outH - y), length = std::min(tasks.length, s.outW - c);
            addPass(slab + y * s.strideH * line + c * step, grad + (y * s.outW + c) * kLaneWidth, images, lines, length,
                    sums);
          }
        }
        if (!db) continue;
        Vf sum[kLaneVectors];
        float* bias = sums + rows * kLaneWidth;
        for (int j = 0; j < kLaneVectors; ++j) sum[j] = vload(bias + j * kLanes);
        for (int64_t i = 0; i < images * pixels; ++i) {
          for (int j = 0; j < kLaneVectors; ++j) sum[j] = sum[j] + vload(grad + i * kLaneWidth + j * kLanes);
        }
        for (int j = 0; j < kLaneVectors; ++j) vstore(bias + j * kLanes, sum[j]);
      }
      sums -= sets * setSize;
    }
  });
  parallelItems(sets, [&](int64_t set) {
    float* sums = partial.floats() + set * setSize;
    for (int64_t part = 1; part < tasks.parts; ++part) {
      const float* more = sums + part * sets * setSize;
      for (int64_t i = 0; i < (rows + 1) * kLaneWidth; i += kLanes) vstore(sums + i, vload(sums + i) + vload(more + i));
    }
    for (int64_t r = 0; r < rows; ++r, sums += kLaneWidth) {
      float* target = dw + (set * P * cout * cin + r % cin) * taps + r / cin;
      for (int64_t p = 0; p < P; ++p) {
        for (int64_t o = 0; o < cout; ++o) target[(p * cout + o) * cin * taps] += sums[o * P + p];
      }
    }
    for (int64_t p = 0; db && p < P; ++p) {
      for (int64_t o = 0; o < cout; ++o) db[(set * P + p) * cout + o] += sums[o * P + p];
    }
  });
}

}  // namespace

bool correlateLanes(Allocator& memory, const Correlation& c, const TapWeights& weights) {
  const int64_t p = lanesFor(c.groups, c.cout);
  const int64_t slab = ((c.outH - 1) * c.strideH + c.kH) * ((c.outW - 1) * c.strideW + c.kW) * c.cin * p;
  if (p == 0 || slab > kLargestSlab || c.depth() * kLaneWidth > kLargestPanel) return false;
  if (p == 1) correlateSets<1>(memory, c, weights);
  if (p == 2) correlateSets<2>(memory, c, weights);
  if (p == 4) correlateSets<4>(memory, c, weights);
  return true;
}

bool gradWeightLanes(Allocator& memory, const ConvShape& s, const float* dy, const float* x, float* dw, float* db) {
  const int64_t p = lanesFor(s.groups, s.cout / s.groups);
  const WeightTasks tasks(s);
  const int64_t cin = s.cin / s.groups, rows = s.kH * s.kW * cin;
  const int64_t slab = ((s.outH - 1) * s.strideH + s.kH) * ((s.outW - 1) * s.strideW + s.kW) * cin * p;
  if (p == 0 || tasks.together * (slab + s.outH * s.outW * kLaneWidth) > kLargestSlab) return false;
  if (tasks.parts * s.groups / p * (rows + kLaneRows) * kLaneWidth > kLargestSums) return false;
  if (p == 1) weightSets<1>(memory, s, dy, x, dw, db);
  if (p == 2) weightSets<2>(memory, s, dy, x, dw, db);
  if (p == 4) weightSets<4>(memory, s, dy, x, dw, db);
  return true;
}

}  // namespace D2V_ISA
}  // namespace d2v
