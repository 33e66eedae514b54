// Reading and checking the arguments of one op call, and the adaptor for bf16.
//
// An op reads its arguments by position and its options by name, checks shapes, allocates results, and calls the
// backend with `in`/`out` operands. Every message names the op, the argument, and what was expected and given.
#pragma once

#include <napi.h>

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "errors.h"
#include "runtime.h"

namespace d2v {

/// Makes the C++ exception that is being handled a JavaScript one.
void throwCurrent(napi_env env) noexcept;
void throwAsJavaScript(napi_env env, const std::exception& error) noexcept;

constexpr int64_t kMaxInteger = (int64_t{1} << 53) - 1;
/// A value that no i32 has.
constexpr int64_t kNoIndex = std::numeric_limits<int64_t>::min();

/// A value and how messages call it.
struct Arg {
  napi_value value = nullptr;
  const char* name = "";
};

class Op;

/// The options object of a call. Reading remembers the names, `done()` rejects those that were never asked for.
class Options {
 public:
  Options(Op& op, napi_value object) : op_(op), object_(object) {}
  Arg operator[](const char* name);
  bool has(const char* name);
  void done();

 private:
  Op& op_;
  napi_value object_;  // null: no options were given
  std::vector<const char*> known_;
};

class Op {
 public:
  Op(napi_env env, const char* name, size_t argc, const napi_value* argv)
      : env(env), runtime(Runtime::of(Napi::Env(env))), name(name), argc_(argc), argv_(argv) {}

  const napi_env env;
  Runtime& runtime;
  const char* const name;

  // --- arguments
  Arg operator()(size_t i, const char* argument) const { return {i < argc_ ? argv_[i] : nullptr, argument}; }
  Options options(size_t i);
  bool absent(const Arg& a) const;  // undefined or null
  bool isTensor(const Arg& a) const;
  Tensor tensor(const Arg& a) const;
  std::optional<Tensor> optionalTensor(const Arg& a) const;
  /// 1 to 4096 of them.
  std::vector<Tensor> tensors(const Arg& a) const;
  Handle& handle(const Arg& a) const;
  double number(const Arg& a) const;
  double number(const Arg& a, double fallback) const { return absent(a) ? fallback : number(a); }
  double finite(const Arg& a) const;
  double finite(const Arg& a, double fallback) const { return absent(a) ? fallback : finite(a); }
  /// A finite number with lo <= x <= hi.
  double between(const Arg& a, double lo, double hi) const;
  int64_t integer(const Arg& a, int64_t lo, int64_t hi = kMaxInteger) const;
  int64_t integerOr(const Arg& a, int64_t fallback, int64_t lo, int64_t hi = kMaxInteger) const {
    return absent(a) ? fallback : integer(a, lo, hi);
  }
  bool flag(const Arg& a, bool fallback = false) const;
  std::string string(const Arg& a) const;
  /// Index of the string within `names`.
  int choice(const Arg& a, std::initializer_list<const char*> names, int fallback = -1) const;
  DType dtype(const Arg& a, DType fallback) const;
  std::vector<int64_t> integers(const Arg& a, int64_t lo, int64_t hi = kMaxInteger) const;
  /// Dimensions >= 1 whose product of bytes (at `t`) is no absurd number.
  Shape shape(const Arg& a, DType t) const;
  RngKey key(const Arg& a) const;
  std::shared_ptr<Device> device(const Arg& a) const;

  // --- checks
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void fail(const char* argument, const std::string& message) const;
  /// f32 or bf16, i.e. computable.
  const Tensor& floating(const Tensor& t, const char* argument) const;
  const Tensor& is(const Tensor& t, const char* argument, DType dtype) const;
  const Tensor& shaped(const Tensor& t, const char* argument, const Shape& shape) const;
  const Tensor& rank(const Tensor& t, const char* argument, int lo, int hi) const;
  void sameDevice(const Tensor& a, const Tensor& b, const char* argument) const;
  /// Every element of an i32 tensor is in [lo, hi), or `except`. Waits for the device only where it is not known from the
  /// host data that was written to the tensor.
  void indices(const Tensor& t, const char* argument, int64_t lo, int64_t hi, int64_t except = kNoIndex) const;
  /// Shape of a result: `shape` checked against overflow.
  const Shape& fits(const Shape& shape, DType t) const;
  /// Reads a float tensor on the device of `like` (or any, when null).
  Tensor floatTensor(const Arg& a, const Tensor* like = nullptr) const;
  std::optional<Tensor> optionalFloat(const Arg& a, const Tensor& like) const;
  /// Parameter gradients, moments, statistics.
  Tensor f32(const Arg& a, const Tensor* like = nullptr) const;
  std::optional<Tensor> optionalF32(const Arg& a, const Tensor& like) const;
  Tensor i32(const Arg& a, const Tensor& like) const;
  /// Scalars that stay on the device.
  Tensor f64(const Arg& a, const Tensor& like) const;

  // --- results and operands. Operands live until the Op ends.
  Tensor make(const Tensor& like, const Shape& shape) const { return make(like, shape, like.dtype); }
  Tensor make(const Tensor& like, const Shape& shape, DType dtype) const;
  Backend& backend(const Tensor& t) const {
    Backend& b = *t.device()->backend;
    b.enter();
    return b;
  }
  In in(const Tensor& t);
  In in(const std::optional<Tensor>& t) { return t ? in(*t) : In(); }
  Out out(const Tensor& t);
  Out out(const std::optional<Tensor>& t) { return t ? out(*t) : Out(); }
  /// Read and written.
  Out inout(const Tensor& t);
  /// Rounds what `out` and `inout` gave into the tensors; call it after the backend.
  void finish();
  Napi::Value result(const Tensor& t);
  Napi::Value undefined() const { return Napi::Env(env).Undefined(); }
  Napi::Value number(double value) const { return Napi::Number::New(env, value); }
  Napi::Value null() const { return Napi::Env(env).Null(); }
  Napi::Object object() const { return Napi::Object::New(env); }

 private:
  Tensor widened(const Tensor& t, bool read);
  /// An f32 twin that `finish` rounds into `t`.
  Out narrowed(const Tensor& t, bool read);
  /// All operands of a call have one dtype on a device that computes in bf16: none is widened there.
  void sameDType(const Tensor& t);
  struct Pending {
    Tensor from, to;
  };
  size_t argc_;
  const napi_value* argv_;
  std::vector<Tensor> held_;
  std::optional<DType> computed_;  // dtype of the operands
  std::vector<Pending> pending_;
};

}  // namespace d2v
