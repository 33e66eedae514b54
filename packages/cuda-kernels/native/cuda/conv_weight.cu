// Convolution, gradient to weights and bias: implicit GEMM on the tensor cores with the pixels as its long dimension.
//
//   dw[o, channel, tap] += sum over pixels p of dy[p, o] * x[p * stride + tap - pad, channel]
//
// A block holds a piece of dw in registers - up to 64 output channels of a group x up to 8 warps * 64 columns, where a
// column is a (tap, channel) - and walks over tiles of 128 pixels: the slab of x (conv_tiles.h) and the tile of dy, double
// buffered. Both are read from shared memory as they lie, pixels by channels; the transposing ldmatrix makes fragments
// of them in which the pixels are k. Columns come in units of 8 channels of one tap; a lane keeps the offsets of the units
// whose rows it names, and looks up where each pixel begins in a table that is made anew per tile.
//
// 48 -> 48 channels, 3 x 3: 54 units on 7 warps, 24 products for 3 + 4 loads of fragments; 37 KB per buffer and 5.6 MFLOP
// per tile, 150 FLOP per byte that comes from L2. Few groups make few pieces of dw, so the tiles are dealt out to several
// blocks per piece (about two waves of blocks in all), which leave partial sums in scratch memory; a second launch adds
// them in order. Results do not depend on anything but the shape and the number of multiprocessors.
//
// db is summed on the way by the blocks of the first columns: a lane sums two output channels of every warp-th pixel.
#include "conv.h"
#include "cuda_backend.h"
#include "launch.h"

namespace d2v::cuda {
namespace {

constexpr int kRows = 128;       // pixels of a tile
constexpr int kUnits = 8;        // of a warp
constexpr int kUnitChannels = 8;
constexpr int kMostWarps = 8;
constexpr int kMostVectors = 8;  // of a chunk of input channels

/// How the pieces of dw are dealt out.
struct Pieces {
  int outputTiles;      // per group
  int units;            // per tap, in a chunk of channels
  int unitTiles, perTile;  // tiles of the taps' units, and units in each
  int gradientPitch, gradientLanesLog2, gradientPiece;  // of a pixel of dy in shared memory; as in Tiling
  int splits, tilesPerSplit;

