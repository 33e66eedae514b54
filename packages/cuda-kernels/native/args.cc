#include "args.h"

#include <cmath>
#include <cstring>

namespace d2v {

void throwCurrent(napi_env env) noexcept {
  // Statuses are ignored: in a worker that is being terminated nothing can be thrown, and nobody would see it.
  try {
    throw;
  } catch (const Napi::Error& error) {
    const napi_value value = error.Value();
    if (value != nullptr) napi_throw(env, value);
  } catch (const std::exception& error) {
    throwAsJavaScript(env, error);
  } catch (...) {
    napi_throw_error(env, "D2V_INTERNAL", "unknown native error");
  }
}

void throwAsJavaScript(napi_env env, const std::exception& error) noexcept {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) return;
  const auto* known = dynamic_cast<const Error*>(&error);
  if (known != nullptr) {
    napi_throw_error(env, known->code, error.what());
  } else if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    napi_throw_error(env, "D2V_OUT_OF_MEMORY", "out of memory");
  } else {
    napi_throw_error(env, "D2V_INTERNAL", error.what());
  }
}

namespace {

void check(napi_env env, napi_status status) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

napi_valuetype typeOf(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  if (value != nullptr) check(env, napi_typeof(env, value, &type));
  return type;
}

/// What a wrong value is, for messages.
std::string describe(const Op& op, napi_value value) {
  switch (typeOf(op.env, value)) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number: {
      double number = 0;
      napi_get_value_double(op.env, value, &number);
      if (std::isnan(number)) return "NaN";
      if (number == std::floor(number) && std::fabs(number) < 9e18) {
        return std::to_string(static_cast<int64_t>(number));
      }
      char text[32];
      std::snprintf(text, sizeof text, "%g", number);
      return text;
    }
    case napi_string: {
      size_t length = 0;
      char text[48];
      napi_get_value_string_utf8(op.env, value, text, sizeof text, &length);
      return "\"" + std::string(text, length) + "\"";
    }
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    case napi_external:
      return "an external";
    case napi_object: {
      bool is = false;
      if (napi_is_array(op.env, value, &is) == napi_ok && is) return "an array";
      if (napi_is_typedarray(op.env, value, &is) == napi_ok && is) return "a typed array";
      const Handle* handle = op.runtime.unwrap(value);
      if (handle != nullptr) {
        return std::string("a tensor ") + nameOf(handle->tensor.dtype) + handle->tensor.shape.text();
      }
      return "an object";
    }
  }
  return "something else";
}

std::string text(int64_t n) { return std::to_string(n); }

std::string text(double x) {
  char s[32];
  std::snprintf(s, sizeof s, "%g", x);
  return s;
}

}  // namespace

// --- options

Arg Options::operator[](const char* name) {
  known_.push_back(name);
  if (object_ == nullptr) return {nullptr, name};
  napi_value value = nullptr;
  check(op_.env, napi_get_named_property(op_.env, object_, name, &value));
  return {value, name};
}

bool Options::has(const char* name) { return !op_.absent((*this)[name]); }

void Options::done() {
  if (object_ == nullptr) return;
  napi_value names = nullptr;
  check(op_.env, napi_get_property_names(op_.env, object_, &names));
  uint32_t count = 0;
  check(op_.env, napi_get_array_length(op_.env, names, &count));
  for (uint32_t i = 0; i < count; ++i) {
    napi_value key = nullptr;
    check(op_.env, napi_get_element(op_.env, names, i, &key));
    char given[64];
    size_t length = 0;
    check(op_.env, napi_get_value_string_utf8(op_.env, key, given, sizeof given, &length));
    bool found = false;
    for (const char* name : known_) found = found || std::strcmp(name, given) == 0;
    if (found) continue;
    std::string list;
    for (size_t k = 0; k < known_.size(); ++k) {
      bool repeated = false;
      for (size_t j = 0; j < k; ++j) repeated = repeated || std::strcmp(known_[j], known_[k]) == 0;
      if (!repeated) list += (list.empty() ? "" : ", ") + std::string(known_[k]);
    }
    op_.fail("unknown option '" + std::string(given, length) + "'; known options: " + list);
  }
}

Options Op::options(size_t i) {
  const Arg a = (*this)(i, "options");
  if (absent(a)) return Options(*this, nullptr);
  bool array = false;
  check(env, napi_is_array(env, a.value, &array));
  if (typeOf(env, a.value) != napi_object || array || runtime.unwrap(a.value) != nullptr) {
    fail("options", "expected an object, got " + describe(*this, a.value));
  }
  return Options(*this, a.value);
}

