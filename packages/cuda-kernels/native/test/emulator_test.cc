// The emulator itself: what kernels may do gives the right numbers, and what they may not do is reported.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../cuda/cuda_backend.h"
#include "../cuda/launch.h"
#include "../errors.h"
#include "../storage.h"

namespace d2v::cuda {
namespace {

int failures = 0;

void expect(bool fine, const char* what) {
  std::printf("%-6s %s\n", fine ? "ok" : "FAILED", what);
  failures += !fine;
}

constexpr emulator::Order kOrders[] = {{emulator::Order::Ascending, 0},
                                       {emulator::Order::Descending, 0},
                                       {emulator::Order::Shuffled, 1},
                                       {emulator::Order::Shuffled, 2}};

/// Whether `run` throws a LaunchError that contains `text`, in the present order.
template <typename Run>
bool reports(const std::string& text, Run&& run) {
  try {
    run();
  } catch (const emulator::LaunchError& error) {
    if (std::string(error.what()).find(text) != std::string::npos) return true;
    std::printf("       %s\n", error.what());
  }
  return false;
}

/// In how many orders `run` returns true.
template <typename Run>
int orders(Run&& run) {
  int count = 0;
  for (const auto& order : kOrders) {
    emulator::setOrder(order);
    count += run();
  }
  emulator::setOrder({});
  return count;
}
constexpr int kAll = sizeof kOrders / sizeof kOrders[0];

/// Launches a kernel and waits for it.
template <typename... Parameters, typename... Args>
void launchAndWait(void (*kernel)(Parameters...), Grid grid, int threads, size_t sharedBytes, Args... args) {
  launch(kernel, grid, threads, sharedBytes, nullptr, args...);
  synchronize(nullptr);
}

// --- threads, blocks, barriers
D2V_KERNEL(128) whereEachIs(int* out) {
  const int block = (blockZ() * gridY() + blockY()) * gridX() + blockX();
  out[block * threadCount() + threadX()] = block * 1000 + threadX();
}
bool placesAreRight() {
  std::vector<int> out(2 * 3 * 4 * 64, -1);
  launchAndWait(whereEachIs, Grid{4, 3, 2}, 64, 0, out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] != static_cast<int>(i / 64 * 1000 + i % 64)) return false;
  }
  return true;
}

/// Reverses 128 numbers through shared memory.
D2V_KERNEL(128) reverse(int* out, bool wait) {
  int* buffer = shared<int>();
  buffer[threadX()] = threadX();
  if (wait) syncThreads();
  out[threadX()] = buffer[threadCount() - 1 - threadX()];
}
bool reverses(bool wait) {
  std::vector<int> out(128);
  launchAndWait(reverse, Grid{1}, 128, 128 * 4, out.data(), wait);
  for (int i = 0; i < 128; ++i) {
    if (out[static_cast<size_t>(i)] != 127 - i) return false;
  }
  return true;
}

/// A reader that is ahead of the barrier between two uses of a buffer: right when warp 0 runs first.
D2V_KERNEL(64) twoRounds(int* out, bool wait) {
  int* buffer = shared<int>();
  for (int round = 0; round < 2; ++round) {
    if (threadX() == 0) buffer[0] = round;
    syncThreads();
    out[round * 64 + threadX()] = buffer[0];
    if (wait) syncThreads();
  }
}
bool roundsAreRight(bool wait) {
  std::vector<int> out(128);
  launchAndWait(twoRounds, Grid{1}, 64, 4, out.data(), wait);
  for (int i = 0; i < 128; ++i) {
    if (out[static_cast<size_t>(i)] != i / 64) return false;
  }
  return true;
}

D2V_KERNEL(96) sums(float* out) {
  const float total = blockSum(static_cast<float>(threadX()), shared<float>());
  out[threadX()] = total;
}
bool sumsAreRight() {
  std::vector<float> out(96);
  launchAndWait(sums, Grid{1}, 96, 32 * 4, out.data());
  for (float v : out) {
    if (v != 95 * 96 / 2) return false;
  }
  return true;
}

