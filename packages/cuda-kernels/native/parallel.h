// Loops over threads, on the pool in parallel.cc.
//
// A body must not throw and must not allocate through the backend: take scratch memory before the loop
// (`Workspace`, one slice per `threadIndex()` or per chunk). Nested loops run serially. Nothing may depend on which
// thread takes which piece, nor on the number of pieces that one thread takes.
#pragma once

#include <algorithm>
#include <cstdint>

#if defined(__unix__) || defined(__APPLE__)
#include <csignal>
#endif

namespace d2v {

/// Threads that a loop started from this thread may use. Set per environment (each worker thread has its own).
int threadCount();
void setThreadCount(int n);

/// Index of the running thread within the current loop, 0 <= index < threadCount().
int threadIndex();

/// While it lives, the calling thread takes no signals (but those of its own faults), and threads that it starts never do:
/// signals are for the threads that Node made. oneDNN's AVX-512 matrix products keep values beyond the end of the stack,
/// where a signal handler (a profiler's, Ctrl-C's) would overwrite them.
class SignalBlock {
 public:
  SignalBlock();
  ~SignalBlock();
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
#if defined(__unix__) || defined(__APPLE__)
  sigset_t before_;
#endif
};

/// Takes OpenMP's threads instead of the pool's from now on, in the whole process: with oneDNN, whose threads those are.
void useOpenMpThreads();

/// Calls task(context, item) for items [0, n), each once, on at most `threads` threads; returns when all are done.
void runParallel(int64_t n, int threads, void (*task)(const void* context, int64_t item), const void* context);

/// Calls body(i) for i in [0, n), handed out one by one to whichever thread is free: for uneven or few large items
/// (attention heads, convolution groups).
template <typename Body>
inline void parallelItems(int64_t n, const Body& body) {
  if (n <= 0) return;
  const int threads = static_cast<int>(std::min<int64_t>(threadCount(), n));
  if (threads <= 1) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  runParallel(
      n, threads, [](const void* context, int64_t i) { (*static_cast<const Body*>(context))(i); }, &body);
}

/// Calls body(begin, end) on disjoint ranges that cover [0, n), none shorter than `grain` (but the last). For bodies
/// whose result does not depend on how [0, n) is cut.
template <typename Body>
inline void parallelFor(int64_t n, int64_t grain, const Body& body) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  // A few ranges per thread: one that starts late, or is interrupted, takes fewer.
  const int64_t parts = std::min<int64_t>(int64_t{4} * threadCount(), (n + grain - 1) / grain);
  if (threadCount() <= 1 || parts <= 1) {
    body(static_cast<int64_t>(0), n);
    return;
  }
  const int64_t base = n / parts, extra = n % parts;
  parallelItems(parts, [&](int64_t i) {
    const int64_t begin = i * base + std::min(i, extra);
    body(begin, begin + base + (i < extra ? 1 : 0));
  });
}

/// Calls body(index, begin, end) for every chunk of fixed length `chunk` of [0, n) (the last may be shorter). The
/// cut does not depend on the number of threads: reductions that store one partial result per chunk and combine
/// them in order are the same for any number of threads.
template <typename Body>
inline void parallelChunks(int64_t n, int64_t chunk, const Body& body) {
  if (n <= 0) return;
  parallelItems((n + chunk - 1) / chunk,
                [&](int64_t i) { body(i, i * chunk, std::min(n, (i + 1) * chunk)); });
}

}  // namespace d2v
