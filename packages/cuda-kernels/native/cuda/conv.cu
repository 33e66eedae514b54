// Convolution, forward and gradient to the input: implicit GEMM on the tensor cores, on slabs of the source in shared
// memory (conv_tiles.h).
//
// A block computes a tile of 256 target pixels (f32: 128) x all output channels of a group, or 128 of a wide one. A warp
// owns 64 pixels (f32: 32) x up to 64 channels in registers: per step of 16 along k it loads 4 fragments of pixels and
// NI / 2 of weights for 4 NI products, 27 FLOP per byte of shared memory at 48 channels, where 64 x 48 x 16 products need
// as long for the tensor cores as for shared memory.
//
// k runs over chunks of the group's channels, taps, and vectors of 8 channels (f32: 4). The slab holds a chunk; a table of
// offsets says which tap and vector is number j, so that groups of 24 channels leave no gaps in k. Weights are packed once per
// call, in the order in which blocks read them, [group, channel tile][chunk][step][channel][64 (32)], and come in a ring of
// three stages; the next chunk's slab is copied while this one is computed. Chunks only appear beyond 64 channels per
// group (128 bytes per pixel).
//
// Bytes from L2 per tile of 256 pixels, 48 -> 48 channels, 3 x 3: 33 KB slab (1.3 of the pixels' own, for the windows'
// rims) + 41 KB weights for 10.6 MFLOP, 140 FLOP per byte. Blocks of neighbouring groups run together, as groups share
// the pixels' cache lines, and device memory sees source and target once.
//
// Gradient to the input: the taps of the forward pass reach an input pixel only from every strideth output. So the input
// pixels fall into strideH * strideW phases, each of which is a correlation of stride 1 of dy with its own part of the
// flipped kernel.
#include "conv.h"
#include "cuda_backend.h"
#include "gemm_library.h"
#include "launch.h"

