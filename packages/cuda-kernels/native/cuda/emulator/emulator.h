// Runs kernels on the host, to test them where there is no GPU.
//
// The blocks of a launch run one after another. The threads of a block are fibers: one runs until it has to wait for
// others (a barrier, or a function that a warp does together), then another one does. A warp runs as far as it can before
// the next one begins, so that a missing barrier shows when the order is turned round. Orders: ascending, descending,
// and shuffled by a seed, which also lets warps overtake each other at random.
//
// An error of a kernel is a LaunchError that names the kernel, block and thread. All of it belongs to one host thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace d2v::cuda::emulator {

/// A kernel broke a rule of device.h.
class LaunchError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// In which order blocks, warps and lanes run, and what waits in streams (streams.h).
struct Order {
  enum Kind { Ascending, Descending, Shuffled, None } kind = Ascending;
  uint64_t seed = 0;
};

/// For the launches from now on. Until then: D2V_EMULATOR_ORDER, which is `ascending` (default), `descending`,
/// `shuffled:<seed>`, or `none`: nothing is done on the device, so that what is left is the host's time.
void setOrder(Order order);
Order presentOrder();
Order parseOrder(const std::string& text);

/// Runs `kernel` once per thread of x * y * z blocks. `address` is the kernel's, for messages.
void run(int64_t x, int64_t y, int64_t z, int threads, size_t sharedBytes, const std::function<void()>& kernel,
         const void* address = nullptr);

/// Reads of eight rows of 16 bytes by loadMatrices since the program began, and the turns that the banks of shared memory
/// take for them: one each, and one more for every further row that lies in the same banks as another. What kernels read and
/// write by pointers is not seen here.
struct MatrixReads {
  int64_t reads = 0, turns = 0;
};
MatrixReads matrixReads();

/// Bytes of shared memory that a block may have: 227 KiB, as on Hopper, or D2V_EMULATOR_SHARED_KIB (163 on an A100, 99 on
/// GPUs of compute capability 8.6 and 8.9), for which kernels take smaller tiles.
int64_t mostSharedBytes();

/// Lets the next `count` allocations of driver.h, on the device and page-locked ones, find no memory.
void failAllocations(int count);

// --- for device_host.h

/// What the running thread knows of itself.
struct Here {
  int thread = 0, threads = 0;
  int block[3] = {}, grid[3] = {};
  unsigned char* shared = nullptr;
  int64_t sharedBytes = 0;
};
extern Here here;

/// Throws a LaunchError with the launch, block and thread in front of the message.
[[noreturn]] void fail(const std::string& message);

void barrier();

/// The functions that a warp does together, with what each lane brings and takes.
enum class Call : uint8_t { SyncWarp, Shuffle, Vote, Multiply, MultiplyTf32, LoadMatrices, LoadMatricesTransposed };
struct ShuffleArgs {
  uint64_t value;  // in: own, out: of `lane`
  int lane;
};
struct VoteArgs {
  bool predicate;
  uint32_t result;
};
struct MultiplyArgs {
  float* c;
  const uint32_t* a;
  const uint32_t* b;
};
struct LoadArgs {
  uint32_t* r;
  const unsigned char* row;
};
/// Returns when all lanes have come and the call is done. `args`: one of the above by the call, of this lane.
void meet(Call call, void* args);

void copyAsync(void* target, const void* source, int bytes, bool valid);
void commitCopies();
void waitCopies(int left);

}  // namespace d2v::cuda::emulator
