// Gathering, restoring and moving tokens. Everything here is copies; the gradients are copies or sums in a fixed order.
#include <cstring>

#include "loops.h"
#include "philox.h"

namespace d2v {
namespace D2V_ISA {

namespace {

inline void copyRow(float* to, const float* from, int64_t d) {
  std::memcpy(to, from, static_cast<size_t>(d) * sizeof(float));
}

inline void addRow(float* __restrict to, const float* __restrict from, int64_t d) {
#pragma omp simd
  for (int64_t i = 0; i < d; ++i) to[i] += from[i];
}

}  // namespace

void CpuBackend::gatherTokens(In x, const int32_t* ids, In prefix, Out y, int64_t b, int64_t t, int64_t rows,
                              int64_t k, int64_t e, int64_t d) {
  const float *in = x, *head = prefix;
  float* out = y;
  const int64_t copies = rows / b;
  parallelFor(rows * (e + k), rowGrain(d), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / (e + k), slot = i % (e + k) - e;
      const float* from = slot < 0 ? head + (slot + e) * d
                                   : in + (row / copies * t + (ids == nullptr ? slot : ids[row * k + slot])) * d;
      copyRow(out + i * d, from, d);
    }
  });
}

void CpuBackend::gatherTokensBackward(In dy, const int32_t* ids, Out dx, float* dPrefix, int64_t b, int64_t t,
                                      int64_t rows, int64_t k, int64_t e, int64_t d) {
  const float* g = dy;
  float* out = dx;
  const int64_t copies = rows / b, width = e + k;
  parallelBlocks(b, d, 256, [=](int64_t sample, int64_t first, int64_t columns) {
    float* to = out + sample * t * d + first;
    const float* from = g + sample * copies * width * d + first;
    if (ids == nullptr) {
      for (int64_t i = 0; i < t; ++i) copyRow(to + i * d, from + (e + i) * d, columns);
      return;
    }
    for (int64_t i = 0; i < t; ++i) std::memset(to + i * d, 0, static_cast<size_t>(columns) * sizeof(float));
    for (int64_t copy = 0; copy < copies; ++copy) {
      const int32_t* kept = ids + (sample * copies + copy) * k;
      for (int64_t j = 0; j < k; ++j) addRow(to + kept[j] * d, from + (copy * width + e + j) * d, columns);
    }
  });
  if (dPrefix == nullptr) return;
  parallelBlocks(e, d, 64, [=](int64_t token, int64_t first, int64_t columns) {
    float sum[64] = {};
    for (int64_t row = 0; row < rows; ++row) addRow(sum, g + (row * width + token) * d + first, columns);
    addRow(dPrefix + token * d + first, sum, columns);
  });
}

void CpuBackend::restoreTokens(In x, const int32_t* restore, In noise, double std, const RngKey& key, Out y,
                               int64_t rows, int64_t t, int64_t kept, int64_t extra, int64_t d) {
  const float *in = x, *given = noise;
  float* out = y;
  const float deviation = static_cast<float>(std);
  parallelFor(rows * t, rowGrain(d), [&, in, given, out](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / t, slot = restore[i];
      float* to = out + i * d;
      if (slot < kept) {
        copyRow(to, in + (row * (extra + kept) + extra + slot) * d, d);
        continue;
      }
      const int64_t masked = row * (t - kept) + slot - kept;
      if (given != nullptr) copyRow(to, given + masked * d, d);
      else fillNormal(key, static_cast<uint64_t>(masked * d), d, 0, deviation, to);
    }
  });
}

void CpuBackend::restoreTokensBackward(In dy, const int32_t* restore, Out dx, int64_t rows, int64_t t, int64_t kept,
                                       int64_t extra, int64_t d) {
  const float* g = dy;
  float* out = dx;
  const int64_t width = extra + kept;
  parallelBlocks(rows, d, 512, [=](int64_t row, int64_t first, int64_t columns) {
    float* to = out + row * width * d + first;
    for (int64_t i = 0; i < width; ++i) std::memset(to + i * d, 0, static_cast<size_t>(columns) * sizeof(float));
    for (int64_t i = 0; i < t; ++i) {
      const int64_t slot = restore[row * t + i];
      if (slot < kept) addRow(to + (extra + slot) * d, g + (row * t + i) * d + first, columns);
    }
  });
}

void CpuBackend::repeatRows(In x, Out y, int64_t b, int64_t times, int64_t inner) {
  const float* in = x;
  float* out = y;
  parallelFor(b * times, rowGrain(inner), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) copyRow(out + i * inner, in + i / times * inner, inner);
  });
}

void CpuBackend::repeatRowsBackward(In dy, Out dx, int64_t b, int64_t times, int64_t inner) {
  const float* g = dy;
  float* out = dx;
  parallelBlocks(b, inner, 4096, [=](int64_t row, int64_t first, int64_t columns) {
    float* to = out + row * inner + first;
    copyRow(to, g + row * times * inner + first, columns);
    for (int64_t m = 1; m < times; ++m) addRow(to, g + (row * times + m) * inner + first, columns);
  });
}