// --- arguments

void Op::fail(const std::string& message) const { throw ArgumentError(std::string(name) + ": " + message); }

void Op::fail(const char* argument, const std::string& message) const {
  throw ArgumentError(std::string(name) + ": " + argument + ": " + message);
}

bool Op::absent(const Arg& a) const {
  const napi_valuetype type = typeOf(env, a.value);
  return type == napi_undefined || type == napi_null;
}

Handle& Op::handle(const Arg& a) const {
  Handle* handle = typeOf(env, a.value) == napi_object ? runtime.unwrap(a.value) : nullptr;
  if (handle == nullptr) fail(a.name, "expected a tensor, got " + describe(*this, a.value));
  return *handle;
}

bool Op::isTensor(const Arg& a) const {
  return typeOf(env, a.value) == napi_object && runtime.unwrap(a.value) != nullptr;
}

Tensor Op::tensor(const Arg& a) const {
  const Handle& h = handle(a);
  if (!h.tensor.storage) {
    throw DisposedError(std::string(name) + ": " + a.name + ": the tensor " + nameOf(h.tensor.dtype) +
                        h.tensor.shape.text() + " is disposed");
  }
  return h.tensor;
}

std::optional<Tensor> Op::optionalTensor(const Arg& a) const {
  if (absent(a)) return std::nullopt;
  return tensor(a);
}

std::vector<Tensor> Op::tensors(const Arg& a) const {
  bool array = false;
  uint32_t count = 0;
  if (a.value != nullptr) napi_is_array(env, a.value, &array);
  if (array) napi_get_array_length(env, a.value, &count);
  if (count < 1 || count > 4096) fail(a.name, "expected an array of 1 to 4096 tensors");
  std::vector<Tensor> list;
  list.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    napi_value element = nullptr;
    check(env, napi_get_element(env, a.value, i, &element));
    const std::string elementName = std::string(a.name) + "[" + std::to_string(i) + "]";
    list.push_back(tensor({element, elementName.c_str()}));
  }
  return list;
}

double Op::number(const Arg& a) const {
  if (typeOf(env, a.value) != napi_number) fail(a.name, "expected a number, got " + describe(*this, a.value));
  double value = 0;
  check(env, napi_get_value_double(env, a.value, &value));
  return value;
}

double Op::finite(const Arg& a) const {
  const double value = number(a);
  if (!std::isfinite(value)) fail(a.name, "expected a finite number, got " + text(value));
  return value;
}

double Op::between(const Arg& a, double lo, double hi) const {
  const double value = finite(a);
  if (value < lo || value > hi) {
    fail(a.name, "expected a number from " + text(lo) + " to " + text(hi) + ", got " + text(value));
  }
  return value;
}

int64_t Op::integer(const Arg& a, int64_t lo, int64_t hi) const {
  const double value = typeOf(env, a.value) == napi_number ? number(a) : std::nan("");
  if (!(value == std::floor(value)) || value < static_cast<double>(lo) || value > static_cast<double>(hi)) {
    const std::string range = hi == kMaxInteger ? ">= " + text(lo) : "from " + text(lo) + " to " + text(hi);
    fail(a.name, "expected an integer " + range + ", got " + describe(*this, a.value));
  }
  return static_cast<int64_t>(value);
}

bool Op::flag(const Arg& a, bool fallback) const {
  if (absent(a)) return fallback;
  if (typeOf(env, a.value) != napi_boolean) fail(a.name, "expected a boolean, got " + describe(*this, a.value));
  bool value = false;
  check(env, napi_get_value_bool(env, a.value, &value));
  return value;
}

std::string Op::string(const Arg& a) const {
  if (typeOf(env, a.value) != napi_string) fail(a.name, "expected a string, got " + describe(*this, a.value));
  char buffer[64];
  size_t length = 0;
  check(env, napi_get_value_string_utf8(env, a.value, buffer, sizeof buffer, &length));
  return std::string(buffer, length);
}

int Op::choice(const Arg& a, std::initializer_list<const char*> names, int fallback) const {
  if (fallback >= 0 && absent(a)) return fallback;
  std::string list;
  int i = 0;
  const bool isString = typeOf(env, a.value) == napi_string;
  const std::string given = isString ? string(a) : std::string();
  for (const char* candidate : names) {
    if (isString && given == candidate) return i;
    list += (i++ ? ", '" : "'") + std::string(candidate) + "'";
  }
  fail(a.name, "expected one of " + list + ", got " + describe(*this, a.value));
}

