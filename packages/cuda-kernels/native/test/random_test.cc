// Random numbers: the same words as the CPU's.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

int main(int argc, char** argv) {
  Harness h(argc, argv);
  for (const DType t : kFloats) {
    for (const int64_t n : {1, 7, 1003, 20011}) {
      const RngKey key{123, 4567, 89, static_cast<uint32_t>(n)};
      h.tolerance(2e-6, 1e-2);
      h.check("normal", t, {n}, [&](Side& s) { s.backend.normal(s.out(n), 0.5, 1.5, key, n); });
      h.tolerance(0, 1e-2);  // the same bits in f32
      h.check("uniform", t, {n}, [&](Side& s) { s.backend.uniform(s.out(n), -0.3, 0.7, key, n); });
      h.check("dropout", t, {n}, [&](Side& s) {
        const In x = s.in(n);
        s.backend.dropout(x, s.out(n), 0.3, key, n);
      });
      h.check("dropout in place", t, {n}, [&](Side& s) {
        const Out x = s.inout(n);
        s.backend.dropout(In(x.data, x.dtype), x, 0.9, key, n);
      });
    }
  }
  h.tolerance(0, 0);
  h.check("dropout of no number", DType::F32, {64}, [&](Side& s) {
    const In x = s.in(std::vector<float>(64, NAN));
    s.backend.dropout(x, s.out(64), 0.5, RngKey{1, 2, 3, 4}, 64);
  });
  return h.finish();
}
