#include "streams.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "emulator.h"

namespace d2v::cuda {

namespace {

using emulator::Node;

struct StreamState;

/// A place in a stream: reached when `count` pieces of its work are done.
struct Place {
  std::shared_ptr<StreamState> stream;
  uint64_t count = 0;
};

struct Work {
  std::function<void()> run;
  Place after;  // of another stream, or none
};

using Nodes = std::vector<std::pair<Node, std::function<void()>>>;

struct StreamState {
  std::deque<Work> queue;
  uint64_t enqueued = 0, done = 0;
  std::optional<Nodes> recording;
};

bool reached(const Place& place) { return !place.stream || place.stream->done >= place.count; }

/// Runs the next piece of work if it need not wait. Whatever it throws, it is done.
bool runNext(StreamState& stream) {
  if (stream.queue.empty() || !reached(stream.queue.front().after)) return false;
  const Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  ++stream.done;
  if (work.run) work.run();
  return true;
}

/// Runs what has to run for the place to be reached, and no more.
void runUntil(const Place& place) {
  while (!reached(place)) {
    if (!runNext(*place.stream)) runUntil(place.stream->queue.front().after);
  }
}

/// All streams there are; the default stream is the first.
class Streams {
 public:
  Streams() { add(); }
  std::shared_ptr<StreamState> add() {
    all_.push_back(std::make_shared<StreamState>());
    return all_.back();
  }
  void remove(const StreamState* stream) {
    all_.erase(std::find_if(all_.begin(), all_.end(), [&](const auto& one) { return one.get() == stream; }));
  }
  std::shared_ptr<StreamState> of(Stream handle) const {
    if (handle == nullptr) return all_.front();
    const auto* state = reinterpret_cast<StreamState*>(handle);
    const auto found = std::find_if(all_.begin(), all_.end(), [&](const auto& one) { return one.get() == state; });
    if (found == all_.end()) throw DriverError("a stream that was destroyed");
    return *found;
  }

  /// What the order lets run now that something was enqueued.
  void proceed() {
    const emulator::Order order = emulator::presentOrder();
    if (order.kind == emulator::Order::Ascending) finish();
    if (order.kind != emulator::Order::Shuffled) return;
    for (uint64_t turns = random(8); turns > 0; --turns) runNext(*all_[random(all_.size())]);
  }
  bool recording() const {
    return std::any_of(all_.begin(), all_.end(), [](const auto& one) { return one->recording.has_value(); });
  }
  void finish() {
    for (size_t i = 0; i < all_.size(); ++i) runUntil({all_[i], all_[i]->enqueued});
  }

 private:
  uint64_t random(uint64_t below) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % below;
  }

  std::vector<std::shared_ptr<StreamState>> all_;
  uint64_t state_ = 1;
};

/// Never deleted: tensors of other static objects may be freed after it.
Streams& streams() {
  static Streams* const all = new Streams;
  return *all;
}

struct EventState {
  Place place;
  bool recorded = false;  // in a graph: it marks nothing that the host could wait for
};
EventState& stateOf(Event event) { return *reinterpret_cast<EventState*>(event); }
const Place& placeOf(Event event) {
  const EventState& state = stateOf(event);
  if (state.recorded) throw DriverError("an event that was recorded in a graph");
  return state.place;
}

void notRecording(const StreamState& stream) {
  if (stream.recording) throw DriverError("a stream that is recording a graph cannot be waited for");
}

void add(const std::shared_ptr<StreamState>& stream, Work work) {
  stream->queue.push_back(std::move(work));
  ++stream->enqueued;
  streams().proceed();
}

struct ExecutableState {
  std::shared_ptr<const Nodes> nodes;
};

}  // namespace

namespace emulator {

void enqueue(Stream handle, Node node, std::function<void()> work) {
  if (presentOrder().kind == Order::None) return;
  const auto stream = streams().of(handle);
  if (stream->recording) stream->recording->emplace_back(node, std::move(work));
  else add(stream, {std::move(work), {}});
}

void finishAll() {
  if (streams().recording()) throw DriverError("memory was freed while a graph was recorded");
  streams().finish();
}

}  // namespace emulator

Stream createStream() { return reinterpret_cast<Stream>(streams().add().get()); }

void destroyStream(Stream handle) noexcept {
  try {
    const auto stream = streams().of(handle);
    runUntil({stream, stream->enqueued});
    streams().remove(stream.get());
  } catch (const std::exception&) {
    // An error of its work: whoever waits for it meets it, nobody does here.
  }
}

void synchronize(Stream handle) {
  const auto stream = streams().of(handle);
  notRecording(*stream);
  runUntil({stream, stream->enqueued});
}

Event createEvent() { return reinterpret_cast<Event>(new EventState); }
void destroyEvent(Event event) noexcept { delete &stateOf(event); }

void record(Event event, Stream handle) {
  const auto stream = streams().of(handle);
  stateOf(event) = {{stream, stream->enqueued}, stream->recording.has_value()};
}
bool done(Event event) { return reached(placeOf(event)); }
void wait(Event event) { runUntil(placeOf(event)); }
void wait(Stream handle, Event event) {
  const auto stream = streams().of(handle);
  notRecording(*stream);  // it would be waiting within the graph for something outside of it
  add(stream, {{}, placeOf(event)});
}

void beginRecording(Stream handle) {
  const auto stream = streams().of(handle);
  notRecording(*stream);
  stream->recording.emplace();
}

Graph endRecording(Stream handle) {
  const auto stream = streams().of(handle);
  if (!stream->recording) throw DriverError("a stream that is not recording a graph");
  auto* nodes = new Nodes(std::move(*stream->recording));
  stream->recording.reset();
  return reinterpret_cast<Graph>(nodes);
}

uint64_t formOf(Graph graph) {
  uint64_t form = 0;
  for (const auto& [node, work] : *reinterpret_cast<Nodes*>(graph)) form = withNode(form, static_cast<uint64_t>(node));
  return form;
}
void destroyGraph(Graph graph) noexcept { delete reinterpret_cast<Nodes*>(graph); }

Executable instantiate(Graph graph) {
  return reinterpret_cast<Executable>(
      new ExecutableState{std::make_shared<const Nodes>(*reinterpret_cast<Nodes*>(graph))});
}

bool update(Executable executable, Graph graph) {
  const Nodes& next = *reinterpret_cast<Nodes*>(graph);
  auto& nodes = reinterpret_cast<ExecutableState*>(executable)->nodes;
  const auto sameKind = [](const auto& a, const auto& b) { return a.first == b.first; };
  if (!std::equal(nodes->begin(), nodes->end(), next.begin(), next.end(), sameKind)) return false;
  nodes = std::make_shared<const Nodes>(next);
  return true;
}

void destroyExecutable(Executable executable) noexcept { delete reinterpret_cast<ExecutableState*>(executable); }

void start(Executable executable, Stream handle) {
  const auto nodes = reinterpret_cast<ExecutableState*>(executable)->nodes;  // as they are now
  for (size_t i = 0; i < nodes->size(); ++i) {
    const auto& [node, work] = (*nodes)[i];
    emulator::enqueue(handle, node, [nodes, &work = work] { work(); });
  }
}

}  // namespace d2v::cuda
