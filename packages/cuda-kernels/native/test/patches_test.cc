// Patches: both layouts, pieces of 16 bytes and single elements, patches that are not square.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

int main(int argc, char** argv) {
  Harness h(argc, argv);
  h.tolerance(0, 0);  // copies
  constexpr PatchShape kShapes[] = {{2, 3, 2, 3, 16, 16, true}, {2, 3, 3, 2, 8, 8, false}, {1, 1, 1, 1, 1, 1, true},
                                    {3, 2, 2, 2, 3, 5, true},   {1, 4, 2, 1, 2, 4, true},  {1, 3, 2, 2, 5, 3, false}};
  for (const DType t : kFloats) {
    for (const PatchShape& p : kShapes) {
      const int64_t n = p.batch * p.c * p.gridH * p.pH * p.gridW * p.pW;
      const std::vector<int64_t> shape = {p.batch, p.c, p.gridH, p.gridW, p.pH, p.pW, p.channelsFirst};
      h.check("patchify", t, shape, [&](Side& s) {
        const In images = s.in(n);
        s.backend.patchify(p, images, s.out(n));
      });
      h.check("unpatchify", t, shape, [&](Side& s) {
        const In tokens = s.in(n);
        s.backend.unpatchify(p, tokens, s.out(n));
      });
    }
  }
  return h.finish();
}
