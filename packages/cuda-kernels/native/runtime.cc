#include "runtime.h"

#include "args.h"
#include "errors.h"
#include "gpus.h"

namespace d2v {

namespace {

/// Runs `body` and turns C++ exceptions into JavaScript ones.
template <typename Body>
napi_value guarded(napi_env env, const Body& body) {
  try {
    return body();
  } catch (...) {
    throwCurrent(env);
  }
  return nullptr;
}

Handle& self(napi_env env, napi_callback_info info) {
  napi_value receiver = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, &receiver, nullptr);
  Handle* handle = Runtime::of(Napi::Env(env)).unwrap(receiver);
  if (handle == nullptr) throw ArgumentError("the receiver is not a RawTensor");
  return *handle;
}

napi_value getShape(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Shape& shape = self(env, info).tensor.shape;
    Napi::Array array = Napi::Array::New(env, static_cast<size_t>(shape.rank));
    for (int i = 0; i < shape.rank; ++i) {
      array.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(shape[i])));
    }
    return array;
  });
}

napi_value getDtype(napi_env env, napi_callback_info info) {
  return guarded(
      env, [&]() -> napi_value { return Napi::String::New(env, nameOf(self(env, info).tensor.dtype)); });
}

napi_value getSize(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    return Napi::Number::New(env, static_cast<double>(self(env, info).tensor.size));
  });
}

napi_value getDevice(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    const Handle& handle = self(env, info);
    if (!handle.tensor.storage) throw DisposedError("device: the tensor is disposed");
    return Napi::String::New(env, handle.tensor.device()->name);
  });
}

napi_value getDisposed(napi_env env, napi_callback_info info) {
  return guarded(env,
                 [&]() -> napi_value { return Napi::Boolean::New(env, !self(env, info).tensor.storage); });
}

napi_value disposeMethod(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    Runtime::of(Napi::Env(env)).dispose(self(env, info));
    return nullptr;
  });
}

}  // namespace

napi_value constructTensor(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    Runtime& runtime = Runtime::of(Napi::Env(env));
    napi_value receiver = nullptr;
    napi_get_cb_info(env, info, nullptr, nullptr, &receiver, nullptr);
    if (!runtime.pending_) {
      throw ArgumentError("RawTensor cannot be constructed directly; use empty(), zeros(), full() or fromArray()");
    }
    Handle* handle = runtime.pending_.get();
    if (napi_wrap(env, receiver, handle, Runtime::finalize, nullptr, nullptr) != napi_ok) {
      throw Error("D2V_INTERNAL", "RawTensor: napi_wrap failed");
    }
    runtime.pending_.release();
    runtime.live_.insert(handle);
    return receiver;
  });
}

Runtime::Runtime(Napi::Env env) : env_(env), self_(std::make_shared<Runtime*>(this)) {
  devices_.push_back(makeCpuDevice());
}

Runtime::~Runtime() { *self_ = nullptr; }

void Runtime::defineTensorClass(Napi::Object exports) {
  const auto attributes = static_cast<napi_property_attributes>(napi_enumerable | napi_configurable);
  const napi_property_descriptor properties[] = {
      {"shape", nullptr, nullptr, getShape, nullptr, nullptr, attributes, nullptr},
      {"dtype", nullptr, nullptr, getDtype, nullptr, nullptr, attributes, nullptr},
      {"size", nullptr, nullptr, getSize, nullptr, nullptr, attributes, nullptr},
      {"device", nullptr, nullptr, getDevice, nullptr, nullptr, attributes, nullptr},
      {"disposed", nullptr, nullptr, getDisposed, nullptr, nullptr, attributes, nullptr},
      {"dispose", nullptr, disposeMethod, nullptr, nullptr, nullptr,
       static_cast<napi_property_attributes>(napi_writable | napi_configurable), nullptr},
  };
  napi_value constructor = nullptr;
  if (napi_define_class(env_, "RawTensor", NAPI_AUTO_LENGTH, constructTensor, nullptr,
                        sizeof properties / sizeof *properties, properties, &constructor) != napi_ok ||
      napi_create_reference(env_, constructor, 1, &constructor_) != napi_ok) {
    throw Napi::Error::New(env_, "RawTensor: napi_define_class failed");
  }
  exports.Set("RawTensor", Napi::Value(env_, constructor));
}

Napi::Value Runtime::wrap(Tensor tensor) {
  pending_ = std::make_unique<Handle>();
  pending_->tensor = std::move(tensor);
  pending_->owner = self_;
  Handle* handle = pending_.get();
  napi_value constructor = nullptr, instance = nullptr;
  napi_status status = napi_get_reference_value(env_, constructor_, &constructor);
  if (status == napi_ok) status = napi_new_instance(env_, constructor, 0, nullptr, &instance);
  if (status != napi_ok) {
    pending_.reset();
    throw Napi::Error::New(env_);  // takes the pending JavaScript exception, if any
  }
  if (!scopes_.empty()) {
    handle->scope = static_cast<int>(scopes_.size()) - 1;
    handle->scopeEntry = static_cast<int64_t>(scopes_.back().size());
    scopes_.back().push_back(handle);
  } else {
    count(*handle);
  }
  return Napi::Value(env_, instance);
}

