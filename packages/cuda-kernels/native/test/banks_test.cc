// Shared memory of the kernels that use the tensor cores, at the models' shapes: the rows of a matrix fragment lie in different
// banks. Where they do not, results are right and the kernel is slow, which nothing else would show without a GPU.
#include "../cuda/emulator/emulator.h"
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

int failures = 0;

/// Runs the body and compares the turns per read with `most`.
void check(Harness& h, const std::string& name, double most, const std::function<void(Side&)>& body) {
  const cuda::emulator::MatrixReads before = cuda::emulator::matrixReads();
  h.check(name, DType::BF16, {}, body);
  const cuda::emulator::MatrixReads after = cuda::emulator::matrixReads();
  const int64_t reads = after.reads - before.reads;
  const double turns = static_cast<double>(after.turns - before.turns) / static_cast<double>(reads);
  const bool good = reads > 0 && turns <= most;
  std::printf("%-44s %9lld reads, %.3f turns each%s\n", name.c_str(), static_cast<long long>(reads), turns,
              good ? "" : "   FAILED");
  failures += !good;
}

void convolutions(Harness& h, const std::string& name, double most, const ConvShape& s) {
  const int64_t weights = s.cout * (s.cin / s.groups) * s.kH * s.kW;
  const int64_t inputs = s.batch * s.inH * s.inW * s.cin, outputs = s.batch * s.outH * s.outW * s.cout;
  check(h, name, most, [&](Side& side) {
    const In x = side.in(inputs), w = side.in(weights);
    const Out y = side.out(outputs);
    side.backend.conv(s, x, w, In(), y);
  });
  check(h, name + ", to the input", most, [&](Side& side) {
    const In dy = side.in(outputs), w = side.in(weights);
    const Out dx = side.out(inputs);
    side.backend.convGradInput(s, dy, w, dx);
  });
  check(h, name + ", to the weights", most, [&](Side& side) {
    const In dy = side.in(outputs), x = side.in(inputs);
    side.backend.convGradWeight(s, dy, x, side.f32InOut(weights), nullptr);
  });
}

void attention(Harness& h, const std::string& name, int64_t tokens) {
  constexpr int64_t width = 64;
  check(h, name, 1, [&](Side& s) {
    AttentionBackwardArgs b{};
    AttentionShape& shape = b.shape;
    shape.batch = 1, shape.heads = 1, shape.headDim = width, shape.tq = shape.tk = tokens;
    shape.ldq = shape.ldk = width;
    shape.scale = 0.125f;
    AttentionArgs a{};
    a.shape = shape;
    a.q = s.in(tokens * width), a.k = s.in(tokens * width), a.v = s.in(tokens * width);
    a.out = s.out(tokens * width);
    a.lse = s.f32Out(tokens);
    s.backend.attention(a);
    b.q = a.q, b.k = a.k, b.v = a.v, b.out = In{a.out.data, a.out.dtype}, b.lse = a.lse;
    b.dout = s.in(tokens * width);
    b.dq = s.out(tokens * width), b.dk = s.out(tokens * width), b.dv = s.out(tokens * width);
    s.backend.attentionBackward(b);
  });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  h.aligned();
  h.tolerance(5e-5, 2e-2);
  // Only pixels on both sides of the border of two images may meet in a bank.
  convolutions(h, "image decoder, 14 x 14, 3 x 3, 48", 1.06, {3, 14, 14, 48, 14, 14, 48, 1, 3, 3, 1, 1, 1, 1});
  convolutions(h, "image decoder, 14 x 14, 3 x 3, 64", 1.06, {3, 14, 14, 64, 14, 14, 64, 1, 3, 3, 1, 1, 1, 1});
  convolutions(h, "audio decoder, 7, 24", 1.06, {2, 1, 200, 24, 1, 200, 24, 1, 1, 7, 1, 1, 0, 3});
  convolutions(h, "audio positions, 19, 48", 1.06, {2, 1, 200, 48, 1, 200, 48, 1, 1, 19, 1, 1, 0, 9});
  attention(h, "attention, 40 tokens", 40);
  attention(h, "attention, 210 tokens", 210);
  return h.finish() | (failures > 0 ? 1 : 0);
}
