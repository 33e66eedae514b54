// The thread pool behind parallel.h.
//
// Made for short loops (tens of microseconds to milliseconds) in quick succession, on machines that do other things
// too. The thread that starts a loop takes items like every other and finishes alone if nobody helps: at the end it
// waits only for threads that are in the middle of an item, never for one that the system has not let run. With
// OpenMP's barriers every loop waits for every thread, and an update on two busy cores took ten times as long.
//
// One word, the gate, says which loop is open and how many helpers are inside:
//
//   epoch << 17 | open << 16 | helpers inside
//
// A helper enters by adding one to it while the open bit is set, and leaves by subtracting one. The starter closes the
// gate when the items have run out and waits for the count to drop to zero; only then may the loop's description be
// overwritten. Helpers wait for the next loop awake for a moment, then sleep.
//
// A second environment (worker thread) that starts a loop while the pool is taken runs it on its own thread.
#include "parallel.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace d2v {
namespace {

using Task = void (*)(const void*, int64_t);

constexpr uint64_t kInside = 0xffff;
constexpr uint64_t kOpen = 0x10000;
constexpr int kEpochShift = 17;
constexpr auto kAwake = std::chrono::microseconds(150);  // longer than the pause between two ops

thread_local int requestedThreads = 0;  // 0: all cores
thread_local int currentIndex = 0;
thread_local bool insideLoop = false;
std::atomic<bool> openMp{false};

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Calls done() until it is true: spinning for a moment, then letting others run in between. False after `limit`.
template <typename Done>
bool waitAwake(const Done& done, std::chrono::microseconds limit, bool yielding) {
  const auto start = std::chrono::steady_clock::now();
  for (int spin = 1;; ++spin) {
    if (done()) return true;
    relax();
    if (spin % 64 != 0) continue;
    const auto elapsed = std::chrono::steady_clock::now() - start;
    if (elapsed >= limit && !yielding) return false;
    if (elapsed >= limit) std::this_thread::yield();
  }
}

class Pool {
 public:
  /// False when another thread has the pool.
  bool run(int64_t items, int threads, Task task, const void* context) {
    std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
    if (!owner.owns_lock()) return false;
    grow(threads - 1);
    task_ = task;
    context_ = context;
    items_ = items;
    limit_ = threads;
    next_.store(0, std::memory_order_relaxed);
    gate_.store(++epoch_ << kEpochShift | kOpen, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    work(0);
    gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
    waitAwake([this] { return (gate_.load(std::memory_order_acquire) & kInside) == 0; }, kAwake / 4, true);
    return true;
  }

 private:
  void work(int index) {
    currentIndex = index;
    insideLoop = true;
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < items_;) task_(context_, i);
    insideLoop = false;
    currentIndex = 0;
  }

  void grow(int helpers) {
    if (helpers <= helpers_) return;
    const SignalBlock block;
    try {
      for (; helpers_ < helpers; ++helpers_) std::thread(&Pool::help, this, helpers_ + 1).detach();
    } catch (const std::system_error&) {
      // The system has no more threads: fewer do the work.
    }
  }

  void help(int index) {
    uint64_t seen = 0;
    for (;;) {
      uint64_t gate = 0;
      const auto fresh = [&] {
        gate = gate_.load(std::memory_order_seq_cst);
        return (gate & kOpen) != 0 && gate >> kEpochShift != seen;
      };
      if (!waitAwake(fresh, kAwake, false)) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, fresh);
        sleeping_.fetch_sub(1, std::memory_order_relaxed);
      }
      if (!gate_.compare_exchange_strong(gate, gate + 1, std::memory_order_acq_rel)) continue;
      seen = gate >> kEpochShift;
      if (index < limit_) work(index);
      gate_.fetch_sub(1, std::memory_order_release);
    }
  }

  alignas(64) std::atomic<uint64_t> gate_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) Task task_ = nullptr;
  const void* context_ = nullptr;
  int64_t items_ = 0;
  int limit_ = 0;
  uint64_t epoch_ = 0;
  int helpers_ = 0;
  std::atomic<int> sleeping_{0};
  std::mutex owner_, mutex_;
  std::condition_variable wake_;
};

/// Never destroyed: its threads run until the process ends.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

}  // namespace

#if defined(__unix__) || defined(__APPLE__)
SignalBlock::SignalBlock() {
  sigset_t blocked;
  sigfillset(&blocked);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_BLOCK, &blocked, &before_);
}
SignalBlock::~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
#else
SignalBlock::SignalBlock() = default;
SignalBlock::~SignalBlock() = default;
#endif

int threadCount() {
  if (insideLoop) return 1;
  if (requestedThreads > 0) return requestedThreads;
  static const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return cores;
}

void setThreadCount(int n) {
  requestedThreads = std::max(1, std::min(n, 1024));
#ifdef _OPENMP
  omp_set_num_threads(requestedThreads);
#endif
}

int threadIndex() { return currentIndex; }

void useOpenMpThreads() {
#ifdef _OPENMP
  openMp.store(true, std::memory_order_relaxed);
#endif
}

void runParallel(int64_t n, int threads, Task task, const void* context) {
#ifdef _OPENMP
  if (openMp.load(std::memory_order_relaxed) && !insideLoop) {
    const SignalBlock block;  // this may start threads
#pragma omp parallel num_threads(threads)
    {
      currentIndex = omp_get_thread_num();
      insideLoop = true;
#pragma omp for schedule(dynamic, 1)
      for (int64_t i = 0; i < n; ++i) task(context, i);
      insideLoop = false;
      currentIndex = 0;
    }
    return;
  }
#endif
  if (!insideLoop && pool().run(n, threads, task, context)) return;
  for (int64_t i = 0; i < n; ++i) task(context, i);
}

}  // namespace d2v
