// A slab: the channels of one group in a window of an image, copied together and surrounded by explicit zeros:
// [height, width, channels]. Convolutions then need no border cases, and the kW * channels values under one kernel
// row are contiguous, so that each kernel row is one stretch of a dot product.
#pragma once

#include <cstring>

#include "vec.h"

namespace d2v {
namespace D2V_ISA {

/// An image in token-major memory: pixel (y, x) of [h, w] begins at data + (y * w + x) * ld.
struct Image {
  const float* data;
  int64_t h, w, ld;
};

/// Copies a short row; n is often 12 or 48, for which a call of memcpy costs more than the copy.
D2V_INLINE void copyShort(float* dst, const float* src, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(dst + i, vload(src + i));
  for (; i + 4 <= n; i += 4) std::memcpy(dst + i, src + i, 4 * sizeof(float));
  for (; i < n; ++i) dst[i] = src[i];
}

/// slab[y, x, :] = channels [0, channels) of image pixel (top + y, left + x), 0 outside. Either may be negative.
inline void fillSlab(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width, int64_t channels,
                     float* slab) {
  const int64_t first = left < 0 ? (-left < width ? -left : width) : 0;
  const int64_t end = image.w - left < width ? (image.w - left > first ? image.w - left : first) : width;
  const size_t pixel = static_cast<size_t>(channels) * sizeof(float);
  for (int64_t y = 0; y < height; ++y) {
    float* row = slab + y * width * channels;
    const int64_t source = top + y;
    if (source < 0 || source >= image.h || first >= end) {
      std::memset(row, 0, static_cast<size_t>(width) * pixel);
      continue;
    }
    if (first > 0) std::memset(row, 0, static_cast<size_t>(first) * pixel);
    const float* src = image.data + (source * image.w + left + first) * image.ld;
    float* dst = row + first * channels;
    if (image.ld == channels) {
      std::memcpy(dst, src, static_cast<size_t>(end - first) * pixel);
    } else {
      for (int64_t x = first; x < end; ++x, src += image.ld, dst += channels) copyShort(dst, src, channels);
    }
    if (end < width) std::memset(row + end * channels, 0, static_cast<size_t>(width - end) * pixel);
  }
}

}  // namespace D2V_ISA
}  // namespace d2v