D2V_KERNEL(64) halfABlockWaits(int*) {
  if (threadX() < 32) syncThreads();
}
D2V_KERNEL(64) halfAWarpShuffles(float* out) {
  if (lane() < 16) out[threadX()] = shuffleXor(1.0f, 1);
}
D2V_KERNEL(64) lanesDiffer(float* out) {
  if (lane() < 16) {
    syncWarp();
  } else {
    out[threadX()] = shuffleXor(1.0f, 1);
  }
}
D2V_KERNEL(32) writesBehind(int*) { shared<int>()[4 + threadX()] = 1; }
D2V_KERNEL(32) readsUnwritten(float* out) { out[threadX()] = shared<float>()[threadX()]; }

// --- a warp together
D2V_KERNEL(64) shuffles(int* out) {
  int* mine = out + threadX() * 4;
  mine[0] = shuffle(threadX(), 5);
  mine[1] = shuffleXor(threadX(), 6);
  mine[2] = static_cast<int>(shuffleDown(static_cast<int64_t>(threadX()), 3));
  mine[3] = static_cast<int>(vote(threadX() % 3 == 0));
}
bool shufflesAreRight() {
  std::vector<int> out(64 * 4);
  launchAndWait(shuffles, Grid{1}, 64, 0, out.data());
  for (int t = 0; t < 64; ++t) {
    const int first = t / 32 * 32, lane = t % 32;
    uint32_t votes = 0;
    for (int l = 0; l < 32; ++l) votes |= static_cast<uint32_t>((first + l) % 3 == 0) << l;
    const int* mine = &out[static_cast<size_t>(t) * 4];
    if (mine[0] != first + 5 || mine[1] != first + (lane ^ 6) || mine[2] != (lane + 3 < 32 ? t + 3 : t) ||
        mine[3] != static_cast<int>(votes)) {
      return false;
    }
  }
  return true;
}

// --- asynchronous copies
enum class Waits { None, Some, All };
D2V_KERNEL(32) copies(const float* in, float* out, Waits waits) {
  float* buffer = shared<float>();
  copyAsync<16>(buffer + threadX() * 4, in + threadX() * 4);
  commitCopies();
  copyAsync<8>(buffer + 128 + threadX() * 2, in, false);
  commitCopies();
  if (waits == Waits::Some) waitCopies<1>();
  if (waits == Waits::All) waitCopies<0>();
  syncThreads();
  for (int i = threadX(); i < 192; i += 32) out[i] = buffer[i];
}
/// How many of the 192 numbers have come.
int copied(Waits waits) {
  alignas(16) float in[128];
  for (int i = 0; i < 128; ++i) in[i] = static_cast<float>(i);
  float out[192];
  launchAndWait(copies, Grid{1}, 32, 192 * 4, in, out, waits);
  int right = 0;
  for (int i = 0; i < 192; ++i) right += out[i] == (i < 128 ? static_cast<float>(i) : 0.0f);
  return right;
}
D2V_KERNEL(32) copiesAskew(const float* in) { copyAsync<16>(shared<float>() + 4 * threadX(), in + 1); }
/// Overwrites a buffer that is still to be read.
D2V_KERNEL(64) copiesTooEarly(const float* in, float* out, bool wait) {
  float* buffer = shared<float>();
  buffer[threadX()] = 5;
  syncThreads();
  out[threadX()] = buffer[63 - threadX()];
  if (wait) syncThreads();
  copyAsync<4>(buffer + threadX(), in);
  commitCopies();
  waitCopies<0>();
}
bool readsBeforeTheCopy(bool wait) {
  const float in = 7;
  float out[64];
  launchAndWait(copiesTooEarly, Grid{1}, 64, 64 * 4, &in, out, wait);
  for (float v : out) {
    if (v != 5) return false;
  }
  return true;
}

