// What the convolution kernels share: the correlation that they compute, how its target is cut into tiles, and the slab of
// the source that a tile reads.
//
// A tile is a number of target lines. All lines of all images are numbered through, and a tile may begin and end inside
// any image, so that tiles are full although a grid has 14 x 14 pixels. The source lines under them are numbered through
// in the same way: image i owns the `virtualLines` lines that its kernel windows reach, padding included, from
// i * virtualLines on; so the lines under a tile are one stretch of numbers, and what lies outside the image reads as zeros.
//
// The slab is that stretch in shared memory, for a chunk of a group's channels: [line][column][pitch bytes]. Each source
// value comes from device memory once per tile, however many taps read it. A row of a matrix fragment is 16 bytes of one
// pixel, and ldmatrix takes an address per row: a fragment for tap (a, b) is the pixel's own base plus an offset that is
// the same for all pixels. Nothing is ever unfolded (im2col) in any memory. The pitch is an odd number of 16-byte pieces,
// which lets eight neighbouring pixels lie in eight different groups of banks.
#pragma once

#include <algorithm>
#include <numeric>

#include "../backend.h"
#include "device.h"
#include "vectors.h"

namespace d2v::cuda {

/// Target pixel (y, x) of group g reads the source at (y * strideH - padTop + a, x * strideW - padLeft + b) for a < kH,
/// b < kW, zero outside. A convolution's forward pass is one of these; its gradient to the input is one per phase.
/// Padding may be negative: the windows then begin inside.
struct Correlation {
  int batch, groups;
  int sourceH, sourceW, channels;  // channels per group; a source pixel has groups * channels
  int targetH, targetW, outputs;   // channels per group of the target
  int kH, kW, strideH, strideW, padTop, padLeft;
  int64_t targetImage, targetRow, targetPixel;  // elements from one to the next

  D2V_BOTH int taps() const { return kH * kW; }
};

/// Where the weight of (group, target channel o, source channel c, tap row a, tap column b) lies:
/// first + group * g + output * o + channel * c + row * a + column * b.
struct TapWeights {
  int64_t first, group, output, channel, row, column;
  D2V_BOTH int64_t at(int g, int o, int c, int64_t a, int64_t b) const {
    return first + g * group + o * output + c * channel + a * row + b * column;
  }
};

inline Correlation correlationOf(const ConvShape& s) {
  const auto n = [](int64_t value) { return static_cast<int>(value); };
  return {n(s.batch),   n(s.groups),           n(s.inH),     n(s.inW), n(s.cin / s.groups), n(s.outH),
          n(s.outW),    n(s.cout / s.groups),  n(s.kH),      n(s.kW),  n(s.strideH),        n(s.strideW),
          n(s.padTop),  n(s.padLeft),          s.outH * s.outW * s.cout, s.outW * s.cout,   s.cout};
}

/// One line is laid on its side: tiles take neighbouring lines, and a sequence is then lines of one pixel.
inline bool layOnSide(Correlation& c, TapWeights* weights) {
  if (c.sourceH != 1 || c.targetH != 1 || c.kH != 1 || c.padTop != 0) return false;
  std::swap(c.sourceH, c.sourceW);
  std::swap(c.targetH, c.targetW);
  std::swap(c.kH, c.kW);
  std::swap(c.padTop, c.padLeft);
  c.strideH = c.strideW;
  c.strideW = 1;
  c.targetRow = c.targetPixel;
  if (weights != nullptr) std::swap(weights->row, weights->column);
  return true;
}

/// How a correlation is cut. Sizes in shared memory in bytes, `vectors` are pieces of 16 bytes.
struct Tiling {
  int lines, columns;   // target lines and columns of a tile
  int lineTiles, columnTiles;
  int virtualLines;     // source lines per image
  int slabLines, slabColumns, pitch;
  int chunks, vectors;  // of a group's channels, and vectors per pixel in each
  int lanes;            // threads that copy a pixel: a power of two >= vectors
  int piece;            // most bytes that a copy may move at once: 16, 8, 4, or 2 (an element at a time)

