// Looking rows up in a table, and the gradient to the table.
//
// embedding copies rows (copy_rows.h): 4 bytes per element in bf16.
//
// embeddingGrad touches only the rows of the table that occur: 2 bytes per element of dy, and 8 per element of those rows.
// The ids are sorted with their positions (sort.h), which brings equal ids together, in the order of their positions. A warp
// takes 32 sorted positions and 256 columns (bf16) and adds up runs of equal ids, four rows of dy in flight. A run within
// its 32 goes straight to the table; one that begins or ends elsewhere leaves a part in scratch memory, and a second kernel
// joins the parts of each such run, in order. So a frequent id is shared by many warps, and no atomics are needed.
#include "copy_rows.h"
#include "cuda_backend.h"
#include "rows.h"
#include "sort.h"

namespace d2v::cuda {

namespace {

constexpr int kRunThreads = 256, kRunWarps = kRunThreads / kWarp, kRunTile = kWarp;
constexpr uint32_t kNoKey = 0xffffffffu;

struct LookupMap {
  const int32_t* ids;
  const char* table;
  char* y;
  int64_t rowBytes;
  D2V_DEVICE const char* source(int64_t i) const { return table + ids[i] * rowBytes; }
  D2V_DEVICE char* target(int64_t i) const { return y + i * rowBytes; }
};

/// parts [tiles, 2, d]: of the run that came from the tile before, and of the run that goes on in the next.
struct Runs {
  const uint32_t *keys, *positions;
  int64_t n, v, d, columnTiles;
  float *table, *parts;
};

template <int N>
D2V_DEVICE void addTo(float* to, const float (&v)[N]) {
  float sum[N];
  load(sum, to);
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] += v[i];
  store(to, sum);
}

template <typename T, int N>
D2V_KERNEL(kRunThreads)
sumRuns(Runs a, const T* dy) {
  constexpr int flight = 4;
  const int64_t item = static_cast<int64_t>(blockX()) * kRunWarps + warp(), tile = item / a.columnTiles;
  const int64_t begin = tile * kRunTile;
  if (begin >= a.n) return;
  const int64_t c = (item - tile * a.columnTiles) * kWarp * N + lane() * N;
  const bool column = c < a.d;
  const int count = static_cast<int>(a.n - begin < kRunTile ? a.n - begin : kRunTile);
  const uint32_t ownKey = lane() < count ? a.keys[begin + lane()] : kNoKey;
  const uint32_t ownPosition = lane() < count ? a.positions[begin + lane()] : 0;
  const uint32_t before = begin > 0 ? a.keys[begin - 1] : kNoKey;
  const uint32_t behind = begin + count < a.n ? a.keys[begin + count] : kNoKey;
  float sum[N] = {};
  bool starts = shuffle(ownKey, 0) != before;
  for (int j = 0; j < count; j += flight) {
    float v[flight][N];
#pragma unroll
    for (int q = 0; q < flight; ++q) {
      const int64_t row = shuffle(ownPosition, j + q);
      if (column && j + q < count) load(v[q], dy + row * a.d + c);
    }
#pragma unroll
    for (int q = 0; q < flight; ++q) {
      const int at = j + q;
      const uint32_t key = shuffle(ownKey, at), following = shuffle(ownKey, at + 1 < kWarp ? at + 1 : at);
      if (at >= count) break;
      if (column) {
#pragma unroll
        for (int i = 0; i < N; ++i) sum[i] += v[q][i];
      }
      const uint32_t next = at + 1 < count ? following : behind;
      if (next == key && at + 1 < count) continue;
      if (column && key < a.v) {
        if (starts && next != key) {
          addTo(a.table + key * a.d + c, sum);
        } else {
          store(a.parts + (2 * tile + (starts ? 1 : 0)) * a.d + c, sum);
        }
      }
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] = 0;
      starts = true;
    }
  }
}

/// Adds the parts of each run that begins in a tile and goes on in the next.
template <int N>
D2V_KERNEL(kRunThreads)
joinRuns(Runs a) {
  const int64_t item = static_cast<int64_t>(blockX()) * kRunWarps + warp(), tile = item / a.columnTiles;
  const int64_t begin = tile * kRunTile, end = begin + kRunTile;
  if (end >= a.n) return;
  const uint32_t key = a.keys[end];
  if (a.keys[end - 1] != key || key >= a.v) return;
  if (a.keys[begin] == key && begin > 0 && a.keys[begin - 1] == key) return;  // began earlier
  const int64_t c = (item - tile * a.columnTiles) * kWarp * N + lane() * N;
  const bool column = c < a.d;
  float sum[N] = {};
  if (column) load(sum, a.parts + (2 * tile + 1) * a.d + c);
  for (int64_t from = tile + 1;; from += kWarp) {
    // Tiles that begin with the key: a row of ones.
    const int64_t first = (from + lane()) * kRunTile;
    const int tiles = bitCount(vote(first < a.n && a.keys[first < a.n ? first : 0] == key));
    if (column) {
#pragma unroll 4
      for (int k = 0; k < tiles; ++k) {
        float v[N];
        load(v, a.parts + 2 * (from + k) * a.d + c);
#pragma unroll
        for (int i = 0; i < N; ++i) sum[i] += v[i];
      }
    }
    if (tiles < kWarp) break;
  }
  if (column) addTo(a.table + key * a.d + c, sum);
}

template <typename T, int N>
void gradient(Runs a, const T* dy, Stream stream) {
  a.columnTiles = blocksFor(a.d, kWarp * N);
  const Grid grid{blocksFor(blocksFor(a.n, kRunTile) * a.columnTiles, kRunWarps)};
  launch(sumRuns<T, N>, grid, kRunThreads, 0, stream, a, dy);
  launch(joinRuns<N>, grid, kRunThreads, 0, stream, a);
}

}  // namespace

void CudaBackend::embedding(const int32_t* ids, In table, Out y, int64_t n, int64_t d) {
  const int64_t rowBytes = d * static_cast<int64_t>(sizeOf(table.dtype));
  const LookupMap map{ids, static_cast<const char*>(table.data), static_cast<char*>(y.data), rowBytes};
  copyRows(map, n, rowBytes, {}, {table.data, y.data}, stream_);
}

void CudaBackend::embeddingGrad(float* dTable, const int32_t* ids, In dy, int64_t n, int64_t v, int64_t d,
                                int64_t padding) {
  const Workspace scratch(memory_, static_cast<size_t>(sortScratch(n)) * sizeof(uint32_t));
  const Sorted sorted = sortIds(ids, n, v, padding, scratch.as<uint32_t>(), stream_);
  const Workspace parts(memory_, static_cast<size_t>(blocksFor(n, kRunTile) * 2 * d) * sizeof(float));
  const Runs runs{sorted.keys, sorted.positions, n, v, d, 0, dTable, parts.floats()};
  forFloatType(dy.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = typed<T>(dy, "embeddingGrad: dy");
    if (fitsWide(from, d) && fitsWide(dTable, d)) {
      gradient<T, kWide<T>>(runs, from, stream_);
    } else {
      gradient<T, 1>(runs, from, stream_);
    }
  });
}

}  // namespace d2v::cuda
