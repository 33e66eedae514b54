// A row of up to 1536 elements held in the registers of one warp, as f32: read once, then looked at as often as needed.
//
// Lane l holds elements (step * 32 + l) * N .. + N - 1 of the row: each step is one coalesced access of the warp, of 512
// bytes where pieces are wide. The number of steps is a constant of the kernel, so that the row really is in registers.
#pragma once

#include <type_traits>

#include "vectors.h"

namespace d2v::cuda {

/// First element of a lane's piece in a step.
template <int N>
D2V_DEVICE int pieceAt(int step) {
  return (step * kWarp + lane()) * N;
}

/// raw = the row's pieces as they are in memory; behind its end the last one again, so that there is nothing to decide. What a
/// kernel needs of a row, and of all rows beside it, is read before it looks at any of it: one wait for memory instead of
/// one per step.
template <int Steps, int N, typename T>
D2V_DEVICE void readRow(RawPiece<T, N> (&raw)[Steps], const T* row, int d) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) raw[s].read(row + (pieceAt<N>(s) < d ? pieceAt<N>(s) : d - N));
}
/// The same, or `value` everywhere if there is no row.
template <int Steps, int N, typename T>
D2V_DEVICE void readRowOr(RawPiece<T, N> (&raw)[Steps], const T* row, int d, float value) {
  if (row != nullptr) {
    readRow(raw, row, d);
  } else {
#pragma unroll
    for (int s = 0; s < Steps; ++s) raw[s].fill(value);
  }
}
template <int Steps, int N, typename T>
D2V_DEVICE void writeRow(T* row, const RawPiece<T, N> (&raw)[Steps], int d) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    if (pieceAt<N>(s) < d) raw[s].write(row + pieceAt<N>(s));
  }
}
template <int Steps, int N, typename T>
D2V_DEVICE void widenRow(float (&v)[Steps][N], const RawPiece<T, N> (&raw)[Steps]) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) raw[s].widen(v[s]);
}

/// v = the row's pieces, with readRow's rest behind its end.
template <int Steps, int N, typename T>
D2V_DEVICE void loadRow(float (&v)[Steps][N], const T* row, int d) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) load(v[s], row + (pieceAt<N>(s) < d ? pieceAt<N>(s) : d - N));
}

template <int Steps, int N, typename T>
D2V_DEVICE void storeRow(T* row, const float (&v)[Steps][N], int d) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    if (pieceAt<N>(s) < d) store(row + pieceAt<N>(s), v[s]);
  }
}

/// Mean of a row of d in every lane, and the sum of squared distances from it; v becomes these distances (without meaning
/// behind the row's end).
template <int Steps, int N>
D2V_DEVICE void centreRow(float (&v)[Steps][N], int d, float& mean, float& squares) {
  float sum = 0;
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    float piece = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) piece += v[s][i];
    sum += pieceAt<N>(s) < d ? piece : 0.0f;
  }
  mean = warpSum(sum) / static_cast<float>(d);
  float square = 0;
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    float piece = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      v[s][i] -= mean;
      piece = fmaf(v[s][i], v[s][i], piece);
    }
    square += pieceAt<N>(s) < d ? piece : 0.0f;
  }
  squares = warpSum(square);
}

template <int Value>
using Constant = std::integral_constant<int, Value>;

/// Calls body(Constant<N>, Constant<Steps>) with the smallest kernel that holds a row of `d` elements of T; `wide` says that
/// pieces of 16 bytes fit. False (nothing called) for longer rows, which need a kernel that reads them several times.
template <typename T, typename Body>
inline bool forRowShape(int64_t d, bool wide, const Body& body) {
  using Wide = Constant<kWide<T>>;
  if (!wide) {
    if (d <= 256) body(Constant<1>(), Constant<8>());
    else if (d <= 1024) body(Constant<1>(), Constant<32>());
    else return false;
  } else if constexpr (sizeof(T) == 2) {
    if (d <= 256) body(Wide(), Constant<1>());
    else if (d <= 512) body(Wide(), Constant<2>());
    else if (d <= 768) body(Wide(), Constant<3>());
    else if (d <= 1024) body(Wide(), Constant<4>());
    else if (d <= 1536) body(Wide(), Constant<6>());
    else return false;
  } else {
    if (d <= 256) body(Wide(), Constant<2>());
    else if (d <= 768) body(Wide(), Constant<6>());
    else if (d <= 1536) body(Wide(), Constant<12>());
    else return false;
  }
  return true;
}

}  // namespace d2v::cuda