namespace d2v::cuda {
namespace {

constexpr int kStages = 3;
constexpr int kStepVectors = 8;                           // vectors of k per stage
constexpr int kStagePitch = (kStepVectors + 1) * 16;      // an odd number of pieces: no bank conflicts
constexpr int kMostVectors = 8;                           // of a chunk

/// What a launch of `correlate` knows besides the geometry.
struct Steps {
  int perChunk;      // stages of weights
  int channelTiles;  // per group
  bool pairs;        // neighbouring channels may be stored as one word
  bool whole;        // the target's pixels follow each other in memory, through all lines and images, and tiles are whole lines
  Divisor byParts, byChannelTiles, byVectors;
};

/// packed[group][channel tile][chunk][step][channel][vector][...] from the weights where they lie; zeros beside them.
template <typename T>
D2V_KERNEL(256)
packTaps(Correlation c, TapWeights weights, int chunks, int vectors, int perChunk, int channelTiles, int tileChannels,
         const T* w, T* packed, int64_t count) {
  constexpr int wide = kWide<T>, step = kStepVectors * wide;
  for (int64_t i = static_cast<int64_t>(blockX()) * threadCount() + threadX(); i < count;
       i += static_cast<int64_t>(gridX()) * threadCount()) {
    const int k = static_cast<int>(i % step);
    int64_t rest = i / step;
    const int n = static_cast<int>(rest % tileChannels);
    rest /= tileChannels;
    const int j = static_cast<int>(rest % perChunk) * kStepVectors + k / wide;
    rest /= perChunk;
    const int chunk = static_cast<int>(rest % chunks);
    rest /= chunks;
    const int output = static_cast<int>(rest % channelTiles) * tileChannels + n, g = static_cast<int>(rest / channelTiles);
    const int tap = j / vectors, channel = (chunk * vectors + j % vectors) * wide + k % wide;
    const bool inside = tap < c.taps() && channel < c.channels && output < c.outputs;
    packed[i] = inside ? w[weights.at(g, output, channel, tap / c.kW, tap % c.kW)] : T();
  }
}

template <typename T, int MI, int NI, int WarpsM, int WarpsN>
D2V_KERNEL(WarpsM* WarpsN* kWarp)
correlate(Correlation c, Tiling t, Steps steps, const T* source, const T* packed, const T* bias, T* target) {
  constexpr int rows = MI * 16 * WarpsM, columns = NI * 8 * WarpsN, stageBytes = columns * kStagePitch;
  constexpr int wide = kWide<T>;
  static_assert(rows % 16 == 0 && columns % 8 == 0, "whole fragments");
  int part, channelTile;
  const TileOrigin o = originOf(c, t, steps.byParts.quotient(blockX(), part));
  const int g = steps.byChannelTiles.quotient(part, channelTile);
  const int pixels = o.lines * o.columns;

  char* ring = shared<char>();
  int* offsets = shared<int>(kStages * stageBytes);
  char* slab = shared<char>(kStages * stageBytes + steps.perChunk * kStepVectors * 4);

  // The pixels whose rows this lane names to ldmatrix, and the channels.
  const int warpM = warp() / WarpsN, warpN = warp() % WarpsN;
  int pixel[MI];
#pragma unroll
  for (int m = 0; m < MI; ++m) {
    const int row = (warpM * MI + m) * 16 + lane() % 16;
    pixel[m] = row < pixels ? slabPixel(c, t, o, row) : 0;  // rows behind the last compute what nobody stores
  }
  const int channelRow = (warpN * NI * 8 + lane() / 16 * 8 + lane() % 8) * kStagePitch + lane() / 8 % 2 * 16;

  const int total = t.chunks * steps.perChunk;
  // A thread copies the same places of every stage of weights.
  constexpr int threads = WarpsM * WarpsN * kWarp, vectors = columns * kStepVectors;
  const char* weights = reinterpret_cast<const char*>(packed) + static_cast<int64_t>(part) * total * vectors * 16 +
                        threadX() * 16;
  char* ringPlace = ring + threadX() / kStepVectors * kStagePitch + threadX() % kStepVectors * 16;
  int toCopy = 0, stageTo = 0;
  const auto copyStage = [&] {
    if (toCopy++ < total) {
#pragma unroll
      for (int i = 0; i < (vectors + threads - 1) / threads; ++i) {
        if (vectors % threads == 0 || threadX() + i * threads < vectors) {
          copyAsync<16>(ringPlace + stageTo * stageBytes + i * (threads / kStepVectors * kStagePitch),
                        weights + i * threads * 16);
        }
      }
      weights += vectors * 16;
      stageTo = stageTo + 1 == kStages ? 0 : stageTo + 1;
    }
  };
  for (int j = threadX(); j < steps.perChunk * kStepVectors; j += threads) {
    int v;
    const int tap = steps.byVectors.quotient(j, v);
    offsets[j] = tap < c.taps() ? slabOffset(c, t, tap, v) : 0;  // behind the last tap weights are zeros
  }
  copySlab(slab, source, c, t, o, g, 0);
  for (int s = 0; s < kStages - 1; ++s) {
    copyStage();
    commitCopies();
  }

  const int firstChannel = channelTile * columns + warpN * NI * 8 + lane() % 4 * 2;
  float sum[MI][NI][4];
#pragma unroll
  for (int n = 0; n < NI; ++n) {
    const int channel = firstChannel + n * 8;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool has = bias != nullptr && channel + i % 2 < c.outputs;
      sum[0][n][i] = has ? toFloat(bias[g * c.outputs + channel + i % 2]) : 0.0f;
    }
#pragma unroll
    for (int m = 1; m < MI; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[m][n][i] = sum[0][n][i];
    }
  }
  int stageFrom = 0;
  for (int chunk = 0; chunk < t.chunks; ++chunk) {
    const char* here = slab + (chunk % 2) * t.slabBytes();
    for (int step = 0; step < steps.perChunk; ++step) {
      // This step's weights came with the group before the last. A slab came at the begin of the last chunk, which was as
      // many groups ago as a chunk has steps.
      if (step == 0 && steps.perChunk < kStages - 1) {
        waitCopies<0>();
      } else {
        waitCopies<kStages - 2>();
      }
      syncThreads();  // all see the copies, and have done with the stage and slab that are overwritten next
      copyStage();
      if (step == 0 && chunk + 1 < t.chunks) {
        copySlab(slab + ((chunk + 1) % 2) * t.slabBytes(), source, c, t, o, g, (chunk + 1) * t.vectors * wide);
      }
      commitCopies();
      const char* stage = ring + stageFrom * stageBytes + channelRow;
      stageFrom = stageFrom + 1 == kStages ? 0 : stageFrom + 1;
      if (warpM * MI * 16 >= pixels) continue;  // a small tile

      const int* table = offsets + step * kStepVectors + lane() / 16;
#pragma unroll
      for (int k = 0; k < kStepVectors / 2; ++k) {
        uint32_t a[MI][4], b[NI][2];
        const char* tap = here + table[2 * k];
#pragma unroll
        for (int m = 0; m < MI; ++m) loadMatrices(a[m], tap + pixel[m]);
#pragma unroll
        for (int n = 0; n < NI; n += 2) {
          uint32_t r[4];
          // The last of an odd number of tiles is loaded twice.
          const int back = n + 1 == NI ? lane() / 16 * 8 * kStagePitch : 0;
          loadMatrices(r, stage + n * 8 * kStagePitch + k * 32 - back);
          b[n][0] = r[0];
          b[n][1] = r[1];
          if (n + 1 < NI) {
            b[n + 1][0] = r[2];
            b[n + 1][1] = r[3];
          }
        }
        multiplyAll<T, MI, NI>(sum, a, b);
      }
    }
  }

#pragma unroll
  for (int m = 0; m < MI; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (warpM * MI + m) * 16 + half * 8 + lane() / 4;
      if (row >= pixels) continue;
      T* to = target + g * c.outputs;
      if (steps.whole) {
        to += (static_cast<int64_t>(o.line) * c.targetW + row) * c.targetPixel;
      } else {
        int x, inImage;
        const int image = t.byTargetH.quotient(o.line + lineOf(t, o, row, x), inImage);
        to += image * c.targetImage + inImage * c.targetRow + (o.column + x) * c.targetPixel;
      }
#pragma unroll
      for (int n = 0; n < NI; ++n) {
        const int channel = firstChannel + n * 8;
        const float value[2] = {sum[m][n][2 * half], sum[m][n][2 * half + 1]};
        if (steps.pairs) {
          if (channel < c.outputs) store<2>(to + channel, value);
        } else {
          if (channel < c.outputs) to[channel] = fromFloat<T>(value[0]);
          if (channel + 1 < c.outputs) to[channel + 1] = fromFloat<T>(value[1]);
        }
      }
    }
  }
}

