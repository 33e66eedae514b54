// Gradient to the weight of ungrouped convolutions over one dimension: products of matrices that are never made.
//
//   dw [cout, (tap, cin)] += sum over sequences of dy^T [cout, outW] * windows [outW, (tap, cin)]
//
// A window is kW tokens of a sequence, and neighbouring windows overlap. Outputs are taken in groups of pieces. First the
// tokens of a group's windows are packed, once for all threads, into panels of kNR channels, token after token: a panel
// serves all taps, which read it at an offset, and one piece of it stays in the first-level cache. Then every block of dw
// adds its product over the group, transposing its channels of dy on the way. Where dw has too few blocks to share out,
// several parts of a group are summed apart. All cuts depend on the shape only, and parts are combined in order.
//
// Where a token has few channels, or windows overlap little, whole windows are packed instead, as if they were the tokens
// of a kernel of one tap. And a window of few values (samples of sound: one channel, ten taps) would fill a part of a
// vector only: then the windows are transposed instead, and rows of dy, read in place, fill the vectors.
#include <algorithm>
#include <cstring>

#include "conv_correlation.h"
#include "conv_tile.h"
#include "cpu_backend.h"
#include "gemm_small.h"

namespace d2v {
namespace D2V_ISA {
namespace {

constexpr int64_t kRows = 200;          // packed tokens of a piece: a panel of them stays in the first-level cache
constexpr int64_t kChannels = 8 * kMR;  // of a block of dw: a packed value is used so many times
constexpr int64_t kColumns = 36 * kNR;  // of a block of dw: a transposed value of dy is used about so many times
constexpr int64_t kTasks = 16;          // enough for many threads
constexpr int64_t kPackedFloats = int64_t{3} << 20;
constexpr int64_t kSumsFloats = int64_t{4} << 20;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Pieces of at most `most` outputs of every sequence, nearly equal.
struct Pieces {
  int64_t outputs, perSequence, count;
  Pieces(const ConvShape& s, int64_t most) : outputs(ceilDiv(s.outW, ceilDiv(s.outW, most))) {
    perSequence = ceilDiv(s.outW, outputs);
    count = s.batch * perSequence;
  }
};

struct Piece {
  const float *x, *dy;   // the sequence; the first output
  int64_t first, count;  // outputs
  Piece(const ConvShape& s, const Pieces& pieces, const float* x0, const float* dy0, int64_t index) {
    const int64_t sequence = index / pieces.perSequence;
    first = index % pieces.perSequence * pieces.outputs;
    count = std::min(pieces.outputs, s.outW - first);
    x = x0 + sequence * s.inW * s.cin;
    dy = dy0 + (sequence * s.outW + first) * s.cout;
  }
};

/// How the work is cut. Piece i adds to part i % parts of the sums, [cout, taps, panels, kNR] with rows of ld floats.
struct WindowPlan {
  bool whole;            // windows are packed whole
  int64_t taps, width;   // of a packed row: taps that read it at an offset, channels
  int64_t step;          // packed rows from one output to the next
  int64_t panels, ld, channels, channelBlocks, panelsPerBlock, panelBlocks;
  Pieces pieces;
  int64_t panelFloats, group, parts;

