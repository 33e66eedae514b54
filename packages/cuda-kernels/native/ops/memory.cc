#include <algorithm>
#include <cstring>

#include "ops.h"

namespace d2v::ops {

namespace {

/// What a typed array holds.
struct HostArray {
  napi_typedarray_type type = napi_uint8_array;
  size_t length = 0;
  void* data = nullptr;
  size_t elementSize = 1;
};

const char* arrayName(napi_typedarray_type type) {
  static const char* const names[] = {"Int8Array",   "Uint8Array",   "Uint8ClampedArray", "Int16Array",
                                      "Uint16Array", "Int32Array",   "Uint32Array",       "Float32Array",
                                      "Float64Array", "BigInt64Array", "BigUint64Array"};
  const auto index = static_cast<size_t>(type);
  return index < sizeof names / sizeof *names ? names[index] : "typed array";
}

HostArray hostArray(Op& op, const Arg& a) {
  bool is = false;
  if (a.value != nullptr && napi_is_typedarray(op.env, a.value, &is) != napi_ok) is = false;
  if (!is) op.fail(a.name, "expected a typed array");
  HostArray h;
  if (napi_get_typedarray_info(op.env, a.value, &h.type, &h.length, &h.data, nullptr, nullptr) != napi_ok) {
    op.fail(a.name, "cannot be read (detached or of an unknown type)");
  }
  switch (h.type) {
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      h.elementSize = 1;
      break;
    case napi_uint16_array:
      h.elementSize = 2;
      break;
    case napi_int32_array:
    case napi_float32_array:
      h.elementSize = 4;
      break;
    case napi_float64_array:
    case napi_bigint64_array:
      h.elementSize = 8;
      break;
    default:
      op.fail(a.name, std::string("a ") + arrayName(h.type) +
                          " is not supported; use Float32Array, Float64Array, Int32Array, BigInt64Array, Uint8Array, "
                          "or Uint16Array with the bits of bf16 or f16");
  }
  if (h.length > 0 && h.data == nullptr) op.fail(a.name, "is detached");
  return h;
}

/// The dtype whose memory looks like the array; Uint16Array holds the bits of `wanted`, bf16 or f16.
DType arrayDType(Op& op, const Arg& a, const HostArray& h, std::optional<DType> wanted) {
  switch (h.type) {
    case napi_int32_array:
      return DType::I32;
    case napi_bigint64_array:
      return DType::I64;
    case napi_uint16_array:
      if (!wanted || (*wanted != DType::BF16 && *wanted != DType::F16)) {
        op.fail(a.name, "a Uint16Array holds the bits of bf16 or f16: the dtype must be one of them");
      }
      return *wanted;
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return DType::U8;
    case napi_float64_array:
      return wanted == DType::F64 ? DType::F64 : DType::F32;  // computing is done in f32: f64 only when asked for
    default:
      return DType::F32;
  }
}

/// What is known of the elements of `dst` once `data`, host memory of its dtype, is written to it.
void noteIndices(const Tensor& dst, const void* data) {
  dst.storage->indices.reset();
  if (dst.dtype != DType::I32) return;
  const auto* values = static_cast<const int32_t*>(data);
  const auto [min, max] = std::minmax_element(values, values + dst.size);
  dst.storage->indices = IndexRange{dst.offset, dst.offset + static_cast<int64_t>(dst.bytes()), *min, *max};
}

void load(Op& op, const Arg& a, const HostArray& h, const Tensor& dst) {
  if (static_cast<int64_t>(h.length) != dst.size) {
    op.fail(a.name, "has " + std::to_string(h.length) + " elements, expected " + std::to_string(dst.size) +
                        " for shape " + dst.shape.text());
  }
  const DType from = arrayDType(op, a, h, dst.dtype);
  Backend& backend = op.backend(dst);
  std::vector<float> narrowed;
  const void* data = h.data;
  if (h.type == napi_float64_array && from == DType::F32) {
    const double* source = static_cast<const double*>(h.data);
    narrowed.assign(source, source + h.length);
    data = narrowed.data();
  }
  if (from == dst.dtype) {
    backend.fromHost(dst.data(), data, static_cast<int64_t>(dst.bytes()));
    noteIndices(dst, data);
    return;
  }
  dst.storage->indices.reset();
  const Tensor staged = op.make(dst, dst.shape, from);
  backend.fromHost(staged.data(), data, static_cast<int64_t>(staged.bytes()));
  backend.cast(staged.data(), from, dst.data(), dst.dtype, dst.size);
}

}  // namespace

Napi::Value empty(Op& op) {
  const DType dtype = op.dtype(op(1, "dtype"), DType::F32);
  const Shape shape = op.shape(op(0, "shape"), dtype);
  return op.result(Tensor::empty(op.device(op(2, "device")), shape, dtype));
}

Napi::Value zeros(Op& op) {
  const DType dtype = op.dtype(op(1, "dtype"), DType::F32);
  const Shape shape = op.shape(op(0, "shape"), dtype);
  const Tensor t = Tensor::empty(op.device(op(2, "device")), shape, dtype);
  op.backend(t).fill(t.data(), dtype, 0, t.size);
  return op.result(t);
}

Napi::Value full(Op& op) {
  const DType dtype = op.dtype(op(2, "dtype"), DType::F32);
  const Shape shape = op.shape(op(0, "shape"), dtype);
  const double value = op.number(op(1, "value"));
  const Tensor t = Tensor::empty(op.device(op(3, "device")), shape, dtype);
  op.backend(t).fill(t.data(), dtype, value, t.size);
  return op.result(t);
}

Napi::Value fromArray(Op& op) {
  const Arg data = op(0, "data");
  const DType guess = arrayDType(op, data, hostArray(op, data), DType::BF16);
  Options options = op.options(2);
  const Arg dtypeArg = options["dtype"];
  const bool given = !op.absent(dtypeArg);
  const DType dtype = op.dtype(dtypeArg, guess);
  const auto device = op.device(options["device"]);
  options.done();
  const Shape shape = op.shape(op(1, "shape"), dtype);
  // Read again: reading options may have run code of the caller.
  const HostArray h = hostArray(op, data);
  if (h.type == napi_uint16_array) arrayDType(op, data, h, given ? std::optional<DType>(dtype) : std::nullopt);
  const int64_t size = shape.product();
  if (static_cast<int64_t>(h.length) != size) {
    op.fail("data", "has " + std::to_string(h.length) + " elements, expected " + std::to_string(size) +
                        " for shape " + shape.text());
  }
  const Tensor t = Tensor::empty(device, shape, dtype);
  load(op, data, h, t);
  return op.result(t);
}

Napi::Value write_(Op& op) {
  const Tensor dst = op.tensor(op(0, "dst"));
  const Arg data = op(1, "data");
  load(op, data, hostArray(op, data), dst);
  return op.undefined();
}

namespace {

/// A typed array of `size` elements of a dtype; `data` receives where they lie.
Napi::Value newArray(napi_env env, const char* op, DType dtype, int64_t size, void*& data) {
  napi_value buffer = nullptr, array = nullptr;
  const size_t bytes = static_cast<size_t>(size) * sizeOf(dtype);
  if (napi_create_arraybuffer(env, bytes, &data, &buffer) != napi_ok || data == nullptr) {
    throw OutOfMemory(std::string(op) + ": no memory for " + formatBytes(bytes));
  }
  napi_typedarray_type type = napi_float32_array;
  switch (dtype) {
    case DType::F32:
      break;
    case DType::BF16:
    case DType::F16:
      type = napi_uint16_array;
      break;
    case DType::I32:
      type = napi_int32_array;
      break;
    case DType::I64:
      type = napi_bigint64_array;
      break;
    case DType::U8:
      type = napi_uint8_array;
      break;
    case DType::F64:
      type = napi_float64_array;
      break;
  }
  if (napi_create_typedarray(env, type, static_cast<size_t>(size), buffer, 0, &array) != napi_ok) {
    throw Napi::Error::New(env);
  }
  return Napi::Value(env, array);
}

/// What a function made by readLater remembers.
struct Reading {
  std::shared_ptr<Device> device;  // outlives the readback
  std::unique_ptr<Readback> readback;
  std::vector<std::pair<DType, int64_t>> arrays;  // dtype and size