Handle* Runtime::unwrap(napi_value value) const {
  void* data = nullptr;
  if (value == nullptr || napi_unwrap(env_, value, &data) != napi_ok) return nullptr;
  Handle* handle = static_cast<Handle*>(data);
  return live_.count(handle) ? handle : nullptr;  // an object of another addon is not in the set
}

/// Memory outside of scopes is only freed by dispose() or the garbage collector, which has to know of it. Each storage
/// is counted for one handle.
///
/// V8 hears of growth beyond the largest sum so far only. It begins a collection every few dozen MiB that it hears of, and an
/// update makes and frees gigabytes that need none: told of all of them, it collected seven times per update. What is
/// forgotten makes the sum grow beyond that, and is collected then.
void Runtime::count(Handle& handle) {
  Storage* storage = handle.tensor.storage.get();
  if (storage == nullptr || storage->counted) return;
  storage->counted = true;
  handle.counted = static_cast<int64_t>(storage->bytes);
  outside_ += handle.counted;
  if (outside_ <= told_) return;
  int64_t total = 0;
  napi_adjust_external_memory(env_, outside_ - told_, &total);
  told_ = outside_;
}

void Runtime::uncount(Handle& handle) {
  if (handle.counted == 0) return;
  outside_ -= handle.counted;
  handle.counted = 0;
  if (handle.tensor.storage) handle.tensor.storage->counted = false;
}

void Runtime::detach(Handle& handle) {
  if (handle.scope >= 0) scopes_[static_cast<size_t>(handle.scope)][static_cast<size_t>(handle.scopeEntry)] = nullptr;
  handle.scope = -1;
}

void Runtime::dispose(Handle& handle) {
  detach(handle);
  uncount(handle);
  handle.tensor.storage.reset();
}

void Runtime::finalize(napi_env, void* data, void*) {
  Handle* handle = static_cast<Handle*>(data);
  Runtime* runtime = *handle->owner;
  if (runtime != nullptr) {
    runtime->detach(*handle);
    runtime->live_.erase(handle);
    runtime->uncount(*handle);
  }
  delete handle;
}

int Runtime::beginScope() {
  scopes_.emplace_back();
  return static_cast<int>(scopes_.size()) - 1;
}

void Runtime::endScope(int scope, const std::vector<Handle*>& kept) {
  if (scope != static_cast<int>(scopes_.size()) - 1) throw ArgumentError("scope: scopes must end in reverse order");
  for (Handle* handle : kept) {
    if (handle->scope != scope) continue;
    detach(*handle);
    if (scope > 0) {
      auto& outer = scopes_[static_cast<size_t>(scope) - 1];
      handle->scope = scope - 1;
      handle->scopeEntry = static_cast<int64_t>(outer.size());
      outer.push_back(handle);
    } else {
      count(*handle);
    }
  }
  std::vector<Handle*> owned = std::move(scopes_.back());
  scopes_.pop_back();
  for (Handle* handle : owned) {
    if (handle == nullptr) continue;
    handle->scope = -1;
    handle->tensor.storage.reset();
  }
}

void Runtime::keep(Handle& handle) {
  detach(handle);
  count(handle);
}

void Runtime::synchronize() {
  for (const auto& device : devices_) {
    device->backend->enter();
    device->backend->synchronize();
  }
}

const std::shared_ptr<Device>& Runtime::device(const std::string& name) {
  for (const auto& device : devices_) {
    if (device->name == name) return device;
  }
  std::string known = devices_.front()->name;
  for (const Gpu& gpu : gpuReport().gpus) {
    if (gpu.device == name && !gpu.usable()) {
      throw ArgumentError("device \"" + name + "\" (" + gpu.name + ") cannot be used: " + gpu.obstacle.problem + ": " +
                          gpu.obstacle.remedy);
    }
    if (gpu.device == name) return devices_.emplace_back(makeCudaDevice(gpu));
    if (gpu.usable()) known += ", " + gpu.device;
  }
  const Obstacle& obstacle = gpuReport().obstacle;
  const bool gpu = name.rfind("cuda", 0) == 0;
  throw ArgumentError("device \"" + name + "\" is not available; available: " + known +
                      (gpu && !obstacle.problem.empty() ? " (" + obstacle.problem + ": " + obstacle.remedy + ")" : ""));
}

}  // namespace d2v
