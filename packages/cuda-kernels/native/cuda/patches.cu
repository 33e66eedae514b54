// Cutting images into patches and putting them together: copies, one read and one write of each value.
//
// A thread moves N neighbours of a token, so that tokens are read or written in whole lines. In the layout (c,p,q) a
// row of a patch is contiguous on both sides, and where its length allows it, moves in pieces of 16 bytes. In (p,q,c)
// neighbours of a token come from different planes of the image; N is 1, and a warp touches a row of each plane.
#include "cuda_backend.h"
#include "launch.h"
#include "vectors.h"

namespace d2v::cuda {
namespace {

constexpr int kThreads = 256;

struct Patches {
  int c, gridH, gridW, pH, pW;
  bool channelsFirst;

  /// Where in the images element `i` of the tokens is.
  D2V_DEVICE int64_t pixelOf(int64_t i) const {
    const int size = c * pH * pW;
    const int64_t token = i / size;
    const int within = static_cast<int>(i % size);
    int channel, p, q;
    if (channelsFirst) {
      q = within % pW;
      p = within / pW % pH;
      channel = within / pW / pH;
    } else {
      channel = within % c;
      q = within / c % pW;
      p = within / c / pW;
    }
    const int64_t image = token / gridW / gridH;
    const int x = static_cast<int>(token % gridW) * pW + q, y = static_cast<int>(token / gridW % gridH) * pH + p;
    return ((image * c + channel) * gridH * pH + y) * gridW * pW + x;
  }
};

/// Moves element by element, or N at once, from images to tokens or back.
template <typename T, int N, bool ToTokens>
D2V_KERNEL(kThreads)
movePatches(Patches s, const T* from, T* to, int64_t pieces) {
  const int64_t piece = static_cast<int64_t>(blockX()) * kThreads + threadX();
  if (piece >= pieces) return;
  const int64_t token = piece * N, pixel = s.pixelOf(token);
  *reinterpret_cast<Vec<T, N>*>(to + (ToTokens ? token : pixel)) =
      *reinterpret_cast<const Vec<T, N>*>(from + (ToTokens ? pixel : token));
}

template <bool ToTokens>
void move(const PatchShape& s, In from, Out to, Stream stream) {
  const auto n = [](int64_t value) { return static_cast<int>(value); };
  const Patches patches{n(s.c), n(s.gridH), n(s.gridW), n(s.pH), n(s.pW), s.channelsFirst};
  const int64_t count = s.batch * s.gridH * s.gridW * s.c * s.pH * s.pW;
  forFloatType(from.dtype, [&](auto type) {
    using T = decltype(type);
    const auto* source = static_cast<const T*>(from.data);
    auto* target = static_cast<T*>(to.data);
    const auto run = [&](auto kernel, int64_t pieces) {
      launch(kernel, Grid{blocksFor(pieces, kThreads)}, kThreads, 0, stream, patches, source, target, pieces);
    };
    if (s.channelsFirst && fitsWide(source, s.pW) && fitsWide(static_cast<const T*>(target), s.pW)) {
      run(movePatches<T, kWide<T>, ToTokens>, count / kWide<T>);
    } else {
      run(movePatches<T, 1, ToTokens>, count);
    }
  });
}

}  // namespace

void CudaBackend::patchify(const PatchShape& s, In images, Out tokens) { move<true>(s, images, tokens, stream_); }
void CudaBackend::unpatchify(const PatchShape& s, In tokens, Out images) { move<false>(s, tokens, images, stream_); }

}  // namespace d2v::cuda