DType Op::dtype(const Arg& a, DType fallback) const {
  return static_cast<DType>(choice(a, {"f32", "bf16", "f16", "i32", "i64", "u8", "f64"}, static_cast<int>(fallback)));
}

std::vector<int64_t> Op::integers(const Arg& a, int64_t lo, int64_t hi) const {
  bool array = false;
  if (a.value != nullptr) check(env, napi_is_array(env, a.value, &array));
  if (!array) fail(a.name, "expected an array of integers, got " + describe(*this, a.value));
  uint32_t length = 0;
  check(env, napi_get_array_length(env, a.value, &length));
  if (length > 64) fail(a.name, "expected at most 64 integers, got " + text(static_cast<int64_t>(length)));
  std::vector<int64_t> list;
  list.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    napi_value element = nullptr;
    check(env, napi_get_element(env, a.value, i, &element));
    const std::string elementName = std::string(a.name) + "[" + std::to_string(i) + "]";
    list.push_back(integer({element, elementName.c_str()}, lo, hi));
  }
  return list;
}

const Shape& Op::fits(const Shape& shape, DType t) const {
  constexpr int64_t most = int64_t{1} << 46;
  int64_t bytes = static_cast<int64_t>(sizeOf(t));
  for (int i = 0; i < shape.rank; ++i) {
    if (shape[i] < 1) fail("shape " + shape.text() + ": every dimension must be at least 1");
    if (shape[i] > most / bytes) {
      throw OutOfMemory(std::string(name) + ": a tensor of shape " + shape.text() + " is too large");
    }
    bytes *= shape[i];
  }
  return shape;
}

Shape Op::shape(const Arg& a, DType t) const {
  const std::vector<int64_t> list = integers(a, 1);
  if (list.size() > static_cast<size_t>(kMaxRank)) {
    fail(a.name, "expected at most 8 dimensions, got " + std::to_string(list.size()));
  }
  Shape shape;
  for (int64_t d : list) shape.push(d);
  return fits(shape, t);
}

RngKey Op::key(const Arg& a) const {
  bool array = false;
  if (a.value != nullptr) check(env, napi_is_array(env, a.value, &array));
  if (typeOf(env, a.value) != napi_object || array) {
    fail(a.name, "expected {seed, update, stream}, got " + describe(*this, a.value));
  }
  const auto part = [&](const char* field, const char* label, int64_t hi) {
    napi_value value = nullptr;
    check(env, napi_get_named_property(env, a.value, field, &value));
    return static_cast<uint64_t>(integer({value, label}, 0, hi));
  };
  const uint64_t seed = part("seed", "key.seed", kMaxInteger);
  RngKey key;
  key.seedLo = static_cast<uint32_t>(seed);
  key.seedHi = static_cast<uint32_t>(seed >> 32);
  key.update = static_cast<uint32_t>(part("update", "key.update", 0xffffffffll));
  key.stream = static_cast<uint32_t>(part("stream", "key.stream", 0xffffffffll));
  return key;
}

std::shared_ptr<Device> Op::device(const Arg& a) const {
  if (absent(a)) return runtime.cpu();
  const std::string wanted = string(a);
  try {
    return runtime.device(wanted);
  } catch (const ArgumentError& error) {
    fail(a.name, error.what());
  }
}

// --- checks

const Tensor& Op::floating(const Tensor& t, const char* argument) const {
  if (t.dtype != DType::F32 && t.dtype != DType::BF16) {
    fail(argument, std::string("expected dtype f32 or bf16, got ") + nameOf(t.dtype) + " (shape " + t.shape.text() + ")");
  }
  return t;
}

const Tensor& Op::is(const Tensor& t, const char* argument, DType dtype) const {
  if (t.dtype != dtype) {
    fail(argument, std::string("expected dtype ") + nameOf(dtype) + ", got " + nameOf(t.dtype) + " (shape " +
                       t.shape.text() + ")");
  }
  return t;
}

const Tensor& Op::shaped(const Tensor& t, const char* argument, const Shape& shape) const {
  if (t.shape != shape) fail(argument, "expected shape " + shape.text() + ", got " + t.shape.text());
  return t;
}

