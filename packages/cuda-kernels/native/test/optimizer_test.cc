// Adam, the moving average, and what decides about an update.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

enum class Control { None, Applied, Skipped };

void adam(Harness& h, int64_t n, bool zeroGrad, bool teacher, Control control, double emaDecay) {
  h.check("adam", DType::F32, {n, zeroGrad, teacher, static_cast<int64_t>(control)}, [&](Side& s) {
    AdamArgs a{};
    a.p = s.f32InOut(n);
    a.g = s.f32InOut(n);
    a.m = s.f32InOut(n);
    a.v = s.f32InOut(n, 0, 1);
    if (teacher) a.teacher = s.f32InOut(n);
    a.n = n;
    a.lr = 1e-2;
    a.beta1 = 0.9;
    a.beta2 = 0.95;
    a.eps = 1e-6;
    a.weightDecay = 0.05;
    a.gradScale = 0.25;
    a.emaDecay = emaDecay;
    a.step = 3;
    a.zeroGrad = zeroGrad;
    if (control != Control::None) a.control = s.doubles({7.0, 0.125, control == Control::Applied ? 1.0 : 0.0});
    s.backend.adam(a);
  });
}

void gradControl(Harness& h, double clipNorm, const std::vector<double>& squares, const std::vector<double>& losses) {
  h.check("gradControl", DType::F32, {static_cast<int64_t>(squares.size()), static_cast<int64_t>(losses.size())},
          [&](Side& s) {
            const double *from = s.doubles(squares), *also = s.doubles(losses);
            s.backend.gradControl(from, static_cast<int64_t>(squares.size()), also, static_cast<int64_t>(losses.size()),
                                  0.5, clipNorm, s.f64Out(kGradControlSize));
          });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  h.tolerance(1e-6, 1e-6);
  for (const int64_t n : {1, 7, 10007}) {
    for (const bool zeroGrad : {false, true}) {
      for (const bool teacher : {false, true}) {
        for (const Control control : {Control::None, Control::Applied, Control::Skipped}) {
          adam(h, n, zeroGrad, teacher, control, 0.9);
        }
      }
    }
    adam(h, n, true, true, Control::None, 1);  // the teacher stays as it is
    for (const double decay : {0.9, 1.0}) {
      for (const double applied : {1.0, 0.0}) {
        h.check("ema", DType::F32, {n}, [&](Side& s) {
          float* teacher = s.f32InOut(n);
          const float* student = s.f32(n);
          s.backend.ema(teacher, student, decay, n, s.doubles({1, 1, applied}));
        });
      }
      h.check("ema without control", DType::F32, {n}, [&](Side& s) {
        float* teacher = s.f32InOut(n);
        const float* student = s.f32(n);
        s.backend.ema(teacher, student, decay, n, nullptr);
      });
    }
  }
  h.tolerance(1e-15, 1e-15);
  gradControl(h, 0, {1.5}, {2});
  gradControl(h, 1, {1.5, 30, 7}, {2, 3});
  gradControl(h, 100, {1.5, 30, 7}, {2, 3});
  gradControl(h, 1, {1.5, NAN}, {2});
  gradControl(h, 1, {1.5, INFINITY}, {2});
  gradControl(h, 1, {1.5}, {2, NAN});
  return h.finish();
}
