// Grouped convolution, forward and gradient to the input: implicit GEMM on slabs (conv_slab.h).
//
// Both passes are one "correlation": every target pixel is a sum over kernel taps of source pixels times a matrix
// [source channels, target channels] of the group. A task copies a slab, then runs the register tile over target
// pixels (rows, one pointer into the slab each) x target channels (panels of packed weights); the k loop walks kernel
// rows, one stretch of kW * channels values each. Weights are packed once per call, k-major in the order
// (ky, kx, channel), cut into blocks whose panel stays in the first-level cache.
//
// Gradient to the input: the taps of the forward pass reach an input pixel only from every strideth output, so input
// pixels fall into strideH * strideW phases, each of which is a stride-1 correlation of dy with its own part of the
// flipped kernel.
#include <algorithm>
#include <vector>

#include "conv_correlation.h"
#include "conv_slab.h"
#include "cpu_backend.h"
#include "gemm_small.h"

namespace d2v {
namespace D2V_ISA {
namespace {

constexpr int64_t kBlockK = 448;          // values of k per block
constexpr int64_t kSlabFloats = 48 * 1024;  // a slab stays in the second-level cache

/// How the k loop is cut: `runs` kernel rows per block when they are short, or a piece of one row.
struct Blocks {
  int64_t row, rowsPerBlock, piece, pieces;
  explicit Blocks(const Correlation& c) : row(c.kW * c.cin), rowsPerBlock(1), piece(row), pieces(1) {
    if (row > kBlockK) {
      pieces = (row + kBlockK - 1) / kBlockK;
      piece = (row + pieces - 1) / pieces;
    } else {
      const int64_t fit = std::min(c.kH, kBlockK / row), blocks = (c.kH + fit - 1) / fit;
      rowsPerBlock = (c.kH + blocks - 1) / blocks;
    }
  }
};

int64_t panelsOf(const Correlation& c) { return (c.cout + kNR - 1) / kNR; }
int64_t packedFloats(const Correlation& c) { return c.groups * panelsOf(c) * kNR * c.depth(); }

/// Packs weights in the layout [group][panel][k][kNR]; a block of k is a contiguous part of a panel.
void packWeights(const Correlation& c, const TapWeights& weights, float* packed) {
  const int64_t panels = panelsOf(c), depth = c.depth(), step = weights.step;
  parallelFor(c.groups * panels, 1 + 16384 / (depth * kNR), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t g = item / panels, o0 = item % panels * kNR, n = std::min<int64_t>(kNR, c.cout - o0);
      float* dst = packed + item * depth * kNR;
      for (int64_t a = 0; a < c.kH; ++a) {
        for (int64_t b = 0; b < c.kW; ++b) {
          for (int64_t i = 0; i < c.cin; ++i, dst += kNR) {
            const float* src = weights.at(g, a, b, i) + o0 * step;
            for (int64_t o = 0; o < n; ++o) dst[o] = src[o * step];
            for (int64_t o = n; o < kNR; ++o) dst[o] = 0.0f;
          }
        }
      }
    }
  });
}

/// Part of the target that one task computes: rows of an image, or columns when it has one row.
struct Chunks {
  int64_t rows, cols, perImage, slabH, slabW;
  explicit Chunks(const Correlation& c) : rows(c.outH), cols(c.outW) {
    const auto floats = [&] { return ((rows - 1) * c.strideH + c.kH) * ((cols - 1) * c.strideW + c.kW) * c.cin; };
    if (c.outH > 1) {
      while (rows > 1 && floats() > kSlabFloats) rows = (rows + 1) / 2;
    } else {
      while (cols > 4 * kMR && floats() > kSlabFloats) cols = (cols + 1) / 2;
    }
    slabH = (rows - 1) * c.strideH + c.kH;
    slabW = (cols - 1) * c.strideW + c.kW;
    perImage = ((c.outH + rows - 1) / rows) * ((c.outW + cols - 1) / cols);
  }
  int64_t floats(const Correlation& c) const { return roundUp(slabH * slabW * c.cin, 16) + 1024; }
};

/// Pixels [y0, y0 + rows) x [x0, x0 + cols) of the target, one group; the slab is filled.
void correlateChunk(const Correlation& c, const Chunks& chunks, const Blocks& blocks, const float* packed,
                    const float* slab, int64_t image, int64_t g, int64_t y0, int64_t rows, int64_t x0, int64_t cols) {
  float* target = c.target + image * c.targetImage + y0 * c.targetRow + x0 * c.targetPixel + g * c.cout;
  if (c.bias) {
    for (int64_t y = 0; y < rows; ++y) {
      for (int64_t x = 0; x < cols; ++x) {
        copyShort(target + y * c.targetRow + x * c.targetPixel, c.bias + g * c.cout, c.cout);
      }
    }
  }
  // Pixels of several rows share tiles when their targets are evenly spaced.
  const bool even = c.targetRow == cols * c.targetPixel || rows == 1;
  const int64_t lines = even ? 1 : rows, length = even ? rows * cols : cols;
  const RowTiles tiles(length);
  const int64_t line = chunks.slabW * c.cin, depth = c.depth(), panels = panelsOf(c);
  int64_t offsets[kBlockK];
  for (int64_t a0 = 0; a0 < c.kH; a0 += blocks.rowsPerBlock) {
    const int64_t count = std::min(blocks.rowsPerBlock, c.kH - a0);
    for (int64_t p0 = 0; p0 < blocks.row; p0 += blocks.piece) {
      const Stretches stretches{offsets, count, std::min(blocks.piece, blocks.row - p0)};
      for (int64_t a = 0; a < count; ++a) offsets[a] = (a0 + a) * line + p0;
      const bool accumulate = c.bias || a0 > 0 || p0 > 0;
      for (int64_t panel = 0; panel < panels; ++panel) {
        const float* weights = packed + ((g * panels + panel) * depth + a0 * blocks.row + p0) * kNR;
        const int64_t o = panel * kNR, n = std::min<int64_t>(kNR, c.cout - o);
        for (int64_t l = 0; l < lines; ++l) {
          for (int64_t t = 0; t < tiles.count; ++t) {
            const int64_t first = tiles.begin(t), height = tiles.begin(t + 1) - first;
            const float* pointers[kMR];
            for (int64_t r = 0; r < height; ++r) {
              const int64_t y = even ? (first + r) / cols : l, x = even ? (first + r) % cols : first + r;
              pointers[r] = slab + y * c.strideH * line + x * c.strideW * c.cin;
            }
            microTileFor(height, n)(pointers, stretches, weights,
                                    target + l * c.targetRow + first * c.targetPixel + o, c.targetPixel, n, 1.0f,
                                    accumulate);
          }
        }
      }
    }
  }
}

void correlate(Allocator& memory, const Correlation& c, const TapWeights& weights) {
  if (correlateLanes(memory, c, weights)) return;
  Workspace packedWeights(memory, static_cast<size_t>(packedFloats(c)) * sizeof(float));
  const float* packed = packedWeights.floats();
  packWeights(c, weights, packedWeights.floats());
  const Chunks chunks(c);
  const Blocks blocks(c);
  const int64_t images = c.batch * chunks.perImage, threads = threadCount();
  // A thread keeps all groups of an image, because neighbouring groups share cache lines, unless images are few.
  const int64_t splits = images >= 4 * threads ? 1 : std::min(c.groups, (4 * threads + images - 1) / images);
  const int64_t slice = chunks.floats(c);
  Workspace scratch(memory, static_cast<size_t>(slice * threads) * sizeof(float));
  const int64_t acrossX = (c.outW + chunks.cols - 1) / chunks.cols;
  parallelItems(images * splits, [&](int64_t item) {
    float* slab = scratch.floats() + threadIndex() * slice;
    const int64_t split = item % splits, part = item / splits % chunks.perImage, image = item / splits / chunks.perImage;
    const int64_t y0 = part / acrossX * chunks.rows, x0 = part % acrossX * chunks.cols;
    const int64_t rows = std::min(chunks.rows, c.outH - y0), cols = std::min(chunks.cols, c.outW - x0);
    for (int64_t g = c.groups * split / splits; g < c.groups * (split + 1) / splits; ++g) {
      const int64_t ld = c.groups * c.cin;
      const Image from{c.source + image * c.h * c.w * ld + g * c.cin, c.h, c.w, ld};
      fillSlab(from, y0 * c.strideH + c.top, x0 * c.strideW + c.left, chunks.slabH, chunks.slabW, c.cin, slab);
      correlateChunk(c, chunks, blocks, packed, slab, image, g, y0, rows, x0, cols);
    }
  });
}

}  // namespace