  Napi::Value read(napi_env env) const {
    const char* from = readback->wait();
    Napi::Array list = Napi::Array::New(env, arrays.size());
    uint32_t i = 0;
    for (const auto& [dtype, size] : arrays) {
      void* data = nullptr;
      list.Set(i++, newArray(env, "readLater", dtype, size, data));
      const size_t bytes = static_cast<size_t>(size) * sizeOf(dtype);
      std::memcpy(data, from, bytes);
      from += bytes;
    }
    return list;
  }
};

}  // namespace

/// (tensors) -> a function that gives their values of now as an array of typed arrays.
Napi::Value readLater(Op& op) {
  const std::vector<Tensor> tensors = op.tensors(op(0, "tensors"));
  auto reading = std::make_shared<Reading>();
  std::vector<Piece> pieces;
  for (const Tensor& t : tensors) {
    op.sameDevice(tensors.front(), t, "tensors");
    pieces.push_back({t.data(), static_cast<int64_t>(t.bytes())});
    reading->arrays.emplace_back(t.dtype, t.size);
  }
  reading->device = tensors.front().device();
  reading->readback = op.backend(tensors.front()).readback(pieces);
  return Napi::Function::New(op.env, [reading](const Napi::CallbackInfo& info) -> Napi::Value {
    try {
      return reading->read(info.Env());
    } catch (...) {
      throwCurrent(info.Env());
    }
    return info.Env().Undefined();
  });
}

Napi::Value toArray(Op& op) {
  const Tensor t = op.tensor(op(0, "t"));
  void* data = nullptr;
  const Napi::Value array = newArray(op.env, "toArray", t.dtype, t.size, data);
  op.backend(t).toHost(data, t.data(), static_cast<int64_t>(t.bytes()));
  return array;
}

Napi::Value bytes(Op& op) {
  const Tensor t = op.tensor(op(0, "t"));
  napi_value buffer = nullptr, array = nullptr;
  void* data = nullptr;
  if (napi_create_arraybuffer(op.env, t.bytes(), &data, &buffer) != napi_ok || data == nullptr) {
    throw OutOfMemory("bytes: no memory for " + formatBytes(t.bytes()));
  }
  op.backend(t).toHost(data, t.data(), static_cast<int64_t>(t.bytes()));
  if (napi_create_typedarray(op.env, napi_uint8_array, t.bytes(), buffer, 0, &array) != napi_ok) {
    throw Napi::Error::New(op.env);
  }
  return Napi::Value(op.env, array);
}

Napi::Value writeBytes_(Op& op) {
  const Tensor dst = op.tensor(op(0, "dst"));
  const HostArray h = hostArray(op, op(1, "data"));
  if (h.type != napi_uint8_array) op.fail("data", "expected a Uint8Array");
  if (h.length != dst.bytes()) {
    op.fail("data", "has " + std::to_string(h.length) + " bytes, expected " + std::to_string(dst.bytes()) + " for " +
                        nameOf(dst.dtype) + dst.shape.text());
  }
  op.backend(dst).fromHost(dst.data(), h.data, static_cast<int64_t>(h.length));
  dst.storage->indices.reset();
  return op.undefined();
}

Napi::Value item(Op& op) {
  const Tensor t = op.tensor(op(0, "t"));
  if (t.size != 1) op.fail("t", "expected one element, got shape " + t.shape.text());
  char raw[8] = {};
  op.backend(t).toHost(raw, t.data(), static_cast<int64_t>(t.bytes()));
  switch (t.dtype) {
    case DType::I64: {
      int64_t value = 0;
      std::memcpy(&value, raw, sizeof value);
      return op.number(static_cast<double>(value));
    }
    case DType::F64: {
      double value = 0;
      std::memcpy(&value, raw, sizeof value);
      return op.number(value);
    }
    case DType::I32: {
      int32_t value = 0;
      std::memcpy(&value, raw, sizeof value);
      return op.number(value);
    }
    default: {
      const Tensor wide = op.make(t, {1}, DType::F32);
      op.backend(t).cast(t.data(), t.dtype, wide.data(), DType::F32, 1);
      float value = 0;
      op.backend(t).toHost(&value, wide.data(), sizeof value);
      return op.number(static_cast<double>(value));
    }
  }
}

Napi::Value copy_(Op& op) {
  const Tensor dst = op.tensor(op(0, "dst")), src = op.tensor(op(1, "src"));
  op.shaped(src, "src", dst.shape);
  op.sameDevice(dst, src, "src");
  if (dst.overlaps(src)) {
    if (dst.dtype == src.dtype && dst.offset == src.offset) return op.undefined();
    op.fail("src", "overlaps dst in memory");
  }
  op.backend(dst).cast(src.data(), src.dtype, dst.data(), dst.dtype, dst.size);
  dst.storage->indices.reset();
  return op.undefined();
}

Napi::Value cast(Op& op) {
  const Tensor t = op.tensor(op(0, "t"));
  const Arg dtypeArg = op(1, "dtype");
  const DType dtype = static_cast<DType>(op.choice(dtypeArg, {"f32", "bf16", "f16", "i32", "i64", "u8", "f64"}));
  const Tensor y = op.make(t, t.shape, dtype);
  op.backend(t).cast(t.data(), t.dtype, y.data(), dtype, t.size);
  return op.result(y);
}

Napi::Value fill_(Op& op) {
  const Tensor t = op.tensor(op(0, "t"));
  const double value = op.number(op(1, "value"));
  op.backend(t).fill(t.data(), t.dtype, value, t.size);
  t.storage->indices.reset();
  return op.undefined();
}

Napi::Value view(Op& op) {
  const Tensor t = op.tensor(op(0, "t"));
  const int64_t offset = op.integer(op(1, "offset"), 0);
  const Shape shape = op.shape(op(2, "shape"), t.dtype);
  const int64_t size = shape.product();
  if (offset > t.size || size > t.size - offset) {
    op.fail("shape", shape.text() + " at element " + std::to_string(offset) + " is beyond the " +
                         std::to_string(t.size) + " elements of shape " + t.shape.text());
  }
  Tensor v = t;
  v.shape = shape;
  v.size = size;
  v.offset = t.offset + offset * static_cast<int64_t>(sizeOf(t.dtype));
  return op.result(v);
}

Napi::Value normal_(Op& op) {
  const Tensor t = op.floatTensor(op(0, "t"));
  const double mean = op.finite(op(1, "mean")), std = op.between(op(2, "std"), 0, 1e30);
  const RngKey key = op.key(op(3, "key"));
  op.backend(t).normal(op.out(t), mean, std, key, t.size);
  op.finish();
  return op.undefined();
}

Napi::Value uniform_(Op& op) {
  const Tensor t = op.floatTensor(op(0, "t"));
  const double lo = op.finite(op(1, "lo")), hi = op.finite(op(2, "hi"));
  if (hi < lo) op.fail("hi", "is smaller than lo");
  const RngKey key = op.key(op(3, "key"));
  op.backend(t).uniform(op.out(t), lo, hi, key, t.size);
  op.finish();
  return op.undefined();
}

}  // namespace d2v::ops