// --- matrix fragments
/// c[16,8] = a[16,16] b[16,8], a and b bf16 [.., .] in rows of 16 and 8, through shared memory; `transposed`: b is stored
/// [8,16] and read without transposing.
D2V_KERNEL(32) product(const Bf16* a, const Bf16* b, float* c, bool transposed) {
  Bf16* sa = shared<Bf16>();
  Bf16* sb = shared<Bf16>(512);
  for (int i = threadX(); i < 256; i += 32) sa[i] = a[i];
  for (int i = threadX(); i < 128; i += 32) sb[i] = b[i];
  syncThreads();
  uint32_t fa[4], fb[4];
  // Rows 0-7, 8-15 of the left half, then of the right one.
  loadMatrices(fa, sa + lane() % 16 * 16 + lane() / 16 * 8);
  if (transposed) {
    loadMatrices(fb, sb + lane() % 8 * 16 + lane() / 8 % 2 * 8);
  } else {
    loadMatricesTransposed(fb, sb + lane() % 16 * 8);
  }
  const uint32_t pair[2] = {fb[0], fb[1]};
  float sums[4] = {1, 1, 1, 1};
  multiply(sums, fa, pair);
  const int g = lane() / 4, t = lane() % 4;
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}
D2V_KERNEL(32) productTf32(const float* a, const float* b, float* c) {
  const int g = lane() / 4, t = lane() % 4;
  const uint32_t fa[4] = {floatBits(a[g * 8 + t]), floatBits(a[(g + 8) * 8 + t]), floatBits(a[g * 8 + t + 4]),
                          floatBits(a[(g + 8) * 8 + t + 4])};
  const uint32_t fb[2] = {floatBits(b[t * 8 + g]), floatBits(b[(t + 4) * 8 + g])};
  float sums[4] = {};
  multiplyTf32(sums, fa, fb);
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}
int small(int i) { return i * 7919 % 17 - 8; }
bool productsAreRight(bool transposed) {
  Bf16 a[256], b[128];
  for (int i = 0; i < 256; ++i) a[i] = toBf16(static_cast<float>(small(i)));
  for (int i = 0; i < 128; ++i) b[transposed ? i % 8 * 16 + i / 8 : i] = toBf16(static_cast<float>(small(i + 3)));
  float c[128];
  launchAndWait(product, Grid{1}, 32, 768, a, b, c, transposed);
  for (int i = 0; i < 128; ++i) {
    int sum = 1;
    for (int k = 0; k < 16; ++k) sum += small(i / 8 * 16 + k) * small(k * 8 + i % 8 + 3);
    if (c[i] != static_cast<float>(sum)) return false;
  }
  return true;
}
bool tf32ProductsAreRight() {
  float a[128], b[64], c[128];
  for (int i = 0; i < 128; ++i) a[i] = static_cast<float>(small(i));
  for (int i = 0; i < 64; ++i) b[i] = static_cast<float>(small(i + 3));
  launchAndWait(productTf32, Grid{1}, 32, 0, a, b, c);
  for (int i = 0; i < 128; ++i) {
    int sum = 0;
    for (int k = 0; k < 8; ++k) sum += small(i / 8 * 8 + k) * small(k * 8 + i % 8 + 3);
    if (c[i] != static_cast<float>(sum)) return false;
  }
  return true;
}
D2V_KERNEL(32) loadsAskew(uint32_t* out) {
  uint32_t r[4];
  loadMatrices(r, shared<Bf16>() + lane() * 4);
  out[threadX()] = r[0];
}

D2V_KERNEL(64) counts(uint32_t* counter, int64_t* least) {
  atomicAdd(counter, 2u);
  atomicMin(least, static_cast<int64_t>(blockX() * 64 + threadX()) - 5);
}
bool atomicsAreRight() {
  uint32_t counter = 1;
  int64_t least = 100;
  launchAndWait(counts, Grid{3}, 64, 0, &counter, &least);
  return counter == 1 + 2 * 3 * 64 && least == -5;
}

