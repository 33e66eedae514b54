// Loops over threads. OpenMP when it is there, serial otherwise.
//
// A body must not throw and must not allocate through the backend: take scratch memory before the loop
// (`Workspace`, one slice per `threadIndex()` or per chunk). Nested loops run serially.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace d2v {

/// Threads that a loop started from this thread may use. Set per environment (each worker thread has its own).
inline int threadCount() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

inline void setThreadCount(int n) {
#ifdef _OPENMP
  omp_set_num_threads(n < 1 ? 1 : n);
#else
  (void)n;
#endif
}

/// Index of the running thread within the current loop, 0 <= index < threadCount().
inline int threadIndex() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

/// Calls body(begin, end) on disjoint ranges that cover [0, n). At most one range per thread, none shorter than
/// `grain` (but the last). For bodies whose result does not depend on how [0, n) is cut.
template <typename Body>
inline void parallelFor(int64_t n, int64_t grain, const Body& body) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
#ifdef _OPENMP
  const int64_t parts = std::min<int64_t>(threadCount(), (n + grain - 1) / grain);
  if (parts > 1 && !omp_in_parallel()) {
    const int64_t base = n / parts, extra = n % parts;
#pragma omp parallel for num_threads(static_cast<int>(parts)) schedule(static, 1)
    for (int64_t i = 0; i < parts; ++i) {
      const int64_t begin = i * base + std::min(i, extra);
      body(begin, begin + base + (i < extra ? 1 : 0));
    }
    return;
  }
#endif
  body(static_cast<int64_t>(0), n);
}

/// Calls body(index, begin, end) for every chunk of fixed length `chunk` of [0, n) (the last may be shorter). The
/// cut does not depend on the number of threads: reductions that store one partial result per chunk and combine
/// them in order are the same for any number of threads.
template <typename Body>
inline void parallelChunks(int64_t n, int64_t chunk, const Body& body) {
  if (n <= 0) return;
  const int64_t parts = (n + chunk - 1) / chunk;
#ifdef _OPENMP
  const int64_t threads = std::min<int64_t>(threadCount(), parts);
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(static)
    for (int64_t i = 0; i < parts; ++i) body(i, i * chunk, std::min(n, (i + 1) * chunk));
    return;
  }
#endif
  for (int64_t i = 0; i < parts; ++i) body(i, i * chunk, std::min(n, (i + 1) * chunk));
}

/// Calls body(i) for i in [0, n), handed out one by one to whichever thread is free: for uneven or few large items
/// (attention heads, convolution groups).
template <typename Body>
inline void parallelItems(int64_t n, const Body& body) {
  if (n <= 0) return;
#ifdef _OPENMP
  const int64_t threads = std::min<int64_t>(threadCount(), n);
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel for num_threads(static_cast<int>(threads)) schedule(dynamic, 1)
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
#endif
  for (int64_t i = 0; i < n; ++i) body(i);
}

}  // namespace d2v
