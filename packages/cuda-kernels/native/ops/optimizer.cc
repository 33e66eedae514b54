#include "ops.h"

namespace d2v::ops {

namespace {

/// What gradControl made, or null.
const double* controlOf(Op& op, const Arg& a, const Tensor& like, std::optional<Tensor>& held) {
  if (op.absent(a)) return nullptr;
  held = op.f64(a, like);
  op.shaped(*held, a.name, {kGradControlSize});
  return held->as<double>();
}

}  // namespace

Napi::Value gradControl(Op& op) {
  const Tensor squares = op.tensor(op(0, "squares"));
  op.is(squares, "squares", DType::F64);
  std::optional<Tensor> losses;
  const Arg lossesArg = op(1, "losses");
  if (!op.absent(lossesArg)) losses = op.f64(lossesArg, squares);
  Options options = op.options(2);
  const double gradScale = op.finite(options["gradScale"], 1);
  const Arg clipArg = options["clipNorm"];
  const double clipNorm = op.absent(clipArg) ? 0 : op.between(clipArg, 0, 1e300);
  options.done();
  const Tensor control = op.make(squares, {kGradControlSize}, DType::F64);
  op.backend(squares).gradControl(squares.as<double>(), squares.size, losses ? losses->as<double>() : nullptr,
                                  losses ? losses->size : 0, gradScale, clipNorm, control.as<double>());
  return op.result(control);
}

Napi::Value adam_(Op& op) {
  const Tensor p = op.f32(op(0, "p"));
  const auto like = [&](const Arg& a) {
    const Tensor t = op.f32(a, &p);
    op.shaped(t, a.name, p.shape);
    return t;
  };
  const Tensor g = like(op(1, "g")), m = like(op(2, "m")), v = like(op(3, "v"));
  Options options = op.options(4);
  AdamArgs a{};
  a.lr = op.finite(options["lr"]);
  a.beta1 = op.between(options["beta1"], 0, 1);
  a.beta2 = op.between(options["beta2"], 0, 1);
  a.eps = op.between(options["eps"], 0, 1e6);
  a.weightDecay = op.finite(options["weightDecay"], 0);
  a.step = op.integer(options["step"], 1);
  a.gradScale = op.finite(options["gradScale"], 1);
  a.zeroGrad = op.flag(options["zeroGrad"]);
  std::optional<Tensor> teacher;
  const Arg teacherArg = options["teacher"];
  if (!op.absent(teacherArg)) teacher = like(teacherArg);
  const Arg decay = options["emaDecay"];
  a.emaDecay = teacher ? op.between(decay, 0, 1) : 1;
  std::optional<Tensor> control;
  a.control = controlOf(op, options["control"], p, control);
  options.done();
  const Tensor* all[] = {&p, &g, &m, &v, teacher ? &*teacher : nullptr};
  for (const Tensor* x : all) {
    for (const Tensor* y : all) {
      if (x != y && x != nullptr && y != nullptr && x->overlaps(*y)) {
        op.fail("p, g, m, v and teacher must not share memory");
      }
    }
  }
  a.p = p.as<float>();
  a.g = g.as<float>();
  a.m = m.as<float>();
  a.v = v.as<float>();
  a.teacher = teacher ? teacher->as<float>() : nullptr;
  a.n = p.size;
  op.backend(p).adam(a);
  return op.undefined();
}

Napi::Value ema_(Op& op) {
  const Tensor teacher = op.f32(op(0, "teacher"));
  const Tensor student = op.f32(op(1, "student"), &teacher);
  op.shaped(student, "student", teacher.shape);
  const double decay = op.between(op(2, "decay"), 0, 1);
  std::optional<Tensor> held;
  const double* control = controlOf(op, op(3, "control"), teacher, held);
  op.backend(teacher).ema(teacher.as<float>(), student.as<float>(), decay, teacher.size, control);
  return op.undefined();
}

}  // namespace d2v::ops
