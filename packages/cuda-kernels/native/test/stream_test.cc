// Work in streams: copies to the GPU beside the kernels, through memory that is used again and again, and updates that are
// recorded and started as graphs.
#include "harness.h"

using namespace d2v;
using namespace d2v::test;

namespace {

/// Sizes of one copy, of a large one, and of one that takes two chunks of the ring; more in all than the ring holds.
constexpr int64_t kSizes[] = {1000, 300000, 2500000};
constexpr int kRounds = 12;

/// Each round writes to the same memory and adds it to a sum: a copy that is too early or too late changes the sum.
void copies(Harness& h) {
  for (const int64_t n : kSizes) {
    h.check("copies beside kernels", DType::F32, {n}, [&](Side& s) {
      float* x = s.f32Out(n);
      float* sum = s.f32Out(n);
      s.backend.fill(sum, DType::F32, 0, n);
      std::vector<float> host(static_cast<size_t>(n));
      for (int round = 0; round < kRounds; ++round) {
        for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>((i * 7 + static_cast<size_t>(round) * 13) % 101);
        s.backend.fromHost(x, host.data(), n * 4);
        s.backend.axpy({sum, DType::F32}, round + 1, {x, DType::F32}, n);
      }
    });
  }
}

/// An update: what it reads comes from the host, and what the host reads comes late.
std::unique_ptr<Readback> update(Side& s, float* x, float* state, int64_t n, int number, int kernels) {
  std::vector<float> host(static_cast<size_t>(n), static_cast<float>(number));
  s.backend.recordGraph();
  s.backend.fromHost(x, host.data(), n * 4);
  for (int i = 0; i < kernels; ++i) s.backend.axpy({state, DType::F32}, 0.5 * number, {x, DType::F32}, n);
  auto read = s.backend.readback({{state, 4}});
  s.backend.startGraph();
  return read;
}

float valueOf(Readback& read) {
  float value;
  std::memcpy(&value, read.wait(), sizeof value);
  return value;
}

void graphs(Harness& h) {
  for (const int64_t n : {int64_t{1000}, int64_t{300000}}) {
    h.check("graphs", DType::F32, {n}, [&](Side& s) {
      float* x = s.f32Out(n);
      float* state = s.f32InOut(n);
      const GraphStats before = s.backend.graphStats();
      std::unique_ptr<Readback> last;
      for (int number = 1; number <= 9; ++number) {  // read one update late, of two forms in turn
        auto read = update(s, x, state, n, number, 3 + number % 2);
        if (last) s.result(valueOf(*last));
        last = std::move(read);
      }
      s.result(valueOf(*last));
      const GraphStats after = s.backend.graphStats();
      const bool recorded = s.backend.asynchronous();
      s.result(after.started - before.started == (recorded ? 9 : 0));
      s.result(after.made - before.made <= 2);
    });
  }
  h.check("a graph that the host waits for", DType::F32, {}, [&](Side& s) {
    const int64_t n = 100;
    float* x = s.f32Out(n);
    float* state = s.f32InOut(n);
    s.backend.recordGraph();
    s.backend.fill(x, DType::F32, 2, n);
    s.backend.axpy({state, DType::F32}, 1, {x, DType::F32}, n);
    auto read = s.backend.readback({{state, 4}});
    s.result(valueOf(*read));
    s.backend.axpy({state, DType::F32}, 1, {x, DType::F32}, n);
    float now;
    s.backend.toHost(&now, state, sizeof now);
    s.result(now);
    s.backend.startGraph();
    s.backend.recordGraph();
    s.backend.axpy({state, DType::F32}, 1, {x, DType::F32}, n);  // nobody starts it, but the harness waits
  });
  h.check("memory given back while recording", DType::F32, {}, [&](Side& s) {
    const int64_t n = 20 << 20;  // a segment of its own
    float* state = s.f32InOut(100);
    s.backend.recordGraph();
    {
      Workspace scratch(s.backend.memory(), static_cast<size_t>(n));
      s.backend.fill(scratch.floats(), DType::F32, 3, 100);
      s.backend.axpy({state, DType::F32}, 1, {scratch.floats(), DType::F32}, 100);
    }
    s.backend.memory().empty();
    s.backend.startGraph();
  });
}

}  // namespace

int main(int argc, char** argv) {
  Harness h(argc, argv);
  h.tolerance(1e-6, 0);
  copies(h);
  graphs(h);
  return h.finish();
}
