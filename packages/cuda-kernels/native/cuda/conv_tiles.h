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
// which lets eight neighbouring pixels lie in eight different groups of banks; a gap behind each line keeps that so for
// neighbours of which some lie in the next line.
#pragma once

#include <algorithm>
#include <numeric>

#include "../backend.h"
#include "device.h"
#include "divisor.h"
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
  int slabLines, slabColumns, pitch, linePitch;  // bytes from pixel to pixel and from line to line
  int chunks, vectors;  // of a group's channels, and vectors per pixel in each
  int lanesLog2;        // of the threads that copy a pixel: the least power of two >= vectors
  int piece;            // most bytes that a copy may move at once: 16, 8, 4, or 2 (an element at a time)
  Divisor byColumns, bySlabColumns, byColumnTiles, byTargetH, byVirtualLines;

  D2V_BOTH int slabBytes() const { return slabLines * linePitch; }
  D2V_BOTH int64_t tiles() const { return static_cast<int64_t>(lineTiles) * columnTiles; }
};

/// Bytes that copies of channels of a group may move at once.
inline int pieceOf(const void* data, int64_t channels, int64_t elementBytes) {
  const auto all = static_cast<int64_t>(reinterpret_cast<uintptr_t>(data)) | channels * elementBytes | 16;
  return static_cast<int>(all & -all);  // the lowest bit set
}

/// The least s with 2^s >= n.
inline int log2Up(int n) {
  int s = 0;
  while ((1 << s) < n) ++s;
  return s;
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
  // Eight neighbouring pixels of the target lie in different banks also where a line ends among them: if the distance of lines
  // leaves the same rest of 128 bytes as that of as many pixels as a line has. (An odd number is its own inverse modulo 8.)
  const int64_t line = int64_t{t.slabColumns} * t.pitch, ends = int64_t{t.columns} * c.strideW * t.pitch;
  const int64_t gap = c.strideH % 2 == 1 ? ((c.strideH * ends - line) % 128 + 128) % 128 : 0;
  t.linePitch = static_cast<int>(std::min<int64_t>(line + gap, INT32_MAX));  // what is too long fits no shared memory
  t.lanesLog2 = log2Up(t.vectors);
  t.byColumns = Divisor(t.columns);
  t.bySlabColumns = Divisor(t.slabColumns);
  t.byColumnTiles = Divisor(t.columnTiles);
  t.byTargetH = Divisor(c.targetH);
  t.byVirtualLines = Divisor(t.virtualLines);
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
  int column;
  o.line = t.byColumnTiles.quotient(tile, column) * t.lines;
  o.column = column * t.columns;
  const int left = c.batch * c.targetH - o.line;
  o.lines = left < t.lines ? left : t.lines;
  o.columns = c.targetW - o.column < t.columns ? c.targetW - o.column : t.columns;
  int inImage;
  const int image = t.byTargetH.quotient(o.line, inImage);
  o.virtualLine = image * t.virtualLines + inImage * c.strideH;
  return o;
}

/// Line and column in the tile of its pixel number `row`.
D2V_DEVICE int lineOf(const Tiling& t, const TileOrigin& o, int row, int& column) {
  const int line = o.columns == t.columns ? t.byColumns.quotient(row) : row / o.columns;  // the latter in the last tile
  column = row - line * o.columns;
  return line;
}

/// Bytes from the slab's begin to the source pixel under the first tap of the tile's pixel `row`, which is inside.
D2V_DEVICE int slabPixel(const Correlation& c, const Tiling& t, const TileOrigin& o, int row) {
  int column, inImage;
  const int image = t.byTargetH.quotient(o.line + lineOf(t, o, row, column), inImage);
  const int virtualLine = image * t.virtualLines + inImage * c.strideH - o.virtualLine;
  return virtualLine * t.linePitch + column * c.strideW * t.pitch;
}

/// Bytes from there to what vector `v` of tap number `tap` reads.
D2V_DEVICE int slabOffset(const Correlation& c, const Tiling& t, int tap, int v) {
  return tap / c.kW * t.linePitch + tap % c.kW * t.pitch + v * 16;
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

/// The block copies the slab of a tile: a chunk of channels from `channel` of group `g` on. A thread stays with one vector of
/// the pixel and walks over the pixels by additions.
template <typename T>
D2V_DEVICE void copySlab(char* slab, const T* source, const Correlation& c, const Tiling& t, const TileOrigin& o, int g,
                         int channel) {
  const int v = threadX() & ((1 << t.lanesLog2) - 1), first = threadX() >> t.lanesLog2;
  const int each = threadCount() >> t.lanesLog2;
  if (v >= t.vectors) return;
  int inImage;
  const int lastImage = t.byTargetH.quotient(o.line + o.lines - 1, inImage);
  const int lines = lastImage * t.virtualLines + inImage * c.strideH - o.virtualLine + c.kH;
  const int columns = (o.columns - 1) * c.strideW + c.kW, pixels = lines * columns;
  const bool usual = columns == t.slabColumns;  // all but the last tile of a wide target
  const int stepLines = usual ? t.bySlabColumns.quotient(each) : each / columns, stepColumns = each - stepLines * columns;
  const int line = usual ? t.bySlabColumns.quotient(first) : first / columns;
  int y;
  const int image = t.byVirtualLines.quotient(o.virtualLine + line, y);
  y -= c.padTop;
  const int left = o.column * c.strideW - c.padLeft, right = left + columns, bottom = t.virtualLines - c.padTop;
  int x = left + first - line * columns;
  const int64_t pixel = c.groups * c.channels, sourceLine = c.sourceW * pixel;
  const int have = c.channels - channel - v * kWide<T>;  // channels of the vector, at most its size
  const T* from = source + (static_cast<int64_t>(image) * c.sourceH + y) * sourceLine + x * pixel + g * c.channels +
                  channel + v * kWide<T>;
  char* to = slab + line * t.linePitch + (x - left) * t.pitch + v * 16;
  // What a step adds; what is added to that at the end of a line, and at the end of an image.
  const int64_t step = stepLines * sourceLine + stepColumns * pixel, atLine = sourceLine - columns * pixel;
  const int64_t atImage = (c.sourceH - t.virtualLines) * sourceLine;
  const int toStep = stepLines * t.linePitch + stepColumns * t.pitch, toLine = t.linePitch - columns * t.pitch;
  const auto walk = [&](const auto& copy) {
    for (int i = first; i < pixels; i += each) {
      copy(static_cast<uint32_t>(y) < static_cast<uint32_t>(c.sourceH) &&
           static_cast<uint32_t>(x) < static_cast<uint32_t>(c.sourceW));
      x += stepColumns;
      y += stepLines;
      from += step;
      to += toStep;
      if (x >= right) {
        x -= columns;
        ++y;
        from += atLine;
        to += toLine;
      }
      while (y >= bottom) {
        y -= t.virtualLines;
        from += atImage;
      }
    }
  };
  if (t.piece == 16) {
    walk([&](bool inside) { copyAsync<16>(to, from, inside && have > 0); });
  } else {
    walk([&](bool inside) { copyVector(to, from, inside ? have : 0, t.piece); });
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
