// The Node-API surface: a table with one line per op. Arguments are checked in ops/, the work is done by a Backend.
#include <napi.h>

#include <chrono>
#include <memory>

#include "ops/ops.h"

namespace d2v {

/// Changes when the JavaScript side and the addon would no longer understand each other; src/native.ts checks it.
constexpr int kAbi = 3;

namespace {

struct Entry {
  const char* name;
  ops::Fn fn;
};

const Entry kEntries[] = {
    {"empty", ops::empty},
    {"zeros", ops::zeros},
    {"full", ops::full},
    {"fromArray", ops::fromArray},
    {"toArray", ops::toArray},
    {"item", ops::item},
    {"copy_", ops::copy_},
    {"cast", ops::cast},
    {"fill_", ops::fill_},
    {"write_", ops::write_},
    {"bytes", ops::bytes},
    {"writeBytes_", ops::writeBytes_},
    {"view", ops::view},
    {"readLater", ops::readLater},
    {"normal_", ops::normal_},
    {"uniform_", ops::uniform_},
    {"linear", ops::linear},
    {"linearGradInput", ops::linearGradInput},
    {"linearGradWeight_", ops::linearGradWeight_},
    {"matmul", ops::matmul},
    {"layerNorm", ops::layerNorm},
    {"layerNormBackward", ops::layerNormBackward},
    {"attention", ops::attention},
    {"attentionBackward", ops::attentionBackward},
    {"conv", ops::conv},
    {"convGradInput", ops::convGradInput},
    {"convGradWeight_", ops::convGradWeight_},
    {"patchify", ops::patchify},
    {"unpatchify", ops::unpatchify},
    {"gatherTokens", ops::gatherTokens},
    {"gatherTokensBackward", ops::gatherTokensBackward},
    {"restoreTokens", ops::restoreTokens},
    {"restoreTokensBackward", ops::restoreTokensBackward},
    {"repeatRows", ops::repeatRows},
    {"repeatRowsBackward", ops::repeatRowsBackward},
    {"slice", ops::slice},
    {"sliceBackward", ops::sliceBackward},
    {"concat", ops::concat},
    {"transpose", ops::transpose},
    {"embedding", ops::embedding},
    {"embeddingGrad_", ops::embeddingGrad_},
    {"accumulateTarget_", ops::accumulateTarget_},
    {"instanceNorm", ops::instanceNorm},
    {"maskedLoss", ops::maskedLoss},
    {"featureStd", ops::featureStd},
    {"crossEntropy", ops::crossEntropy},
    {"add", ops::add},
    {"sub", ops::sub},
    {"mul", ops::mul},
    {"scale", ops::scale},
    {"scale_", ops::scale_},
    {"axpy_", ops::axpy_},
    {"scaleRows", ops::scaleRows},
    {"unary", ops::unary},
    {"unaryBackward", ops::unaryBackward},
    {"dropout", ops::dropout},
    {"softmax", ops::softmax},
    {"softmaxBackward", ops::softmaxBackward},
    {"logSoftmax", ops::logSoftmax},
    {"sumTo", ops::sumTo},
    {"sum", ops::sum},
    {"sumSquares", ops::sumSquares},
    {"meanTokens", ops::meanTokens},
    {"meanTokensBackward", ops::meanTokensBackward},
    {"gradControl", ops::gradControl},
    {"adam_", ops::adam_},
    {"ema_", ops::ema_},
    {"deviceInfo", ops::deviceInfo},
    {"cudaGemmLibrary", ops::cudaGemmLibrary},
    {"setTf32", ops::setTf32},
    {"gemmReport", ops::gemmReport},
    {"asynchronous", ops::asynchronous},
    {"setThreads", ops::setThreads},
    {"memoryStats", ops::memoryStats},
    {"resetPeakMemory", ops::resetPeakMemory},
    {"emptyCache", ops::emptyCache},
    {"synchronize", ops::synchronize},
    {"recordGraph", ops::recordGraph},
    {"startGraph", ops::startGraph},
    {"graphStats", ops::graphStats},
    {"scopeBegin", ops::scopeBegin},
    {"scopeEnd", ops::scopeEnd},
    {"keep", ops::keep},
    {"profileStart", ops::profileStart},
    {"profileStop", ops::profileStop},
    {"profileReport", ops::profileReport},
};

napi_value run(const Entry& entry, napi_env env, size_t argc, const napi_value* argv) {
  try {
    Op op(env, entry.name, argc, argv);
    if (!op.runtime.profiling) return entry.fn(op);
    const auto start = std::chrono::steady_clock::now();
    const napi_value result = entry.fn(op);
    if (!op.runtime.profiling) return result;  // it was profileStop
    op.runtime.synchronize();                  // the device's time, not that of asking for it
    const auto elapsed = std::chrono::steady_clock::now() - start;
    OpTime& time = op.runtime.profile[entry.name];
    time.nanoseconds += static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
    time.calls += 1;
    return result;
  } catch (...) {
    throwCurrent(env);
  }
  return nullptr;
}

napi_value call(napi_env env, napi_callback_info info) {
  constexpr size_t most = 8;
  size_t argc = most;
  napi_value argv[most];
  void* data = nullptr;
  if (napi_get_cb_info(env, info, &argc, argv, nullptr, &data) != napi_ok) return nullptr;
  return run(*static_cast<const Entry*>(data), env, argc < most ? argc : most, argv);
}

void init(Napi::Env env, Napi::Object exports) {
  auto owned = std::make_unique<Runtime>(env);
  Runtime* runtime = owned.get();
  env.SetInstanceData<Runtime>(runtime);
  owned.release();
  runtime->defineTensorClass(exports);
  for (const Entry& entry : kEntries) {
    napi_value fn = nullptr;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, call, const_cast<Entry*>(&entry), &fn) != napi_ok) {
      throw Napi::Error::New(env);
    }
    exports.Set(entry.name, Napi::Value(env, fn));
  }
  exports.Set("abi", kAbi);
}

}  // namespace

napi_value load(napi_env env, napi_value exports) {
  try {
    init(Napi::Env(env), Napi::Object(env, exports));
  } catch (...) {
    throwCurrent(env);
  }
  return exports;
}

}  // namespace d2v

// Node-API's own macro: node-addon-api's would end the process if a worker is terminated while it loads the addon.
NAPI_MODULE_INIT() { return d2v::load(env, exports); }