template <typename... Parameters, typename... Args>
bool launchReports(const std::string& text, int threads, size_t sharedBytes, void (*kernel)(Parameters...),
                   Args... args) {
  return orders([&] {
           return reports(text, [&] { launchAndWait(kernel, Grid{1}, threads, sharedBytes, args...); });
         }) == kAll;
}

// --- streams, events, graphs
D2V_KERNEL(32) fillWith(float* out, float value) { out[threadX()] = value; }
D2V_KERNEL(32) addOne(float* x) { x[threadX()] += 1; }

/// A stream writes what another one adds to.
bool addsWhatArrived(bool waits) {
  float x[32] = {};
  const Stream first = createStream(), second = createStream();
  const Event arrived = createEvent();
  launch(fillWith, Grid{1}, 32, 0, first, x, 5.0f);
  record(arrived, first);
  if (waits) wait(second, arrived);
  launch(addOne, Grid{1}, 32, 0, second, x);
  synchronize(second);
  synchronize(first);
  destroyEvent(arrived);
  destroyStream(first);
  destroyStream(second);
  return x[0] == 6;
}

/// A graph runs when it is started, with the arguments it had then.
bool graphsAreRight() {
  float x[32] = {}, y[32] = {};
  const Stream stream = createStream();
  const auto recorded = [&](float* to, int more) {
    beginRecording(stream);
    launch(fillWith, Grid{1}, 32, 0, stream, to, 5.0f);
    for (int i = 0; i < more; ++i) launch(addOne, Grid{1}, 32, 0, stream, to);
    return endRecording(stream);
  };
  const Graph toX = recorded(x, 2), toY = recorded(y, 2), longer = recorded(x, 3);
  synchronize(stream);
  bool fine = x[0] == 0 && formOf(toX) == formOf(toY) && formOf(toX) != formOf(longer);
  const Executable executable = instantiate(toX);
  start(executable, stream);
  fine = fine && update(executable, toY) && !update(executable, longer);
  start(executable, stream);
  synchronize(stream);
  for (const Graph graph : {toX, toY, longer}) destroyGraph(graph);
  destroyExecutable(executable);
  destroyStream(stream);
  return fine && x[0] == 7 && y[0] == 7;
}

/// Whether waiting for a stream, or for another one in it, is refused while it records.
bool waitingIsRefused() {
  const Stream stream = createStream();
  const Event event = createEvent();
  const auto refused = [](auto&& call) {
    try {
      call();
    } catch (const DriverError&) {
      return true;
    }
    return false;
  };
  beginRecording(stream);
  bool fine = refused([&] { synchronize(stream); }) && refused([&] { wait(stream, event); });
  record(event, stream);
  fine = fine && refused([&] { wait(event); }) && refused([&] { done(event); });
  destroyGraph(endRecording(stream));
  destroyEvent(event);
  destroyStream(stream);
  return fine;
}

/// Copies to the device while there is no memory, for the first chunk of their ring or for another one.
bool copiesWithoutMemory() {
  const auto memory = makeDeviceAllocator(0);
  CudaBackend backend(0, *memory);
  constexpr size_t kNumbers = size_t{3} << 20;  // in more than one chunk
  std::vector<float> host(kNumbers, 1), back(kNumbers);
  const Workspace there(*memory, kNumbers * 4);
  const auto copies = [&](int failing) {
    host.assign(kNumbers, host[0] + 1);
    emulator::failAllocations(failing);
    try {
      backend.fromHost(there.floats(), host.data(), kNumbers * 4);
    } catch (const OutOfMemory&) {
      return false;
    }
    emulator::failAllocations(0);
    backend.toHost(back.data(), there.floats(), kNumbers * 4);
    return back == host;
  };
  // The first chunk is asked for twice, a later one not at all.
  return !copies(2) && copies(1) && copies(1) && copies(1);
}

