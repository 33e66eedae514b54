#include "work_stream.h"

#include <algorithm>
#include <utility>

namespace d2v::cuda {

namespace {

/// Graphs kept. A joint run has one per modality, and some for shapes for which the library of products needs more kernels.
constexpr size_t kMostGraphs = 16;

bool contains(const std::vector<Event>& events, Event event) {
  return std::find(events.begin(), events.end(), event) != events.end();
}

}  // namespace

WorkStream::WorkStream() : stream_(createStream()) {}

WorkStream::~WorkStream() {
  try {
    synchronize();
  } catch (const std::exception&) {
    // An error of the GPU, which the op that met it has reported.
  }
  for (const auto& [form, executable] : made_) destroyExecutable(executable);
  destroyStream(stream_);
}

void WorkStream::record() {
  flush();
  beginRecording(stream_);
  recording_ = true;
}

void WorkStream::flush() {
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  if (!recording_) return;
  recording_ = false;
  const std::vector<Event> marks = std::exchange(marks_, {}), needs = std::exchange(needs_, {});
  const Graph graph = endRecording(stream_);
  try {
    for (const Event event : needs) cuda::wait(stream_, event);
    start(graph);
  } catch (...) {
    destroyGraph(graph);
    throw;
  }
  destroyGraph(graph);
  for (const Event event : marks) cuda::record(event, stream_);
}

void WorkStream::flushQuietly() noexcept {
  try {
    flush();
  } catch (...) {
    error_ = std::current_exception();
  }
}

void WorkStream::start(Graph graph) {
  const uint64_t form = formOf(graph);
  if (form == 0) return;
  ++stats_.started;
  auto found = made_.find(form);
  if (found != made_.end() && !update(found->second, graph)) {
    synchronize();  // it may be running
    destroyExecutable(found->second);
    made_.erase(found);
    found = made_.end();
  }
  if (found == made_.end()) {
    if (made_.size() == kMostGraphs) {
      synchronize();
      destroyExecutable(made_.begin()->second);
      made_.erase(made_.begin());
    }
    found = made_.emplace(form, instantiate(graph)).first;
    ++stats_.made;
  }
  cuda::start(found->second, stream_);
}

void WorkStream::mark(Event event) {
  if (!recording_) cuda::record(event, stream_);
  else if (!contains(marks_, event)) marks_.push_back(event);
}

void WorkStream::after(Event event) {
  if (!recording_) cuda::wait(stream_, event);
  else if (!contains(needs_, event)) needs_.push_back(event);
}

bool WorkStream::done(Event event) { return !contains(marks_, event) && cuda::done(event); }

void WorkStream::wait(Event event) {
  if (error_ || contains(marks_, event)) flush();
  cuda::wait(event);
}

void WorkStream::synchronize() {
  flush();
  cuda::synchronize(stream_);
}

}  // namespace d2v::cuda
