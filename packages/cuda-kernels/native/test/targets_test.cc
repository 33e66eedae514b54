// The running target under its four norms, the spread of features, and losses with their gradients.
#include <limits>

#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

void target(Harness& h, DType t, TargetNorm norm, int64_t b, int64_t rows, int64_t d, int64_t skip) {
  const char* const names[] = {"accumulateTarget none", "accumulateTarget layer", "accumulateTarget instance",
                               "accumulateTarget batch"};
  h.check(names[static_cast<int>(norm)], t, {b, rows, d, skip}, [&](Side& s) {
    float* acc = s.f32InOut(b * rows * d);
    s.backend.accumulateTarget(acc, s.in(b * (skip + rows) * d), b, rows, d, skip, norm, 0.4, 1e-3);
  });
}

void loss(Harness& h, DType t, int64_t samples, int64_t copies, int64_t n, int64_t tokens, int64_t d, double beta) {
  h.check("maskedLoss", t, {samples, copies, n, tokens, d}, [&](Side& s) {
    MaskedLossArgs a{};
    a.rows = samples * copies;
    a.pred = s.in(a.rows * n * d);
    a.target = s.f32(samples * tokens * d);
    a.ids = s.ints(a.rows * n, 0, static_cast<int32_t>(tokens));
    a.dpred = s.out(a.rows * n * d);
    a.loss = s.f64Out(1);
    a.n = n;
    a.d = d;
    a.samples = samples;
    a.t = tokens;
    a.beta = beta;
    a.scale = 0.25;
    a.gradScale = 3;
    s.backend.maskedLoss(a);
  });
}

void spread(Harness& h, DType t, int64_t b, int64_t tokens, int64_t rows, int64_t n, int64_t d) {
  h.check("featureStd", t, {b, tokens, rows, n, d}, [&](Side& s) {
    const In x = s.in(b * tokens * d);
    const int32_t* ids = rows > 0 ? s.ints(rows * n, 0, static_cast<int32_t>(tokens)) : nullptr;
    double* result = s.f64Out(1);
    s.backend.featureStd(x, ids, b, tokens, rows > 0 ? rows : b, rows > 0 ? n : tokens, d, result);
  });
}

void entropy(Harness& h, DType t, int64_t n, int64_t c, double smoothing, int64_t ignore) {
  h.check("crossEntropy", t, {n, c}, [&](Side& s) {
    const In logits = s.in(n * c);
    const int32_t* labels = s.ints(n, 0, static_cast<int32_t>(c));
    const Out dlogits = s.out(n * c);
    double* result = s.f64Out(2);
    s.backend.crossEntropy(logits, labels, dlogits, result, n, c, smoothing, ignore, 0.5);
  });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  const int64_t none = std::numeric_limits<int64_t>::min();
  for (const DType t : kFloats) {
    for (const TargetNorm norm : {TargetNorm::None, TargetNorm::Layer, TargetNorm::Instance, TargetNorm::Batch}) {
      target(h, t, norm, 1, 1, 1, 0);
      target(h, t, norm, 2, 5, 3, 1);
      target(h, t, norm, 3, 37, 72, 1);
      target(h, t, norm, 2, 300, 16, 2);  // more rows than eight per thread, more than a chunk
    }
    target(h, t, TargetNorm::Layer, 2, 3, 776, 0);
    target(h, t, TargetNorm::Layer, 1, 2, 1601, 0);
    target(h, t, TargetNorm::Instance, 1, 650, 8, 0);  // too many rows for registers
    for (const double beta : {0.0, 0.7}) {
      loss(h, t, 1, 1, 1, 1, 1, beta);
      loss(h, t, 2, 3, 7, 11, 24, beta);
      loss(h, t, 2, 2, 3, 5, 401, beta);
      loss(h, t, 1, 2, 2, 4, 800, beta);
      loss(h, t, 3, 4, 13, 20, 16, beta);  // more rows than the grid has warps at once
    }
    spread(h, t, 1, 2, 0, 0, 1);
    spread(h, t, 3, 7, 0, 0, 72);
    spread(h, t, 2, 300, 0, 0, 40);
    spread(h, t, 2, 9, 6, 5, 19);
    spread(h, t, 2, 150, 4, 130, 16);
    entropy(h, t, 1, 1, 0, none);
    entropy(h, t, 5, 3, 0.1, 2);
    entropy(h, t, 4, 300, 0, none);
    entropy(h, t, 2, 1001, 0.2, -1);
  }
  return h.finish();
}