void CpuBackend::conv(const ConvShape& s, In x, In w, In bias, Out y) {
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kH * s.kW;
  const Correlation c{x,          s.batch,    s.inH,      s.inW,     s.groups,  cin,
                      s.kH,       s.kW,       s.strideH,  s.strideW, -s.padTop, -s.padLeft,
                      s.outH,     s.outW,     y,          s.outH * s.outW * s.cout, s.outW * s.cout, s.cout,
                      cout,       bias};
  correlate(memory_, c, TapWeights{w, cin * taps, taps, cout * cin * taps, s.kW, 1, 0});
}

void CpuBackend::convGradInput(const ConvShape& s, In dy, In w, Out dx) {
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kH * s.kW;
  float* target = dx;
  const bool everyPixel = s.kH >= s.strideH && s.kW >= s.strideW;  // else some phases have no taps
  if (!everyPixel) {
    parallelFor(s.batch * s.inH * s.inW, 1 + 16384 / s.cin, [&](int64_t begin, int64_t end) {
      std::memset(target + begin * s.cin, 0, static_cast<size_t>((end - begin) * s.cin) * sizeof(float));
    });
  }
  // Input row i = (i + padTop) / strideH * strideH + phase - padTop is reached by taps phase, phase + strideH, ...
  for (int64_t py = 0; py < std::min(s.strideH, s.kH); ++py) {
    for (int64_t px = 0; px < std::min(s.strideW, s.kW); ++px) {
      const int64_t kH = (s.kH - py + s.strideH - 1) / s.strideH, kW = (s.kW - px + s.strideW - 1) / s.strideW;
      const int64_t firstY = ((py - s.padTop) % s.strideH + s.strideH) % s.strideH;
      const int64_t firstX = ((px - s.padLeft) % s.strideW + s.strideW) % s.strideW;
      if (firstY >= s.inH || firstX >= s.inW) continue;
      // Target (0, 0) of the phase lies at q = (first + pad - phase) / stride in units of output pixels.
      const int64_t qY = (firstY + s.padTop - py) / s.strideH, qX = (firstX + s.padLeft - px) / s.strideW;
      const Correlation c{dy,
                          s.batch,
                          s.outH,
                          s.outW,
                          s.groups,
                          cout,
                          kH,
                          kW,
                          1,
                          1,
                          qY - (kH - 1),
                          qX - (kW - 1),
                          (s.inH - firstY + s.strideH - 1) / s.strideH,
                          (s.inW - firstX + s.strideW - 1) / s.strideW,
                          target + (firstY * s.inW + firstX) * s.cin,
                          s.inH * s.inW * s.cin,
                          s.strideH * s.inW * s.cin,
                          s.strideW * s.cin,
                          cin,
                          nullptr};
      // Tap (a, b) of the phase is tap (py + (kH - 1 - a) * strideH, px + (kW - 1 - b) * strideW) of the kernel.
      const int64_t lastTap = (py + (kH - 1) * s.strideH) * s.kW + px + (kW - 1) * s.strideW;
      correlate(memory_, c,
                TapWeights{w, taps, cin * taps, cout * cin * taps, -s.strideH * s.kW, -s.strideW, lastTap});
    }
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