  explicit WindowPlan(const ConvShape& s)
      : whole(s.cin < 2 * kLanes || s.strideW > 1),
        taps(whole ? 1 : s.kW),
        width(whole ? s.kW * s.cin : s.cin),
        step(whole ? 1 : s.strideW),
        panels(ceilDiv(width, kNR)),
        ld(taps * panels * kNR + 16),
        channels(std::min(s.cout, kChannels)),
        channelBlocks(ceilDiv(s.cout, channels)),
        panelsPerBlock(ceilDiv(panels, ceilDiv(taps * panels * kNR, kColumns))),
        panelBlocks(ceilDiv(panels, panelsPerBlock)),
        pieces(s, std::max<int64_t>(1, (kRows - taps) / step + 1)) {
    panelFloats = rows(pieces.outputs) * kNR + 16;  // not a multiple of 4 KB: a token's panels are written together
    group = std::clamp<int64_t>(kPackedFloats / packedFloats(), 1, pieces.count);
    parts = std::min({ceilDiv(kTasks, blocks()), group, std::max<int64_t>(1, kSumsFloats / (s.cout * ld))});
  }
  int64_t rows(int64_t outputs) const { return (outputs - 1) * step + taps; }
  int64_t blocks() const { return channelBlocks * panelBlocks; }
  int64_t packedFloats() const { return panels * panelFloats; }
};

/// packed[panel][row][0..kNR): the tokens (or windows) of a piece, zeros outside of the sequence. Channels beyond the last
/// one are never used and hold anything.
void packPiece(const ConvShape& s, const WindowPlan& plan, const Piece& piece, float* packed) {
  const int64_t end = s.inW * s.cin, advance = (plan.whole ? s.strideW : 1) * s.cin, rows = plan.rows(piece.count);
  int64_t token = (piece.first * s.strideW - s.padLeft) * s.cin;
  for (int64_t r = 0; r < rows; ++r, token += advance) {
    float* to = packed + r * kNR;
    for (int64_t j = 0; j < plan.width; j += kNR, to += plan.panelFloats) {
      const int64_t at = token + j;
      if (at >= 0 && at + kNR <= end) {
        for (int v = 0; v < kNV; ++v) vstore(to + v * kLanes, vload(piece.x + at + v * kLanes));
      } else {
        for (int64_t i = 0; i < kNR; ++i) to[i] = at + i >= 0 && at + i < end ? piece.x[at + i] : 0.0f;
      }
    }
  }
}

/// Adds one block's product over a piece to the sums (which it sets to 0 before, if `fresh`), and column sums of dy to db.
void addBlock(const ConvShape& s, const WindowPlan& plan, const Piece& piece, const float* packed, int64_t block,
              bool fresh, float* sums, float* db, float* turned) {
  const int64_t o0 = block / plan.panelBlocks * plan.channels, n = std::min(plan.channels, s.cout - o0);
  const int64_t p0 = block % plan.panelBlocks * plan.panelsPerBlock;
  const int64_t p1 = std::min(plan.panels, p0 + plan.panelsPerBlock), pitch = plan.panels * kNR;
  for (int64_t o = o0; fresh && o < o0 + n; ++o) {
    if (db && p0 == 0) db[o] = 0.0f;
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      std::memset(sums + o * plan.ld + tap * pitch + p0 * kNR, 0, static_cast<size_t>((p1 - p0) * kNR) * sizeof(float));
    }
  }
  transposeBlock(piece.dy + o0, s.cout, piece.count, n, turned, kRows);
  for (int64_t o = 0; db && p0 == 0 && o < n; ++o) db[o0 + o] += sumOf(turned + o * kRows, piece.count);
  const RowTiles tiles(n);
  for (int64_t p = p0; p < p1; ++p) {
    const int64_t cols = std::min<int64_t>(kNR, plan.width - p * kNR);
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      const float* window = packed + p * plan.panelFloats + tap * kNR;
      for (int64_t t = 0; t < tiles.count; ++t) {
        const int64_t o = tiles.begin(t);
        pixelTileFor(tiles.begin(t + 1) - o, cols)(turned + o * kRows, kRows, window, 1, piece.count, 0,
                                                   plan.step * kNR,
                                                   sums + (o0 + o) * plan.ld + tap * pitch + p * kNR, plan.ld, cols);
      }
    }
  }
}

/// dw[o, channel, tap] += sum over parts of sums[o * stepO + tap * stepTap + channel * stepChannel], and db[o] the same
/// of sums[bias + o]. The parts' sums end up in the first.
void combine(const ConvShape& s, float* sums, int64_t size, int64_t parts, int64_t stepO, int64_t stepTap,
             int64_t stepChannel, int64_t bias, float* dw, float* db) {
  if (parts > 1) {
    parallelFor(size, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t part = 1; part < parts; ++part) {
        const float* more = sums + part * size + begin;
        float* first = sums + begin;
        forVectors(end - begin, [&](auto load, auto store) D2V_LAMBDA { store(first, load(first) + load(more)); });
      }
    });
  }
  const int64_t row = s.kW * s.cin;
  parallelFor(s.cout, 1 + 16384 / row, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      float* target = dw + o * row;
      for (int64_t tap = 0; tap < s.kW; ++tap) {
        const float* src = sums + o * stepO + tap * stepTap;
        for (int64_t i = 0; i < s.cin; ++i) target[i * s.kW + tap] += src[i * stepChannel];
      }
      if (db) db[o] += sums[bias + o];
    }
  });
}