void CpuBackend::copySlab(const void* src, void* dst, int64_t outer, int64_t srcDim, int64_t srcStart, int64_t dstDim,
                          int64_t dstStart, int64_t len, int64_t innerBytes) {
  const char* from = static_cast<const char*>(src) + srcStart * innerBytes;
  char* to = static_cast<char*>(dst) + dstStart * innerBytes;
  const int64_t bytes = len * innerBytes;
  if (outer == 1) {
    copyBytes(to, from, bytes);
    return;
  }
  parallelFor(outer, rowGrain(bytes), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(to + i * dstDim * innerBytes, from + i * srcDim * innerBytes, static_cast<size_t>(bytes));
    }
  });
}

namespace {

template <typename T>
void transposeRows(const T* x, T* y, int rank, const int64_t* shape, const int64_t* strides) {
  const int64_t length = shape[rank - 1], stride = strides[rank - 1];
  int64_t rows = 1;
  for (int i = 0; i < rank - 1; ++i) rows *= shape[i];
  parallelFor(rows, rowGrain(length), [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, offset = 0;
      for (int i = rank - 2; i >= 0; --i) {
        offset += rest % shape[i] * strides[i];
        rest /= shape[i];
      }
      const T* from = x + offset;
      T* to = y + row * length;
      if (stride == 1) {
        std::memcpy(to, from, static_cast<size_t>(length) * sizeof(T));
      } else {
        for (int64_t i = 0; i < length; ++i) to[i] = from[i * stride];
      }
    }
  });
}

}  // namespace

void CpuBackend::transpose(const void* x, void* y, size_t elementSize, int rank, const int64_t* shape,
                           const int* perm) {
  int64_t inStrides[16], outShape[16], strides[16];
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; --i) {
    inStrides[i] = stride;
    stride *= shape[i];
  }
  for (int i = 0; i < rank; ++i) {
    outShape[i] = shape[perm[i]];
    strides[i] = inStrides[perm[i]];
  }
  switch (elementSize) {
    case 1:
      return transposeRows(static_cast<const uint8_t*>(x), static_cast<uint8_t*>(y), rank, outShape, strides);
    case 2:
      return transposeRows(static_cast<const uint16_t*>(x), static_cast<uint16_t*>(y), rank, outShape, strides);
    case 4:
      return transposeRows(static_cast<const uint32_t*>(x), static_cast<uint32_t*>(y), rank, outShape, strides);
    default:
      return transposeRows(static_cast<const uint64_t*>(x), static_cast<uint64_t*>(y), rank, outShape, strides);
  }
}

void CpuBackend::embedding(const int32_t* ids, In table, Out y, int64_t n, int64_t d) {
  const float* from = table;
  float* out = y;
  parallelFor(n, rowGrain(d), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) copyRow(out + i * d, from + ids[i] * d, d);
  });
}

void CpuBackend::embeddingGrad(float* dTable, const int32_t* ids, In dy, int64_t n, int64_t, int64_t d,
                               int64_t padding) {
  const float* g = dy;
  // Threads share columns, not rows: an id may repeat.
  parallelFor(d, std::max<int64_t>(16, rowGrain(n)), [=](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < n; ++i) {
      if (ids[i] != padding) addRow(dTable + ids[i] * d + begin, g + i * d + begin, end - begin);
    }
  });
}

namespace {

/// Walks the elements of all patches: body(token element, image element, count) with rows of `count` that are
/// contiguous in the image; the token's elements are `step` apart.
template <typename Body>
void forPatchRows(const PatchShape& s, const Body& body) {
  const int64_t width = s.gridW * s.pW, area = s.gridH * s.pH * width, patch = s.c * s.pH * s.pW;
  const int64_t step = s.channelsFirst ? 1 : s.c;
  parallelFor(s.batch * s.gridH, rowGrain(s.gridW * patch), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / s.gridH, gy = i % s.gridH;
      for (int64_t c = 0; c < s.c; ++c) {
        for (int64_t p = 0; p < s.pH; ++p) {
          const int64_t row = (image * s.c + c) * area + (gy * s.pH + p) * width;
          const int64_t within = s.channelsFirst ? (c * s.pH + p) * s.pW : p * s.pW * s.c + c;
          for (int64_t gx = 0; gx < s.gridW; ++gx) {
            body((i * s.gridW + gx) * patch + within, row + gx * s.pW, s.pW, step);
          }
        }
      }
    }
  });
}

}  // namespace

void CpuBackend::patchify(const PatchShape& s, In images, Out tokens) {
  const float* in = images;
  float* out = tokens;
  forPatchRows(s, [=](int64_t token, int64_t pixel, int64_t count, int64_t step) {
    for (int64_t q = 0; q < count; ++q) out[token + q * step] = in[pixel + q];
  });
}

void CpuBackend::unpatchify(const PatchShape& s, In tokens, Out images) {
  const float* in = tokens;
  float* out = images;
  forPatchRows(s, [=](int64_t token, int64_t pixel, int64_t count, int64_t step) {
    for (int64_t q = 0; q < count; ++q) out[pixel + q] = in[token + q * step];
  });
}

}  // namespace D2V_ISA
}  // namespace d2v
