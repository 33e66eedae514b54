// Unary and binary ops, scaling, softmax.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

// Less than a piece, a piece and a rest, more than the emulated grid has threads at once.
constexpr int64_t kSizes[] = {3, 7, 1003, 20011};

void unaries(Harness& h, DType t) {
  struct Case {
    Unary op;
    const char* name;
    double lo, hi;
  };
  constexpr Case cases[] = {{Unary::Gelu, "gelu", -8, 8},     {Unary::Relu, "relu", -2, 2}, {Unary::Tanh, "tanh", -5, 5},
                            {Unary::Sigmoid, "sigmoid", -9, 9}, {Unary::Exp, "exp", -5, 5},   {Unary::Log, "log", 0.1, 5},
                            {Unary::Sqrt, "sqrt", 0.1, 9},      {Unary::Square, "square", -3, 3}};
  for (const Case& c : cases) {
    for (const int64_t n : kSizes) {
      h.check(c.name, t, {n}, [&](Side& s) {
        const In x = s.in(n, c.lo, c.hi);
        s.backend.unary(c.op, x, s.out(n), n);
      });
      h.check(std::string(c.name) + " backward", t, {n}, [&](Side& s) {
        const In dy = s.in(n), x = s.in(n, c.lo, c.hi), y = s.in(n, 0.1, 1);
        s.backend.unaryBackward(c.op, dy, x, y, s.out(n), n);
      });
    }
    h.check(std::string(c.name) + " of no numbers", t, {4}, [&](Side& s) {
      const In x = s.in(std::vector<float>{NAN, INFINITY, -INFINITY, 0});
      s.backend.unary(c.op, x, s.out(4), 4);
    });
  }
}

void binaries(Harness& h, DType t) {
  constexpr std::pair<int64_t, int64_t> shapes[] = {{1, 1},  {1, 20011}, {5003, 1},  {300, 8},
                                                    {70, 24}, {3, 2056},  {1000, 3}, {9, 2053}};
  constexpr std::pair<Binary, const char*> ops[] = {{Binary::Add, "add"}, {Binary::Sub, "sub"}, {Binary::Mul, "mul"}};
  for (const auto& [op, name] : ops) {
    for (const auto& [outer, inner] : shapes) {
      h.check(name, t, {outer, inner}, [&, op = op, outer = outer, inner = inner](Side& s) {
        const In a = s.in(outer * inner), b = s.in(inner);
        s.backend.binary(op, a, b, s.out(outer * inner), outer, inner);
      });
      h.check(std::string(name) + " in place", t, {outer, inner}, [&, op = op, outer = outer, inner = inner](Side& s) {
        const Out a = s.inout(outer * inner);
        const In b = s.in(inner);
        s.backend.binary(op, In(a.data, a.dtype), b, a, outer, inner);
      });
    }
  }
}

void scalings(Harness& h, DType t) {
  for (const int64_t n : kSizes) {
    h.check("scale", t, {n}, [&](Side& s) {
      const In x = s.in(n);
      s.backend.scale(x, 0.3, s.out(n), n);
    });
    h.check("axpy", t, {n}, [&](Side& s) {
      const Out y = s.inout(n);
      s.backend.axpy(y, -1.7, s.in(n), n);
    });
  }
  constexpr std::pair<int64_t, int64_t> shapes[] = {{1, 1}, {300, 1}, {5, 2056}, {40, 24}, {7, 1001}};
  for (const auto& [b, inner] : shapes) {
    h.check("scaleRows", t, {b, inner}, [&, b = b, inner = inner](Side& s) {
      const In x = s.in(b * inner);
      const float* factors = s.f32(b);
      s.backend.scaleRows(x, factors, s.out(b * inner), b, inner);
    });
  }
}

void softmaxes(Harness& h, DType t) {
  // A row per warp and per block, with and without rests.
  constexpr std::pair<int64_t, int64_t> shapes[] = {{1, 1}, {9, 10}, {17, 40}, {8, 1000}, {3, 999}, {2, 4096}, {2, 5003}};
  for (const auto& [rows, d] : shapes) {
    h.check("softmax", t, {rows, d}, [&, rows = rows, d = d](Side& s) {
      const In x = s.in(rows * d, -20, 20);
      s.backend.softmax(x, s.out(rows * d), rows, d);
    });
    h.check("logSoftmax", t, {rows, d}, [&, rows = rows, d = d](Side& s) {
      const In x = s.in(rows * d, -20, 20);
      s.backend.logSoftmax(x, s.out(rows * d), rows, d);
    });
    h.check("softmaxBackward", t, {rows, d}, [&, rows = rows, d = d](Side& s) {
      const In dy = s.in(rows * d), y = s.in(rows * d, 0, 2.0 / static_cast<double>(d));
      s.backend.softmaxBackward(dy, y, s.out(rows * d), rows, d);
    });
  }
  h.check("softmax with -inf", t, {1, 5}, [&](Side& s) {
    const In x = s.in(std::vector<float>{1, -INFINITY, 3, -INFINITY, 0});
    s.backend.softmax(x, s.out(5), 1, 5);
  });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  for (const DType t : kFloats) {
    unaries(h, t);
    binaries(h, t);
    scalings(h, t);
    softmaxes(h, t);
  }
  return h.finish();
}
