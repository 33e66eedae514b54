// What the backend needs of the CUDA runtime: memory, streams, events, graphs. driver_gpu.cc calls it; in tests without a
// GPU emulator/driver_host.cc and emulator/streams.cc stand in for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "../obstacle.h"

struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;

namespace d2v::cuda {

using Stream = CUstream_st*;
using Event = CUevent_st*;
using Graph = CUgraph_st*;
using Executable = CUgraphExec_st*;

/// A call of the CUDA runtime failed; the message names the call and the cause.
class DriverError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Throws DriverError unless `status` (a cudaError_t) is success.
void check(int status, const char* what);

struct DeviceProperties {
  std::string name;           // "NVIDIA H200"
  int major = 0, minor = 0;   // compute capability
  int multiprocessors = 0;
  int64_t memory = 0;         // bytes
  int64_t sharedPerBlock = 0; // most bytes of shared memory that a block may ask for
};

/// GPUs that are there; 0 with the reason in `why` (no driver, no device, a driver older than the build).
int deviceCount(Obstacle* why = nullptr);
/// Why a GPU cannot run this build, told without opening it; nothing if it can.
Obstacle obstacleOf(const DeviceProperties& device);
DeviceProperties propertiesOf(int device);
/// Makes the device current for this thread.
void useDevice(int device);

Stream createStream();
void destroyStream(Stream stream) noexcept;
/// Waits for everything in the stream.
void synchronize(Stream stream);

Event createEvent();
void destroyEvent(Event event) noexcept;
void record(Event event, Stream stream);
/// Whether the work before the event is done.
bool done(Event event);
/// The host waits.
void wait(Event event);
/// The stream waits.
void wait(Stream stream, Event event);

/// What is enqueued in the stream from now on is not done but kept. Until the end nothing may wait for the stream, and it
/// may wait for no other.
void beginRecording(Stream stream);
/// What was enqueued since beginRecording; to be destroyed.
Graph endRecording(Stream stream);
/// A step of `formOf` (FNV).
constexpr uint64_t withNode(uint64_t form, uint64_t type) {
  return ((form == 0 ? 0xcbf29ce484222325u : form) ^ type) * 0x100000001b3u;
}
/// The same for graphs of the same sequence of kernels, copies and the like, whatever their arguments; 0 for an empty one.
uint64_t formOf(Graph graph);
void destroyGraph(Graph graph) noexcept;
/// A graph that can be started. Takes milliseconds.
Executable instantiate(Graph graph);
/// Gives the executable the graph's kernels and arguments, from its next start on. False, with nothing changed, if the graph
/// is another sequence of kernels and copies.
bool update(Executable executable, Graph graph);
void destroyExecutable(Executable executable) noexcept;
/// Enqueues all of it.
void start(Executable executable, Stream stream);

/// Device memory; null if there is not enough.
void* allocate(size_t bytes) noexcept;
void release(void* data) noexcept;
/// Bytes of the current device that nobody has allocated; 0 if it cannot say.
int64_t freeMemory() noexcept;
/// Page-locked host memory, which copies can read and write beside the host's work; null if there is not enough.
void* allocatePinned(size_t bytes) noexcept;
void releasePinned(void* data) noexcept;

/// Copies in the stream's order, between any two kinds of memory; the host memory must be pinned for the call to return
/// before the copy is made.
void copy(void* target, const void* source, size_t bytes, Stream stream);
/// Sets bytes to zero in the stream's order.
void zero(void* target, size_t bytes, Stream stream);

}  // namespace d2v::cuda