/// One of the kernels above.
template <typename T, int MI, int NI, int WarpsM, int WarpsN>
struct Variant {
  static constexpr int rows = MI * 16 * WarpsM, columns = NI * 8 * WarpsN, threads = WarpsM * WarpsN * kWarp;

  /// Bytes of shared memory.
  static size_t sharedBytes(const Tiling& t, int perChunk) {
    return static_cast<size_t>(kStages) * columns * kStagePitch + static_cast<size_t>(perChunk) * kStepVectors * 4 +
           static_cast<size_t>(t.chunks > 1 ? 2 : 1) * static_cast<size_t>(t.slabBytes());
  }

  /// False if no tile that is worth it fits shared memory.
  static bool run(const ConvContext& context, const Correlation& c, const TapWeights& weights, In source, In w, In bias,
                  Out target) {
    constexpr int bytes = static_cast<int>(sizeof(T));
    // Two blocks per multiprocessor, of four warps each, hide each other's latency; then one block; then smaller tiles.
    const auto most = static_cast<size_t>(context.device.sharedPerBlock);
    const size_t limits[] = {threads > 128 ? most : most / 2, most};
    Tiling t{};
    int perChunk = 0;
    bool fits = false;
    for (int pixels = rows; !fits && pixels >= 16; pixels /= 2) {
      for (const size_t limit : limits) {
        for (int vectors = kMostVectors; !fits && vectors >= 2; vectors /= 2) {
          t = cut(c, pixels, bytes, vectors, 1);
          perChunk = (c.taps() * t.vectors + kStepVectors - 1) / kStepVectors;
          if (static_cast<double>(t.slabLines) * t.slabColumns * t.pitch > static_cast<double>(most)) continue;
          fits = sharedBytes(t, perChunk) <= limit;
        }
        if (fits) break;
      }
    }
    Steps steps{};
    steps.perChunk = perChunk;
    steps.channelTiles = (c.outputs + columns - 1) / columns;
    const int64_t parts = static_cast<int64_t>(c.groups) * steps.channelTiles;
    if (!fits || parts * t.tiles() > INT32_MAX) return false;
    t.piece = pieceOf(source.data, c.channels, bytes);
    steps.pairs = c.outputs % 2 == 0 && reinterpret_cast<uintptr_t>(target.data) % (2 * sizeof(T)) == 0;
    steps.whole = t.columnTiles == 1 && c.targetRow == c.targetW * c.targetPixel &&
                  c.targetImage == c.targetH * c.targetRow;
    steps.byParts = Divisor(static_cast<int>(parts));
    steps.byChannelTiles = Divisor(steps.channelTiles);
    steps.byVectors = Divisor(t.vectors);
    const int64_t count = parts * t.chunks * perChunk * columns * kStepVectors * kWide<T>;
    Workspace packed(context.memory, static_cast<size_t>(count) * sizeof(T));
    launch(packTaps<T>, Grid{std::min<int64_t>(blocksFor(count, 256), 65535)}, 256, 0, context.stream, c, weights,
           t.chunks, t.vectors, perChunk, steps.channelTiles, columns, static_cast<const T*>(w.data), packed.as<T>(),
           count);
    launch(correlate<T, MI, NI, WarpsM, WarpsN>, Grid{parts * t.tiles()}, threads, sharedBytes(t, perChunk),
           context.stream, c, t, steps, static_cast<const T*>(source.data), packed.as<const T>(),
           static_cast<const T*>(bias.data), static_cast<T*>(target.data));
    return true;
  }
};