const Tensor& Op::rank(const Tensor& t, const char* argument, int lo, int hi) const {
  if (t.shape.rank < lo || t.shape.rank > hi) {
    const std::string expected = lo == hi ? std::to_string(lo) : std::to_string(lo) + " to " + std::to_string(hi);
    fail(argument, "expected " + expected + " dimensions, got shape " + t.shape.text());
  }
  return t;
}

void Op::sameDevice(const Tensor& a, const Tensor& b, const char* argument) const {
  if (a.device() != b.device()) {
    fail(argument, "is on device " + b.device()->name + ", expected " + a.device()->name);
  }
}

void Op::indices(const Tensor& t, const char* argument, int64_t lo, int64_t hi, int64_t except) const {
  const IndexRange* known = t.knownRange();
  if (known != nullptr && known->min >= lo && known->max < hi) return;
  const int64_t bad = backend(t).findOutOfRange(t.as<int32_t>(), t.size, lo, hi, except);
  if (bad < 0) return;
  int32_t value = 0;
  backend(t).toHost(&value, t.as<int32_t>() + bad, sizeof value);
  fail(argument, "value " + std::to_string(value) + " at element " + text(bad) + " is outside [" + text(lo) + ", " +
                     text(hi) + ")");
}

Tensor Op::floatTensor(const Arg& a, const Tensor* like) const {
  Tensor t = tensor(a);
  floating(t, a.name);
  if (like != nullptr) sameDevice(*like, t, a.name);
  return t;
}

std::optional<Tensor> Op::optionalFloat(const Arg& a, const Tensor& like) const {
  if (absent(a)) return std::nullopt;
  return floatTensor(a, &like);
}

Tensor Op::f32(const Arg& a, const Tensor* like) const {
  Tensor t = tensor(a);
  is(t, a.name, DType::F32);
  if (like != nullptr) sameDevice(*like, t, a.name);
  return t;
}

std::optional<Tensor> Op::optionalF32(const Arg& a, const Tensor& like) const {
  if (absent(a)) return std::nullopt;
  return f32(a, &like);
}

Tensor Op::i32(const Arg& a, const Tensor& like) const {
  Tensor t = tensor(a);
  is(t, a.name, DType::I32);
  sameDevice(like, t, a.name);
  return t;
}

Tensor Op::f64(const Arg& a, const Tensor& like) const {
  Tensor t = tensor(a);
  is(t, a.name, DType::F64);
  sameDevice(like, t, a.name);
  return t;
}

// --- operands

Tensor Op::make(const Tensor& like, const Shape& shape, DType dtype) const {
  return Tensor::empty(like.device(), fits(shape, dtype), dtype);
}

/// The bf16 adaptor: an f32 twin of a bf16 tensor, for backends that compute in f32 only.
Tensor Op::widened(const Tensor& t, bool read) {
  Tensor wide = Tensor::empty(t.device(), t.shape, DType::F32);
  if (read) backend(t).cast(t.data(), t.dtype, wide.data(), DType::F32, t.size);
  return wide;
}

void Op::sameDType(const Tensor& t) {
  if (!computed_) computed_ = t.dtype;
  if (t.dtype == *computed_) return;
  fail(std::string("an operand of shape ") + t.shape.text() + " is " + nameOf(t.dtype) + " beside others of " +
       nameOf(*computed_) + "; on " + t.device()->name + " all must have one dtype");
}

In Op::in(const Tensor& t) {
  if (backend(t).computesBf16()) {
    sameDType(t);
    held_.push_back(t);
  } else {
    held_.push_back(t.dtype == DType::F32 ? t : widened(t, true));
  }
  return In(held_.back().data(), held_.back().dtype);
}

Out Op::out(const Tensor& t) {
  if (backend(t).computesBf16()) sameDType(t);
  else if (t.dtype != DType::F32) return narrowed(t, false);
  return Out(t.data(), t.dtype);
}

Out Op::inout(const Tensor& t) {
  if (backend(t).computesBf16()) sameDType(t);
  else if (t.dtype != DType::F32) return narrowed(t, true);
  return Out(t.data(), t.dtype);
}

Out Op::narrowed(const Tensor& t, bool read) {
  Tensor wide = widened(t, read);
  pending_.push_back({wide, t});
  return Out(wide.as<float>());
}

void Op::finish() {
  for (const Pending& p : pending_) {
    backend(p.to).cast(p.from.data(), p.from.dtype, p.to.data(), p.to.dtype, p.to.size);
  }
  pending_.clear();
}

Napi::Value Op::result(const Tensor& t) {
  finish();
  return runtime.wrap(t);
}

}  // namespace d2v
