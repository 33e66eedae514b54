#include <thread>

#include "../gpus.h"
#include "../parallel.h"
#include "ops.h"

namespace d2v::ops {

namespace {

Device& chosen(Op& op) {
  Device& device = *op.device(op(0, "device"));
  device.backend->enter();
  return device;
}

/// Null where nothing is in the way.
void describe(Op& op, Napi::Object& of, const Obstacle& obstacle) {
  const bool free = obstacle.problem.empty();
  of.Set("problem", free ? op.null() : Napi::String::New(op.env, obstacle.problem));
  of.Set("remedy", free ? op.null() : Napi::String::New(op.env, obstacle.remedy));
}

Napi::Object describe(Op& op, const GpuReport& report) {
  Napi::Object cuda = op.object();
  cuda.Set("built", report.built);
  describe(op, cuda, report.obstacle);
  Napi::Array gpus = Napi::Array::New(op.env);
  for (const Gpu& gpu : report.gpus) {
    Napi::Object line = op.object();
    line.Set("device", gpu.device);
    line.Set("name", gpu.name);
    line.Set("capability", gpu.capability);
    line.Set("memory", static_cast<double>(gpu.memory));
    describe(op, line, gpu.obstacle);
    gpus.Set(gpus.Length(), line);
  }
  cuda.Set("gpus", gpus);
  return cuda;
}

}  // namespace

Napi::Value deviceInfo(Op& op) {
  Napi::Object info = op.object();
  const GpuReport& report = gpuReport();
  Napi::Array devices = Napi::Array::New(op.env);
  devices.Set(devices.Length(), op.runtime.cpu()->name);
  for (const Gpu& gpu : report.gpus) {
    if (gpu.usable()) devices.Set(devices.Length(), gpu.device);
  }
  info.Set("devices", devices);
  info.Set("cuda", describe(op, report));
  const Backend& backend = *chosen(op).backend;
  info.Set("isa", backend.isa());
  info.Set("threads", threadCount());
#ifdef _OPENMP
  info.Set("openmp", true);
#else
  info.Set("openmp", false);
#endif
  info.Set("gemm", backend.gemmLibrary());
#if defined(__clang__)
  info.Set("compiler", "clang " __clang_version__);
#elif defined(__GNUC__)
  info.Set("compiler", "gcc " __VERSION__);
#else
  info.Set("compiler", "msvc");
#endif
  return info;
}

Napi::Value cudaGemmLibrary(Op& op) { return Napi::String::New(op.env, d2v::cudaGemmLibrary()); }

/// (device, on)
Napi::Value setTf32(Op& op) {
  chosen(op).backend->setTf32(op.flag(op(1, "on")));
  return op.undefined();
}

Napi::Value gemmReport(Op& op) {
  const Backend& backend = *chosen(op).backend;
  const GemmReport report = backend.gemmReport();
  Napi::Array refusals = Napi::Array::New(op.env);
  for (const GemmRefusal& refusal : report.refusals) {
    Napi::Object line = op.object();
    line.Set("product", refusal.product);
    line.Set("instead", refusal.instead);
    line.Set("calls", static_cast<double>(refusal.calls));
    refusals.Set(refusals.Length(), line);
  }
  Napi::Object result = op.object();
  result.Set("library", backend.gemmLibrary());
  result.Set("refusals", refusals);
  result.Set("searches", static_cast<double>(report.searches));
  result.Set("searchMs", report.searchMs);
  return result;
}

Napi::Value setThreads(Op& op) {
  setThreadCount(static_cast<int>(op.integer(op(0, "threads"), 1, 1024)));
  return op.undefined();
}

Napi::Value asynchronous(Op& op) { return Napi::Boolean::New(op.env, chosen(op).backend->asynchronous()); }

Napi::Value memoryStats(Op& op) {
  const MemoryStats& stats = chosen(op).memory->stats();
  Napi::Object result = op.object();
  result.Set("current", static_cast<double>(stats.current));
  result.Set("peak", static_cast<double>(stats.peak));
  result.Set("liveBuffers", static_cast<double>(stats.liveBuffers));
  result.Set("cached", static_cast<double>(stats.cached));
  return result;
}

Napi::Value resetPeakMemory(Op& op) {
  chosen(op).memory->resetPeak();
  return op.undefined();
}

Napi::Value emptyCache(Op& op) {
  chosen(op).memory->empty();
  return op.undefined();
}

Napi::Value synchronize(Op& op) {
  chosen(op).backend->synchronize();
  return op.undefined();
}

Napi::Value recordGraph(Op& op) {
  chosen(op).backend->recordGraph();
  return op.undefined();
}

Napi::Value startGraph(Op& op) {
  chosen(op).backend->startGraph();
  return op.undefined();
}

Napi::Value graphStats(Op& op) {
  const GraphStats stats = chosen(op).backend->graphStats();
  Napi::Object result = op.object();
  result.Set("started", static_cast<double>(stats.started));
  result.Set("made", static_cast<double>(stats.made));
  return result;
}

Napi::Value scopeBegin(Op& op) { return op.number(op.runtime.beginScope()); }

/// (scope, kept: RawTensor[])
Napi::Value scopeEnd(Op& op) {
  const auto scope = static_cast<int>(op.integer(op(0, "scope"), 0, 1 << 20));
  const Arg list = op(1, "kept");
  bool array = false;
  uint32_t count = 0;
  if (list.value != nullptr) napi_is_array(op.env, list.value, &array);
  if (!array) op.fail("kept", "expected an array of tensors");
  napi_get_array_length(op.env, list.value, &count);
  std::vector<Handle*> kept;
  kept.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    napi_value element = nullptr;
    if (napi_get_element(op.env, list.value, i, &element) != napi_ok) throw Napi::Error::New(op.env);
    kept.push_back(&op.handle({element, "kept"}));
  }
  op.runtime.endScope(scope, kept);
  return op.undefined();
}

Napi::Value keep(Op& op) {
  op.runtime.keep(op.handle(op(0, "t")));
  return op.undefined();
}

Napi::Value profileStart(Op& op) {
  op.runtime.profile.clear();
  op.runtime.profiling = true;
  return op.undefined();
}

Napi::Value profileStop(Op& op) {
  op.runtime.profiling = false;
  return op.undefined();
}

Napi::Value profileReport(Op& op) {
  Napi::Array list = Napi::Array::New(op.env);
  for (const auto& entry : op.runtime.profile) {
    Napi::Object line = op.object();
    line.Set("op", entry.first);
    line.Set("calls", static_cast<double>(entry.second.calls));
    line.Set("ms", static_cast<double>(entry.second.nanoseconds) / 1e6);
    list.Set(list.Length(), line);
  }
  return list;
}

}  // namespace d2v::ops