void gradLongWindows(Allocator& memory, const ConvShape& s, const float* dy, const float* x, float* dw, float* db) {
  const WindowPlan plan(s);
  const int64_t bias = s.cout * plan.ld, size = bias + s.cout, slice = plan.channels * kRows + 16;
  Workspace sums(memory, static_cast<size_t>(plan.parts * size) * sizeof(float));
  Workspace packed(memory, static_cast<size_t>(plan.group * plan.packedFloats()) * sizeof(float));
  Workspace scratch(memory, static_cast<size_t>(slice * threadCount()) * sizeof(float));
  for (int64_t g0 = 0; g0 < plan.pieces.count; g0 += plan.group) {
    const int64_t count = std::min(plan.group, plan.pieces.count - g0);
    parallelItems(count, [&](int64_t i) {
      packPiece(s, plan, Piece(s, plan.pieces, x, dy, g0 + i), packed.floats() + i * plan.packedFloats());
    });
    parallelItems(plan.parts * plan.blocks(), [&](int64_t item) {
      const int64_t part = item / plan.blocks(), block = item % plan.blocks();
      float* mine = sums.floats() + part * size;
      const int64_t first = (part + plan.parts - g0 % plan.parts) % plan.parts;  // g0 + first is a piece of this part
      for (int64_t i = first; i < count; i += plan.parts) {
        addBlock(s, plan, Piece(s, plan.pieces, x, dy, g0 + i), packed.floats() + i * plan.packedFloats(), block,
                 g0 + i == part, mine, db ? mine + bias : nullptr, scratch.floats() + threadIndex() * slice);
      }
    });
  }
  const int64_t tap = plan.whole ? s.cin : plan.panels * kNR;
  combine(s, sums.floats(), size, plan.parts, plan.ld, tap, 1, bias, dw, db);
}

/// Short windows: sums [row, cout], written whole.
void sumShortWindows(const ConvShape& s, const Pieces& pieces, const float* dy, const float* x, int64_t begin,
                     int64_t end, float* sums, float* db, float* turned) {
  const int64_t row = s.kW * s.cin;
  std::memset(sums, 0, static_cast<size_t>(row * s.cout) * sizeof(float));
  if (db) std::memset(db, 0, static_cast<size_t>(s.cout) * sizeof(float));
  const RowTiles tiles(row);
  const int64_t length = s.inW * s.cin;
  for (int64_t index = begin; index < end; ++index) {
    const Piece piece(s, pieces, x, dy, index);
    for (int64_t k = 0; k < piece.count; ++k) {
      const int64_t at = ((piece.first + k) * s.strideW - s.padLeft) * s.cin;
      for (int64_t i = 0; i < row; ++i) {
        turned[i * kRows + k] = at + i >= 0 && at + i < length ? piece.x[at + i] : 0.0f;
      }
    }
    for (int64_t o = 0; o < s.cout; o += kNR) {
      const int64_t cols = std::min<int64_t>(kNR, s.cout - o);
      for (int64_t t = 0; t < tiles.count; ++t) {
        const int64_t i = tiles.begin(t);
        pixelTileFor(tiles.begin(t + 1) - i, cols)(turned + i * kRows, kRows, piece.dy + o, 1, piece.count, 0,
                                                   s.cout, sums + i * s.cout + o, s.cout, cols);
      }
    }
    for (int64_t k = 0; db && k < piece.count; ++k) {
      forVectors(s.cout, [&](auto load, auto store) D2V_LAMBDA { store(db, load(db) + load(piece.dy + k * s.cout)); });
    }
  }
}

void gradShortWindows(Allocator& memory, const ConvShape& s, const float* dy, const float* x, float* dw, float* db) {
  const Pieces pieces(s, kRows);
  const int64_t bias = s.kW * s.cin * s.cout, size = bias + s.cout, slice = roundUp(s.kW * s.cin * kRows, 16) + 16;
  const int64_t parts = std::min(pieces.count, kTasks);
  Workspace sums(memory, static_cast<size_t>(parts * size) * sizeof(float));
  Workspace scratch(memory, static_cast<size_t>(slice * threadCount()) * sizeof(float));
  parallelItems(parts, [&](int64_t part) {
    float* mine = sums.floats() + part * size;
    sumShortWindows(s, pieces, dy, x, pieces.count * part / parts, pieces.count * (part + 1) / parts, mine,
                    db ? mine + bias : nullptr, scratch.floats() + threadIndex() * slice);
  });
  combine(s, sums.floats(), size, parts, 1, s.cin * s.cout, s.cout, bias, dw, db);
}

}  // namespace

bool gradWeightWindows(Allocator& memory, const ConvShape& s, const float* dy, const float* x, float* dw, float* db) {
  if (s.groups != 1 || s.inH != 1 || s.kH != 1 || s.outH != 1 || s.padTop != 0) return false;
  const bool shortWindow = s.kW * s.cin <= 2 * kMR && s.cout % kLanes == 0 && s.cout >= kNR;
  (shortWindow ? gradShortWindows : gradLongWindows)(memory, s, dy, x, dw, db);
  return true;
}

}  // namespace D2V_ISA
}  // namespace d2v