  D2V_BOTH int pieces(const Correlation& c, const Tiling& t) const {
    return c.groups * outputTiles * t.chunks * unitTiles;
  }
};

/// The block copies dy of a tile's pixels: output channels of group `g` from `channel` on; zeros behind the last pixel.
template <typename T>
D2V_DEVICE void copyGradient(char* to, const T* dy, const Correlation& c, const Pieces& p, const TileOrigin& o, int g,
                             int channel, int vectors) {
  const int v = threadX() & ((1 << p.gradientLanesLog2) - 1), first = threadX() >> p.gradientLanesLog2;
  const int each = threadCount() >> p.gradientLanesLog2;
  if (v >= vectors) return;
  const int pixels = o.lines * o.columns, left = c.outputs - channel - v * kWide<T>;
  const T* from = dy + g * c.outputs + channel + v * kWide<T>;
  const int end = (pixels + 15) / 16 * 16;
  // Lines of a tile are either whole, and follow each other in memory, or parts of a line.
  if (o.columns == c.targetW && p.gradientPiece == 16) {
    from += (static_cast<int64_t>(o.line) * c.targetW + first) * c.targetPixel;
    to += first * p.gradientPitch + v * 16;
    for (int row = first; row < end; row += each) {
      copyAsync<16>(to, from, row < pixels && left > 0);
      from += each * c.targetPixel;
      to += each * p.gradientPitch;
    }
    return;
  }
  for (int row = first; row < end; row += each) {
    const int64_t pixel = o.columns == c.targetW
                              ? static_cast<int64_t>(o.line) * c.targetW + row
                              : static_cast<int64_t>(o.line + row / o.columns) * c.targetW + o.column + row % o.columns;
    copyVector(to + row * p.gradientPitch + v * 16, from + pixel * c.targetPixel, row < pixels ? left : 0,
               p.gradientPiece);
  }
}

/// a[m] = dy of 16 (f32: 8) pixels from `rows` on, transposed; b[n] = x there, for the warp's units.
template <int M>
D2V_DEVICE void loadFragments(uint32_t (&a)[M][4], uint32_t (&b)[kUnits][2], Bf16, const char* gradient, int pitch,
                              const char* slab, const int* pixels, const int* offsets) {
  const char* rowA = gradient + (lane() / 16 * 8 + lane() % 8) * pitch + lane() / 8 % 2 * 16;
#pragma unroll
  for (int m = 0; m < M; ++m) loadMatricesTransposed(a[m], rowA + m * 32);
  const char* rowB = slab + pixels[lane() % 16];
#pragma unroll
  for (int n = 0; n < kUnits; n += 2) {
    uint32_t r[4];
    loadMatricesTransposed(r, rowB + offsets[n / 2]);
    b[n][0] = r[0];
    b[n][1] = r[1];
    b[n + 1][0] = r[2];
    b[n + 1][1] = r[3];
  }
}
template <int M>
D2V_DEVICE void loadFragments(uint32_t (&a)[M][4], uint32_t (&b)[kUnits][2], float, const char* gradient, int pitch,
                              const char* slab, const int* pixels, const int* offsets) {
  // ldmatrix transposes 16-bit elements only.
  const int group = lane() / 4, member = lane() % 4;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const auto* rowA = reinterpret_cast<const uint32_t*>(gradient + (member + 4 * k) * pitch) + group;
#pragma unroll
    for (int m = 0; m < M; ++m) {
      a[m][2 * k] = rowA[m * 16];
      a[m][2 * k + 1] = rowA[m * 16 + 8];
    }
    const char* rowB = slab + pixels[member + 4 * k];
#pragma unroll
    for (int n = 0; n < kUnits; ++n) b[n][k] = reinterpret_cast<const uint32_t*>(rowB + offsets[n])[group];
  }
}

template <typename T, int M>
D2V_KERNEL(kMostWarps* kWarp)
gradWeight(Correlation c, Tiling t, Pieces p, const T* dy, const T* x, float* partial, float* partialBias) {
  constexpr int vectors = M * 16 / kWide<T>;           // of dy per pixel
  constexpr int step = 2 * kWide<T>;                   // pixels per product
  constexpr int kept = sizeof(T) == 2 ? kUnits / 2 : kUnits;  // offsets per lane: of its own units
  const int piece = blockX() % p.pieces(c, t), splitIndex = blockX() / p.pieces(c, t);
  const int unitTile = piece % p.unitTiles, chunk = piece / p.unitTiles % t.chunks;
  const int outputTile = piece / p.unitTiles / t.chunks % p.outputTiles;
  const int g = piece / p.unitTiles / t.chunks / p.outputTiles;

  // Two buffers of: where each pixel's windows begin in the slab, dy, slab.
  const int bufferBytes = kRows * 4 + kRows * p.gradientPitch + t.slabBytes();
  const int first = splitIndex * p.tilesPerSplit;
  const int tiles = static_cast<int>(t.tiles()), last = first + p.tilesPerSplit < tiles ? first + p.tilesPerSplit : tiles;

  int offsets[kept];
#pragma unroll
  for (int i = 0; i < kept; ++i) {
    const int inWarp = sizeof(T) == 2 ? 2 * i + lane() / 16 : i;
    const int inTile = warp() * kUnits + inWarp, unit = unitTile * p.perTile + inTile, tap = unit / p.units;
    const bool exists = inTile < p.perTile && tap < c.taps();
    offsets[i] = exists ? slabOffset(c, t, tap, unit % p.units * (kUnitChannels / kWide<T>)) : 0;
  }

  const auto copyTile = [&](int tile) {
    char* buffer = shared<char>((tile - first) % 2 * bufferBytes);
    const TileOrigin o = originOf(c, t, tile);
    const int pixels = o.lines * o.columns;
    int* begins = reinterpret_cast<int*>(buffer);
    for (int row = threadX(); row < kRows; row += threadCount()) {
      begins[row] = row < pixels ? slabPixel(c, t, o, row) : 0;  // dy is 0 there
    }
    copyGradient(buffer + kRows * 4, dy, c, p, o, g, outputTile * M * 16, vectors);
    copySlab(buffer + kRows * 4 + kRows * p.gradientPitch, x, c, t, o, g, chunk * t.vectors * kWide<T>);
    commitCopies();
  };

  const bool sumsBias = partialBias != nullptr && unitTile == 0 && chunk == 0;
  float bias[2] = {};
  float sum[M][kUnits][4] = {};
  if (first < last) copyTile(first);
  for (int tile = first; tile < last; ++tile) {
    waitCopies<0>();
    syncThreads();  // all see the tile, and have done with the buffer of the next one
    if (tile + 1 < last) copyTile(tile + 1);
    const char* buffer = shared<char>((tile - first) % 2 * bufferBytes);
    const int* begins = reinterpret_cast<const int*>(buffer);
    const char* gradient = buffer + kRows * 4;
    const char* slab = gradient + kRows * p.gradientPitch;
    const TileOrigin o = originOf(c, t, tile);
    const int pixels = o.lines * o.columns;
    for (int row = 0; row < pixels; row += step) {
      uint32_t a[M][4], b[kUnits][2];
      loadFragments<M>(a, b, T(), gradient + row * p.gradientPitch, p.gradientPitch, slab, begins + row, offsets);
      multiplyAll<T, M, kUnits>(sum, a, b);
    }
    if (sumsBias && lane() < M * 8) {
      for (int row = warp(); row < pixels; row += threadCount() / kWarp) {
        float pair[2];
        load<2>(pair, reinterpret_cast<const T*>(gradient + row * p.gradientPitch) + lane() * 2);
        bias[0] += pair[0];
        bias[1] += pair[1];
      }
    }
  }

  // partial[split][piece][output channel][column]
  const int columns = p.perTile * kUnitChannels;
  float* to = partial + static_cast<int64_t>(blockX()) * (M * 16) * columns;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int n = 0; n < kUnits; ++n) {
      const int unit = warp() * kUnits + n;
      if (unit >= p.perTile) continue;
      float* at = to + (m * 16 + lane() / 4) * columns + unit * kUnitChannels + lane() % 4 * 2;
      store<2>(at, {sum[m][n][0], sum[m][n][1]});
      store<2>(at + 8 * columns, {sum[m][n][2], sum[m][n][3]});
    }
  }
  if (!sumsBias) return;  // the same for all threads of a block
  float* scratch = shared<float>();
  syncThreads();
  if (lane() < M * 8) {
    scratch[warp() * M * 16 + lane() * 2] = bias[0];
    scratch[warp() * M * 16 + lane() * 2 + 1] = bias[1];
  }
  syncThreads();
  for (int i = threadX(); i < M * 16; i += threadCount()) {
    float total = 0;
    for (int w = 0; w < threadCount() / kWarp; ++w) total += scratch[w * M * 16 + i];
    partialBias[((static_cast<int64_t>(splitIndex) * c.groups + g) * p.outputTiles + outputTile) * M * 16 + i] = total;
  }
}

