// Sums and means.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

int main(int argc, char** argv) {
  Harness h(argc, argv);
  for (const DType t : kFloats) {
    h.tolerance(1e-12, 1e-12);  // f64 on both sides, from the same numbers
    for (const int64_t n : {1, 7, 1003, 50021}) {
      h.check("sum", t, {n}, [&](Side& s) {
        const In x = s.in(n, -1, 2);
        s.backend.sum(x, n, s.f64Out(1));
      });
      h.check("sumSquares", t, {n}, [&](Side& s) {
        const In x = s.in(n);
        s.backend.sumSquares(x, n, s.f64Out(1));
      });
    }
    h.tolerance(1e-5, 1e-2);
    // One part and several, pieces and single elements, rests of tiles.
    constexpr std::pair<int64_t, int64_t> shapes[] = {{1, 1},    {5000, 1}, {1, 64},   {5, 3},
                                                      {40, 272}, {300, 8},  {700, 33}, {90, 1000}};
    for (const auto& [outer, inner] : shapes) {
      h.check("sumTo", t, {outer, inner}, [&, outer = outer, inner = inner](Side& s) {
        const In x = s.in(outer * inner, -1, 2);
        s.backend.sumTo(x, s.out(inner), outer, inner);
      });
    }
    struct Tokens {
      int64_t b, t, d, skip;
    };
    for (const Tokens& c : {Tokens{1, 1, 1, 0}, Tokens{3, 20, 24, 1}, Tokens{2, 50, 280, 0}, Tokens{5, 9, 35, 4}}) {
      h.check("meanTokens", t, {c.b, c.t, c.d, c.skip}, [&](Side& s) {
        const In x = s.in(c.b * c.t * c.d, -1, 2);
        s.backend.meanTokens(x, s.out(c.b * c.d), c.b, c.t, c.d, c.skip);
      });
      h.check("meanTokensBackward", t, {c.b, c.t, c.d, c.skip}, [&](Side& s) {
        const In dy = s.in(c.b * c.d);
        s.backend.meanTokensBackward(dy, s.out(c.b * c.t * c.d), c.b, c.t, c.d, c.skip);
      });
    }
  }
  return h.finish();
}