  D2V_BOTH int slabBytes() const { return slabLines * slabColumns * pitch; }
  D2V_BOTH int64_t tiles() const { return static_cast<int64_t>(lineTiles) * columnTiles; }
};

/// Bytes that copies of channels of a group may move at once.
inline int pieceOf(const void* data, int64_t channels, int64_t elementBytes) {
  const auto all = static_cast<int64_t>(reinterpret_cast<uintptr_t>(data)) | channels * elementBytes | 16;
  return static_cast<int>(all & -all);  // the lowest bit set
}

/// Cuts into tiles of at most `rows` target pixels, with at most `vectors` vectors of channels at once (in multiples of
/// `unit`).
inline Tiling cut(const Correlation& c, int rows, int elementBytes, int vectors, int unit) {
  Tiling t{};
  const int64_t allLines = static_cast<int64_t>(c.batch) * c.targetH;
  t.columns = std::min(c.targetW, rows);
  t.columnTiles = (c.targetW + t.columns - 1) / t.columns;
  t.columns = (c.targetW + t.columnTiles - 1) / t.columnTiles;
  t.lines = static_cast<int>(std::min<int64_t>(rows / t.columns, allLines));
  t.lineTiles = static_cast<int>((allLines + t.lines - 1) / t.lines);
  t.virtualLines = (c.targetH - 1) * c.strideH + c.kH;
  const int crossings = (t.lines + c.targetH - 2) / c.targetH;
  t.slabLines = (t.lines - 1) * c.strideH + c.kH + std::max(0, c.kH - c.strideH) * crossings;
  t.slabColumns = (t.columns - 1) * c.strideW + c.kW;
  const int all = (c.channels * elementBytes + 15) / 16;
  t.chunks = (all + vectors - 1) / vectors;
  t.vectors = ((all + t.chunks - 1) / t.chunks + unit - 1) / unit * unit;
  t.chunks = (all + t.vectors - 1) / t.vectors;
  t.pitch = (t.vectors | 1) * 16;
  for (t.lanes = 1; t.lanes < t.vectors;) t.lanes *= 2;
  return t;
}

/// Whether the numbers of a correlation fit the kernels' 32-bit ones.
inline bool countsFit(const ConvShape& s) {
  constexpr int64_t most = INT32_MAX / 4;
  const auto reach = [](int64_t in, int64_t out, int64_t k, int64_t stride) { return std::max(in, out * stride + k); };
  const int64_t h = reach(s.inH, s.outH, s.kH, s.strideH), w = reach(s.inW, s.outW, s.kW, s.strideW);
  return h <= most && w <= most && s.batch * h <= most && s.batch * w <= most && s.cin <= most && s.cout <= most &&
         s.kH * s.kW <= most / (s.cin / s.groups) && s.kH * s.kW <= most / (s.cout / s.groups);
}

/// A tile of the target: its first line and column, and how many there are.
struct TileOrigin {
  int line, column, lines, columns;
  int virtualLine;  // of the source, under the first line
};
D2V_DEVICE TileOrigin originOf(const Correlation& c, const Tiling& t, int tile) {
  TileOrigin o;
  o.line = tile / t.columnTiles * t.lines;
  o.column = tile % t.columnTiles * t.columns;
  const int left = c.batch * c.targetH - o.line;
  o.lines = left < t.lines ? left : t.lines;
  o.columns = c.targetW - o.column < t.columns ? c.targetW - o.column : t.columns;
  o.virtualLine = o.line / c.targetH * t.virtualLines + o.line % c.targetH * c.strideH;
  return o;
}

/// Bytes from the slab's begin to the source pixel under the first tap of the tile's pixel `row`, which is inside.
D2V_DEVICE int slabPixel(const Correlation& c, const Tiling& t, const TileOrigin& o, int row) {
  const int line = o.line + row / o.columns;
  const int virtualLine = line / c.targetH * t.virtualLines + line % c.targetH * c.strideH - o.virtualLine;
  return (virtualLine * t.slabColumns + row % o.columns * c.strideW) * t.pitch;
}

/// Bytes from there to what vector `v` of tap number `tap` reads.
D2V_DEVICE int slabOffset(const Correlation& c, const Tiling& t, int tap, int v) {
  return (tap / c.kW * t.slabColumns + tap % c.kW) * t.pitch + v * 16;
}

/// Copies 16 bytes to shared memory: the first `count` elements from `from`, which is not read if that is none, and zeros.
/// In pieces of as many bytes as the alignment of both allows.
template <typename T>
D2V_DEVICE void copyVector(char* to, const T* from, int count, int piece) {
  constexpr int each = kWide<T>;
  if (piece == 16) {
    copyAsync<16>(to, from, count > 0);
  } else if (piece == 8) {
#pragma unroll
    for (int i = 0; i < 2; ++i) copyAsync<8>(to + 8 * i, from + i * each / 2, count > i * each / 2);
  } else if (piece == 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) copyAsync<4>(to + 4 * i, from + i * each / 4, count > i * each / 4);
  } else {
    T* elements = reinterpret_cast<T*>(to);
#pragma unroll
    for (int i = 0; i < each; ++i) elements[i] = i < count ? from[i] : T();
  }
}

