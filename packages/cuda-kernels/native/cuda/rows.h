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

/// v = the row's pieces, zeros behind its end.
template <int Steps, int N, typename T>
D2V_DEVICE void loadRow(float (&v)[Steps][N], const T* row, int d) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    if (pieceAt<N>(s) < d) {
      load(v[s], row + pieceAt<N>(s));
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) v[s][i] = 0;
    }
  }
}

template <int Steps, int N, typename T>
D2V_DEVICE void storeRow(T* row, const float (&v)[Steps][N], int d) {
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    if (pieceAt<N>(s) < d) store(row + pieceAt<N>(s), v[s]);
  }
}

/// Mean of a row of d, and the sum of squared distances from it, in every lane.
template <int Steps, int N>
D2V_DEVICE void rowMoments(const float (&v)[Steps][N], int d, float& mean, float& squares) {
  float sum = 0;
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum += v[s][i];
  }
  mean = warpSum(sum) / static_cast<float>(d);
  float square = 0;
#pragma unroll
  for (int s = 0; s < Steps; ++s) {
    if (pieceAt<N>(s) < d) {
#pragma unroll
      for (int i = 0; i < N; ++i) square = fmaf(v[s][i] - mean, v[s][i] - mean, square);
    }
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