int main() {
  float out[192];
  alignas(16) float in[64] = {};
  int* const none = nullptr;
  expect(orders([] { return placesAreRight(); }) == kAll, "threads, blocks and grids");
  expect(orders([] { return reverses(true); }) == kAll, "shared memory and a barrier");
  expect(orders([] { return reverses(false); }) == 0, "a missing barrier before reading");
  expect(orders([] { return roundsAreRight(true); }) == kAll, "a buffer used twice");
  const int wrong = kAll - orders([] { return roundsAreRight(false); });
  expect(wrong >= 1, "a missing barrier before writing again");
  expect(orders([] { return sumsAreRight(); }) == kAll, "sum of a block");
  expect(orders([] { return shufflesAreRight(); }) == kAll, "shuffles and votes");
  expect(orders([] { return atomicsAreRight(); }) == kAll, "atomics");

  expect(launchReports("32 (first 0) at syncThreads; 32 (first 32) have ended", 64, 0, halfABlockWaits, none),
         "a barrier that half a block reaches");
  expect(launchReports("at a shuffle", 64, 0, halfAWarpShuffles, out), "a shuffle of half a warp");
  expect(launchReports("of its warp are at", 64, 0, lanesDiffer, out), "lanes at different functions");
  expect(launchReports("behind the shared memory", 32, 16, writesBehind, none), "a write behind the shared memory");
  uint32_t word[32];
  expect(launchReports("loaded from byte", 32, 512, loadsAskew, word), "rows at odd addresses");
  expect(launchReports("no multiple of its size", 32, 1024, copiesAskew, in), "copies from odd addresses");
  expect(launchReports("expected a multiple of 32", 48, 0, halfABlockWaits, none), "48 threads");
  expect(launchReports("halfABlockWaits", 64, 0, halfABlockWaits, none), "the kernel's name");
  launchAndWait(readsUnwritten, Grid{1}, 32, 128, out);
  expect(std::isnan(out[0]) && std::isnan(out[31]), "shared memory begins as NaN");

  expect(orders([] { return copied(Waits::All) == 192; }) == kAll, "copies waited for");
  expect(orders([] { return copied(Waits::Some) == 128; }) == kAll, "the last group is still under way");
  expect(orders([] { return copied(Waits::None) == 0; }) == kAll, "copies that nobody waits for");
  expect(orders([] { return readsBeforeTheCopy(true); }) == kAll, "a buffer that copies write again");
  expect(orders([] { return readsBeforeTheCopy(false); }) < kAll, "a copy before the last reader");

  expect(orders([] { return productsAreRight(false); }) == kAll, "a product of bf16 matrices");
  expect(orders([] { return productsAreRight(true); }) == kAll, "a product with a transposed one");
  expect(orders([] { return tf32ProductsAreRight(); }) == kAll, "a product in tf32");
  expect(orders([] { return addsWhatArrived(true); }) == kAll, "a stream that waits for another");
  expect(orders([] { return addsWhatArrived(false); }) < kAll, "a stream that should have waited");
  expect(orders([] { return graphsAreRight(); }) == kAll, "graphs");
  expect(orders([] { return waitingIsRefused(); }) == kAll, "waiting for what is being recorded");
  expect(orders([] { return copiesWithoutMemory(); }) == kAll, "copies where memory ends");
  expect(toBf16(1.00390625f).bits == 0x3f80 && toBf16(1.01171875f).bits == 0x3f82 && packBf16(1, 2) == 0x40003f80u,
         "rounding to bf16");
  if (failures > 0) std::printf("%d failed\n", failures);
  return failures > 0;
}

}  // namespace
}  // namespace d2v::cuda

int main() { return d2v::cuda::main(); }