/// The block copies the slab of a tile: `channels` channels from `channel` of group `g` on. A thread stays with one vector
/// of the pixel and walks over the pixels; there is no division on the way.
template <typename T>
D2V_DEVICE void copySlab(char* slab, const T* source, const Correlation& c, const Tiling& t, const TileOrigin& o, int g,
                         int channel) {
  const int v = threadX() % t.lanes, each = threadCount() / t.lanes;
  if (threadX() >= each * t.lanes || v >= t.vectors) return;
  const int lastLine = o.line + o.lines - 1;
  const int lines = lastLine / c.targetH * t.virtualLines + lastLine % c.targetH * c.strideH - o.virtualLine + c.kH;
  const int columns = (o.columns - 1) * c.strideW + c.kW;
  const int stepLines = each / columns, stepColumns = each % columns;
  const int first = threadX() / t.lanes;
  int line = first / columns, column = first % columns;
  int image = (o.virtualLine + line) / t.virtualLines, y = (o.virtualLine + line) % t.virtualLines;
  const int pixel = c.groups * c.channels, x0 = o.column * c.strideW - c.padLeft;
  const int left = c.channels - channel - v * kWide<T>;
  const T* from = source + g * c.channels + channel + v * kWide<T>;
  while (line < lines) {
    const int sy = y - c.padTop, sx = x0 + column;
    const bool inside = image < c.batch && sy >= 0 && sy < c.sourceH && sx >= 0 && sx < c.sourceW;
    copyVector(slab + (line * t.slabColumns + column) * t.pitch + v * 16,
               from + ((static_cast<int64_t>(image) * c.sourceH + sy) * c.sourceW + sx) * pixel, inside ? left : 0,
               t.piece);
    line += stepLines;
    y += stepLines;
    column += stepColumns;
    if (column >= columns) {
      column -= columns;
      ++line;
      ++y;
    }
    while (y >= t.virtualLines) {
      y -= t.virtualLines;
      ++image;
    }
  }
}

// --- fragments of 16 bytes per row, for both types: a fragment's k is two vectors, 16 bf16 or 8 f32 (tf32)

/// f32 operands of the tensor cores in two parts that add up to it, so that three products are as good as one in f32.
struct Split {
  uint32_t high, low;
};
D2V_DEVICE Split split(uint32_t bits) {
  const uint32_t high = bits & 0xffffe000u;
  return {high, floatBits(bitsFloat(bits) - bitsFloat(high))};
}

/// c[m][n] += a[m] b[n].
template <typename T, int M, int N>
D2V_DEVICE void multiplyAll(float (&c)[M][N][4], const uint32_t (&a)[M][4], const uint32_t (&b)[N][2]) {
  if constexpr (sizeof(T) == 2) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int n = 0; n < N; ++n) multiply(c[m][n], a[m], b[n]);
    }
  } else {
    // b is split anew for each m: a few instructions, against registers for all of it.
#pragma unroll
    for (int m = 0; m < M; ++m) {
      uint32_t high[4], low[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const Split s = split(a[m][i]);
        high[i] = s.high;
        low[i] = s.low;
      }
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const Split s0 = split(b[n][0]), s1 = split(b[n][1]);
        const uint32_t bHigh[2] = {s0.high, s1.high}, bLow[2] = {s0.low, s1.low};
        multiplyTf32(c[m][n], low, bHigh);
        multiplyTf32(c[m][n], high, bLow);
        multiplyTf32(c[m][n], high, bHigh);
      }
    }
  }
}

}  // namespace d2v::cuda