/// Tiles of 16, 24, 32, 48, 64 or 128 channels: the widest among those that leave the least of themselves empty.
int tileChannels(int outputs, int widest) {
  int best = 16;
  for (const int width : {24, 32, 48, 64, 128}) {
    const auto covered = [&](int each) { return (outputs + each - 1) / each * each; };
    if (width <= widest && covered(width) <= covered(best)) best = width;
  }
  return best;
}

bool correlateTiled(const ConvContext& context, const Correlation& c, const TapWeights& weights, In source, In w,
                    In bias, Out target) {
  const auto run = [&](auto variant) { return variant.run(context, c, weights, source, w, bias, target); };
  if (source.dtype == DType::BF16) {
    switch (tileChannels(c.outputs, 128)) {
      case 128:
        return run(Variant<Bf16, 4, 8, 4, 2>());
      case 64:
        return run(Variant<Bf16, 4, 8, 4, 1>());
      case 48:
        return run(Variant<Bf16, 4, 6, 4, 1>());
      case 32:
        return run(Variant<Bf16, 4, 4, 4, 1>());
      case 24:
        return run(Variant<Bf16, 4, 3, 4, 1>());
      default:
        return run(Variant<Bf16, 4, 2, 4, 1>());
    }
  }
  switch (tileChannels(c.outputs, 48)) {
    case 48:
      return run(Variant<float, 2, 6, 4, 1>());
    case 32:
      return run(Variant<float, 2, 4, 4, 1>());
    case 24:
      return run(Variant<float, 2, 3, 4, 1>());
    default:
      return run(Variant<float, 2, 2, 4, 1>());
  }
}

