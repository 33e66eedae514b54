// driver.h on the CUDA runtime, which is linked statically: it looks for the driver (libcuda) when it is first called, so
// the addon also loads where there is none. D2V_CUDA_CODE: what the build compiles kernels for (cuda.cmake).
#include <cuda_runtime_api.h>

#include "compiled_code.h"
#include <vector>

#include "driver.h"

namespace d2v::cuda {

namespace {

cudaStream_t native(Stream stream) { return reinterpret_cast<cudaStream_t>(stream); }
cudaEvent_t native(Event event) { return reinterpret_cast<cudaEvent_t>(event); }
cudaGraph_t native(Graph graph) { return reinterpret_cast<cudaGraph_t>(graph); }
cudaGraphExec_t native(Executable executable) { return reinterpret_cast<cudaGraphExec_t>(executable); }

std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int attribute(cudaDeviceAttr name, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, name, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

void check(int status, const char* what) {
  const auto error = static_cast<cudaError_t>(status);
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not appear again at the next launch
  throw DriverError(std::string("CUDA: ") + what + ": " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error));
}

int deviceCount(Obstacle* why) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (why == nullptr) return 0;
  int driver = 0;
  if (error == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) {
    *why = {"the NVIDIA driver supports CUDA up to " + versionText(driver) + " and this build needs " +
                versionText(CUDART_VERSION / 1000 * 1000) + " or newer",
            "update the driver"};
  } else if (error == cudaErrorInsufficientDriver) {
    *why = {"no NVIDIA driver is installed (libcuda was not found)", "install the driver of your GPU"};
  } else if (error == cudaSuccess || error == cudaErrorNoDevice) {
    *why = {"the NVIDIA driver shows no GPU to this process (CUDA_VISIBLE_DEVICES hides all, or there is none)",
            "see which GPUs nvidia-smi lists, and unset CUDA_VISIBLE_DEVICES"};
  } else {
    *why = {std::string(cudaGetErrorName(error)) + ", " + cudaGetErrorString(error),
            "see what nvidia-smi says, and the driver's messages in dmesg"};
  }
  return 0;
}

Obstacle obstacleOf(const DeviceProperties& device) {
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  return codeObstacle({device.major, device.minor, D2V_CUDA_CODE, driver, CUDART_VERSION});
}

DeviceProperties propertiesOf(int device) {
  cudaDeviceProp native;
  check(cudaGetDeviceProperties(&native, device), "cudaGetDeviceProperties");
  DeviceProperties p;
  p.name = native.name;
  p.major = native.major;
  p.minor = native.minor;
  p.multiprocessors = native.multiProcessorCount;
  p.memory = static_cast<int64_t>(native.totalGlobalMem);
  p.sharedPerBlock = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return p;
}

void useDevice(int device) {
  thread_local int current = -1;  // asking the runtime takes longer
  if (device == current) return;
  check(cudaSetDevice(device), "cudaSetDevice");
  current = device;
}

Stream createStream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  return reinterpret_cast<Stream>(stream);
}
void destroyStream(Stream stream) noexcept { cudaStreamDestroy(native(stream)); }
void synchronize(Stream stream) { check(cudaStreamSynchronize(native(stream)), "cudaStreamSynchronize"); }

Event createEvent() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  return reinterpret_cast<Event>(event);
}
void destroyEvent(Event event) noexcept { cudaEventDestroy(native(event)); }
void record(Event event, Stream stream) { check(cudaEventRecord(native(event), native(stream)), "cudaEventRecord"); }

bool done(Event event) {
  const cudaError_t status = cudaEventQuery(native(event));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check(status, "cudaEventQuery");
  return true;
}

void wait(Event event) { check(cudaEventSynchronize(native(event)), "cudaEventSynchronize"); }
void wait(Stream stream, Event event) {
  check(cudaStreamWaitEvent(native(stream), native(event), 0), "cudaStreamWaitEvent");
}

// Relaxed: the allocator may take memory from the driver while an update is recorded.
void beginRecording(Stream stream) {
  check(cudaStreamBeginCapture(native(stream), cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
}
Graph endRecording(Stream stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(native(stream), &graph), "cudaStreamEndCapture");
  return reinterpret_cast<Graph>(graph);
}
uint64_t formOf(Graph graph) {
  size_t count = 0;
  check(cudaGraphGetNodes(native(graph), nullptr, &count), "cudaGraphGetNodes");
  std::vector<cudaGraphNode_t> nodes(count);
  check(cudaGraphGetNodes(native(graph), nodes.data(), &count), "cudaGraphGetNodes");
  uint64_t form = 0;
  for (const cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type{};
    check(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
    form = withNode(form, static_cast<uint64_t>(type));
  }
  return form;
}
void destroyGraph(Graph graph) noexcept { cudaGraphDestroy(native(graph)); }

Executable instantiate(Graph graph) {
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, native(graph), 0), "cudaGraphInstantiate");
  return reinterpret_cast<Executable>(executable);
}
bool update(Executable executable, Graph graph) {
  cudaGraphExecUpdateResultInfo result{};
  const cudaError_t status = cudaGraphExecUpdate(native(executable), native(graph), &result);
  if (status == cudaErrorGraphExecUpdateFailure) {
    cudaGetLastError();
    return false;
  }
  check(status, "cudaGraphExecUpdate");
  return true;
}
void destroyExecutable(Executable executable) noexcept { cudaGraphExecDestroy(native(executable)); }
void start(Executable executable, Stream stream) {
  check(cudaGraphLaunch(native(executable), native(stream)), "cudaGraphLaunch");
}

void* allocate(size_t bytes) noexcept {
  void* data = nullptr;
  if (cudaMalloc(&data, bytes) == cudaSuccess) return data;
  cudaGetLastError();
  return nullptr;
}
void release(void* data) noexcept { cudaFree(data); }

int64_t freeMemory() noexcept {
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return static_cast<int64_t>(free);
}

void* allocatePinned(size_t bytes) noexcept {
  void* data = nullptr;
  if (cudaMallocHost(&data, bytes) == cudaSuccess) return data;
  cudaGetLastError();
  return nullptr;
}
void releasePinned(void* data) noexcept { cudaFreeHost(data); }

void copy(void* target, const void* source, size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDefault, native(stream)), "cudaMemcpyAsync");
}
void zero(void* target, size_t bytes, Stream stream) {
  check(cudaMemsetAsync(target, 0, bytes, native(stream)), "cudaMemsetAsync");
}

}  // namespace d2v::cuda
