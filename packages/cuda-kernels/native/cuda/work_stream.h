// The stream of a backend's work, which can be recorded and started as a whole.
//
// Starting a kernel takes the host 2 to 3 us, and the GPU about 1 us between two that depend on each other. A recorded
// sequence of them (a CUDA graph) is started by one call, and the GPU knows all of it beforehand. An update is recorded each
// time anew, since its arguments change (addresses, learning rate, keys of random numbers, sizes that depend on masks), and
// the graph of an earlier update gets the new arguments: that takes a fraction of making one, which is only needed where
// an update is another sequence of kernels. See docs/decisions/0020.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <vector>

#include "../backend.h"
#include "driver.h"

namespace d2v::cuda {

class WorkStream {
 public:
  WorkStream();
  ~WorkStream();
  WorkStream(const WorkStream&) = delete;
  WorkStream& operator=(const WorkStream&) = delete;

  /// For launches and copies, which are recorded or not alike.
  Stream get() const { return stream_; }

  /// Records what is enqueued from now on, until `flush` or anything that waits for it.
  void record();
  /// Starts what is recorded, if anything is; what is enqueued from now on goes to the GPU at once.
  void flush();
  /// The same where nothing may be thrown; an error is thrown by the next call that may.
  void flushQuietly() noexcept;
  const GraphStats& graphs() const { return stats_; }

  // --- events, as in driver.h, but also while work is recorded
  /// The event comes after everything enqueued so far.
  void mark(Event event);
  /// What is enqueued from now on (and what is being recorded) comes after the event, which is another stream's.
  void after(Event event);
  bool done(Event event);
  void wait(Event event);
  void synchronize();

 private:
  /// With the graph of an earlier update if it is of the same form, else with one that is made for it.
  void start(Graph graph);

  Stream stream_;
  bool recording_ = false;
  std::exception_ptr error_;  // of flushQuietly
  std::vector<Event> marks_, needs_;  // of what is being recorded
  std::map<uint64_t, Executable> made_;  // by form: updates of several modalities take turns
  GraphStats stats_;
};

}  // namespace d2v::cuda