void correlateAny(const ConvContext& context, bool small, const Correlation& c, const TapWeights& weights, In source,
                  In w, In bias, Out target) {
  Correlation laid = c;
  TapWeights laidWeights = weights;
  layOnSide(laid, &laidWeights);
  const bool tiled = small && c.taps() > 0;
  const Stretch done = tiled ? correlateByProducts(context, laid, laidWeights, source, w, bias, target) : Stretch{};
  const auto correlateLines = [&](int first, int end) {
    if (first == end) return;
    Correlation part = laid;
    part.targetH = end - first;
    part.padTop -= first * laid.strideH;
    const int64_t offset = first * laid.targetRow * static_cast<int64_t>(sizeOf(target.dtype));
    const Out to(static_cast<char*>(target.data) + offset, target.dtype);
    if (tiled && correlateTiled(context, part, laidWeights, source, w, bias, to)) return;
    correlateDirect(context, part, laidWeights, source, w, bias, to);
  };
  correlateLines(0, done.first);
  correlateLines(done.end, laid.targetH);
}

/// A phase of the gradient to the input along one dimension: input pixels first, first + stride, ... read stretches of
/// `taps` outputs. Tap i of a stretch is tap `last - i * stride` of the kernel.
struct Phase {
  int64_t first, count, taps, last, pad;
  Phase(int64_t phase, int64_t in, int64_t k, int64_t stride, int64_t padLow) {
    // Pixel u is read by output j through tap u + padLow - j * stride, so by taps phase, phase + stride, ...
    first = ((phase - padLow) % stride + stride) % stride;
    count = first < in ? (in - first + stride - 1) / stride : 0;
    taps = phase < k ? (k - phase + stride - 1) / stride : 0;
    last = phase + (taps - 1) * stride;
    pad = taps - 1 - (first + padLow - phase) / stride;
  }
};

}  // namespace

ConvContext CudaBackend::convContext() {
  const auto multiply = [this](const GemmProblem& p) {
    const bool done = multiplyByLibrary(p);
    if (!done) refusals_.add(p, GemmInstead::Convolution, gemmLibrary());
    return done;
  };
  return {memory_, properties_, stream_, multiply};
}

void CudaBackend::conv(const ConvShape& s, In x, In w, In bias, Out y) {
  const ConvContext context = convContext();
  if (convNarrow(context, s, x, w, bias, y)) return;
  const int64_t cin = s.cin / s.groups, taps = s.kH * s.kW;
  const TapWeights weights{0, s.cout / s.groups * cin * taps, cin * taps, taps, s.kW, 1};
  correlateAny(context, countsFit(s), correlationOf(s), weights, x, w, bias, y);
}

void CudaBackend::convGradInput(const ConvShape& s, In dy, In w, Out dx) {
  const ConvContext context = convContext();
  const int64_t cin = s.cin / s.groups, cout = s.cout / s.groups, taps = s.kH * s.kW;
  const auto n = [](int64_t value) { return static_cast<int>(value); };
  for (int64_t a = 0; a < s.strideH; ++a) {
    const Phase v(a, s.inH, s.kH, s.strideH, s.padTop);
    for (int64_t b = 0; b < s.strideW; ++b) {
      const Phase h(b, s.inW, s.kW, s.strideW, s.padLeft);
      if (v.count == 0 || h.count == 0) continue;
      const Correlation c{n(s.batch), n(s.groups), n(s.outH), n(s.outW), n(cout), n(v.count), n(h.count), n(cin),
                          n(v.taps),  n(h.taps),   1,         1,         n(v.pad), n(h.pad),
                          s.inH * s.inW * s.cin, s.strideH * s.inW * s.cin, s.strideW * s.cin};
      const TapWeights weights{v.last * s.kW + h.last, cout * cin * taps, taps,        cin * taps,
                               -s.strideH * s.kW,      -s.strideW};
      const int64_t first = (v.first * s.inW + h.first) * s.cin;
      const Out target(static_cast<char*>(dx.data) + first * static_cast<int64_t>(sizeOf(dx.dtype)), dx.dtype);
      correlateAny(context, countsFit(s), c, weights, dy, w, In(), target);
    }
  }
}

}  // namespace d2v::cuda