/// dw += the partial sums, db += those behind them; a thread per value.
D2V_KERNEL(256)
addPartials(Correlation c, Tiling t, Pieces p, int tileOutputs, int vectorChannels, const float* partial,
            const float* partialBias, float* dw, float* db, int64_t values, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockX()) * threadCount() + threadX();
  if (i >= count) return;
  const int columns = p.perTile * kUnitChannels;
  if (i >= values) {
    const int64_t o = i - values, g = o / c.outputs, inGroup = o % c.outputs;
    const int64_t split = static_cast<int64_t>(c.groups) * p.outputTiles * tileOutputs;
    const float* from = partialBias + (g * p.outputTiles + inGroup / tileOutputs) * tileOutputs + inGroup % tileOutputs;
    float sum = 0;
    for (int k = 0; k < p.splits; ++k) sum += from[k * split];
    db[o] += sum;
    return;
  }
  const int tap = static_cast<int>(i % c.taps());
  const int64_t rest = i / c.taps();
  const int channel = static_cast<int>(rest % c.channels);
  const int64_t o = rest / c.channels;
  const int g = static_cast<int>(o / c.outputs), inGroup = static_cast<int>(o % c.outputs);
  const int perChunk = t.vectors * vectorChannels, chunk = channel / perChunk, inChunk = channel % perChunk;
  const int unit = tap * p.units + inChunk / kUnitChannels;
  const int piece = ((g * p.outputTiles + inGroup / tileOutputs) * t.chunks + chunk) * p.unitTiles + unit / p.perTile;
  const int64_t size = static_cast<int64_t>(tileOutputs) * columns, split = size * p.pieces(c, t);
  const float* from = partial + piece * size + static_cast<int64_t>(inGroup % tileOutputs) * columns +
                      unit % p.perTile * kUnitChannels + inChunk % kUnitChannels;
  float sum = 0;
  for (int k = 0; k < p.splits; ++k) sum += from[k * split];
  dw[i] += sum;
}

