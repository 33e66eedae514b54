#include "ops.h"

namespace d2v::ops {

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
  op.backend(teacher).ema(teacher.as<float>(), student.as<float>(), decay, teacher.size);
  return op.undefined();
}

}  // namespace d2v::ops
