// What one JavaScript environment (main thread or worker) owns: devices, the tensor class, scopes, the profile.
// Nothing of it is shared between environments.
#pragma once

#include <napi.h>

#include <map>
#include <memory>
#include <unordered_set>
#include <vector>

#include "tensor.h"

namespace d2v {

/// The native side of a RawTensor. `tensor.storage` is null once it is disposed.
struct Handle {
  Tensor tensor;
  int scope = -1;           // index of the scope that frees it, -1: none
  int64_t counted = 0;      // bytes, in Runtime::outside_
  int64_t scopeEntry = -1;  // its place in the scope's list
  std::shared_ptr<class Runtime*> owner;  // points at null once the environment's runtime is gone
};

struct OpTime {
  uint64_t nanoseconds = 0;
  uint64_t calls = 0;
};

class Runtime {
 public:
  explicit Runtime(Napi::Env env);
  ~Runtime();

  static Runtime& of(Napi::Env env) { return *env.GetInstanceData<Runtime>(); }

  /// Defines the class RawTensor and puts it into `exports`.
  void defineTensorClass(Napi::Object exports);
  /// A new JavaScript tensor, owned by the innermost scope.
  Napi::Value wrap(Tensor tensor);
  /// The handle of a RawTensor, or null if the value is something else.
  Handle* unwrap(napi_value value) const;
  void dispose(Handle& handle);

  int beginScope();
  /// Frees what the innermost scope (which must be number `scope`) still owns; `kept` moves to the one outside.
  void endScope(int scope, const std::vector<Handle*>& kept);
  void keep(Handle& handle);

  /// A GPU is opened when it is first asked for. Throws ArgumentError where there is no such device.
  const std::shared_ptr<Device>& device(const std::string& name);
  const std::shared_ptr<Device>& cpu() const { return devices_.front(); }

  /// Waits for all open devices.
  void synchronize();

  bool profiling = false;
  std::map<std::string, OpTime> profile;

 private:
  friend napi_value constructTensor(napi_env env, napi_callback_info info);
  static void finalize(napi_env env, void* data, void* hint);
  void detach(Handle& handle);
  void count(Handle& handle);
  void uncount(Handle& handle);

  Napi::Env env_;
  std::vector<std::shared_ptr<Device>> devices_;  // that are open; the CPU first
  napi_ref constructor_ = nullptr;
  std::unique_ptr<Handle> pending_;  // given to the constructor that `wrap` calls
  std::unordered_set<const Handle*> live_;
  std::vector<std::vector<Handle*>> scopes_;
  int64_t outside_ = 0;  // bytes of tensors outside of scopes
  int64_t told_ = 0;     // the most of them so far, which V8 knows of
  std::shared_ptr<Runtime*> self_;
};

}  // namespace d2v