/// With tiles of M * 16 output channels. False if no tile of pixels that is worth it fits shared memory.
template <typename T, int M>
bool gradWeightTiled(const ConvContext& context, const Correlation& c, In dy, In x, float* dw, float* db) {
  constexpr int bytes = static_cast<int>(sizeof(T)), wide = kWide<T>, tileOutputs = M * 16;
  constexpr int gradientVectors = tileOutputs / wide;
  Pieces p{};
  p.gradientPitch = (gradientVectors | 1) * 16;
  p.gradientLanesLog2 = log2Up(gradientVectors);
  p.gradientPiece = pieceOf(dy.data, c.outputs, bytes);

  Tiling t{};
  int64_t sharedBytes = 0;
  int warps = 0;
  const int64_t most = context.device.sharedPerBlock;
  for (int rows = kRows; warps == 0 && rows >= 16; rows /= 2) {
    // Channels per chunk: so that the units of all chunks need the fewest warps. More than four warps count as whole fours,
    // since a multiprocessor has four schedulers and holds one such block: 7 * 8 channels of 9 taps fill 8 warps, where
    // 8 * 8 would need two blocks of 5.
    int64_t least = INT64_MAX;
    for (int vectors = kMostVectors; vectors >= kUnitChannels / wide; --vectors) {
      const Tiling tiling = cut(c, rows, bytes, vectors, kUnitChannels / wide);
      if (static_cast<double>(tiling.slabLines) * tiling.slabColumns * tiling.pitch > static_cast<double>(most)) continue;
      const int64_t shared = 2 * (kRows * 4 + static_cast<int64_t>(kRows) * p.gradientPitch + tiling.slabBytes());
      const int unitsPerTap = tiling.vectors * wide / kUnitChannels, units = c.taps() * unitsPerTap;
      const int unitTiles = (units + kMostWarps * kUnits - 1) / (kMostWarps * kUnits);
      const int perTile = (units + unitTiles - 1) / unitTiles, needed = (perTile + kUnits - 1) / kUnits;
      const int64_t cost = static_cast<int64_t>(tiling.chunks) * unitTiles * (needed > 4 ? (needed + 3) / 4 * 4 : needed);
      if (shared > most || cost >= least) continue;
      least = cost;
      t = tiling;
      sharedBytes = shared;
      warps = needed;
      p.units = unitsPerTap;
      p.unitTiles = unitTiles;
      p.perTile = perTile;
    }
  }
  if (warps == 0 || t.tiles() > INT32_MAX / 2) return false;
  t.piece = pieceOf(x.data, c.channels, bytes);
  p.outputTiles = (c.outputs + tileOutputs - 1) / tileOutputs;
  const int64_t pieces = static_cast<int64_t>(c.groups) * p.outputTiles * t.chunks * p.unitTiles;
  const int64_t tiles = t.tiles();
  // About two waves of blocks, of at least four tiles each.
  const int64_t wanted = std::max<int64_t>(1, 4 * context.device.multiprocessors / pieces);
  const int64_t each = std::max<int64_t>(std::min<int64_t>(4, tiles), (tiles + wanted - 1) / wanted);
  p.tilesPerSplit = static_cast<int>(each);
  p.splits = static_cast<int>((tiles + each - 1) / each);
  if (pieces * p.splits > INT32_MAX) return false;

  const int64_t size = static_cast<int64_t>(tileOutputs) * p.perTile * kUnitChannels;
  const int64_t sums = size * pieces * p.splits;
  const int64_t biases = static_cast<int64_t>(p.splits) * c.groups * p.outputTiles * tileOutputs;
  Workspace partial(context.memory, static_cast<size_t>(sums + biases) * sizeof(float));
  launch(gradWeight<T, M>, Grid{pieces * p.splits}, warps * kWarp, static_cast<size_t>(sharedBytes), context.stream, c,
         t, p, static_cast<const T*>(dy.data), static_cast<const T*>(x.data), partial.floats(),
         db == nullptr ? nullptr : partial.floats() + sums);
  const int64_t values = static_cast<int64_t>(c.groups) * c.outputs * c.channels * c.taps();
  const int64_t count = values + (db == nullptr ? 0 : static_cast<int64_t>(c.groups) * c.outputs);
  launch(addPartials, Grid{blocksFor(count, 256)}, 256, 0, context.stream, c, t, p, tileOutputs, wide,
         partial.floats(), partial.floats() + sums, dw, db, values, count);
  return true;
}

template <typename T>
bool gradWeightTiled(const ConvContext& context, const Correlation& c, In dy, In x, float* dw, float* db) {
  // The widest tile of output channels among those that leave the least of themselves empty.
  int best = 1;
  for (const int m : {2, 3, 4}) {
    const auto covered = [&](int each) { return (c.outputs + each * 16 - 1) / (each * 16) * each; };
    if (covered(m) <= covered(best)) best = m;
  }
  switch (best) {
    case 1:
      return gradWeightTiled<T, 1>(context, c, dy, x, dw, db);
    case 2:
      return gradWeightTiled<T, 2>(context, c, dy, x, dw, db);
    case 3:
      return gradWeightTiled<T, 3>(context, c, dy, x, dw, db);
    default:
      return gradWeightTiled<T, 4>(context, c, dy, x, dw, db);
  }
}

}  // namespace

void CudaBackend::convGradWeight(const ConvShape& s, In dy, In x, float* dw, float* db) {
  const ConvContext context = convContext();
  if (gradWeightNarrow(context, s, dy, x, dw, db)) return;
  bool done = false;
  if (countsFit(s)) {
    Correlation c = correlationOf(s);
    layOnSide(c, nullptr);
    if (gradWeightByProducts(context, c, dy, x, dw, db)) return;
    forFloatType(dy.dtype, [&](auto type) { done = gradWeightTiled<decltype(type)>(context, c, dy, x, dw, db); });
  }
  if (!done) gradWeightDirect(context, s, dy, x, dw, db);
}

}  // namespace d2v::cuda
