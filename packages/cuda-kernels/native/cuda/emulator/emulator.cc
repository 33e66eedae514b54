#include "emulator.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <vector>

#include "fiber.h"
#include "fragments.h"

namespace d2v::cuda::emulator {

Here here;

namespace {

constexpr int kLanes = 32, kMostThreads = 1024, kMostGridYZ = 65535;
constexpr int64_t kMostGridX = (int64_t{1} << 31) - 1;
constexpr size_t kGuard = 1024;          // bytes behind the shared memory that must keep their value
constexpr unsigned char kGuardByte = 0xa5;
constexpr unsigned char kUnwritten = 0xff;  // NaN in f32 and bf16

struct Copy {
  void* target;
  const void* source;
  int bytes;
  bool valid;
  int group;
};

struct Thread {
  enum State : uint8_t { Ready, AtBarrier, InWarp, Ended } state;
  int groups;  // of copies, closed
  std::vector<Copy> copies;
};

struct Warp {
  int waiting;  // lanes in the present call
  Call call;
  void* args[kLanes];
};

/// xorshift64*: cheap, and the same everywhere.
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15ull + 0x1234567) {
    if (state == 0) state = 1;
  }
  uint32_t below(uint32_t n) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<uint32_t>(((state * 0x2545F4914F6CDD1Dull >> 32) * n) >> 32);
  }
};

class Machine {
 public:
  void setOrder(Order order) {
    ordered_ = true;
    order_ = order;
    random_ = Random(order.seed);
  }
  Order presentOrder() {
    if (!ordered_) {
      const char* order = std::getenv("D2V_EMULATOR_ORDER");
      setOrder(order != nullptr ? parseOrder(order) : Order{});
    }
    return order_;
  }
  void run(const int64_t (&grid)[3], int threads, size_t sharedBytes, const std::function<void()>& kernel,
           const void* address);

  void barrier() {
    thread().state = Thread::AtBarrier;
    fibers_.back();
  }
  void meet(Call call, void* args);
  void copy(const Copy& c) {
    thread().copies.push_back(c);
    thread().copies.back().group = thread().groups;
  }
  void commit() { ++thread().groups; }
  void waitCopies(int left);
  std::string where() const;

 private:
  Thread& thread() { return threads_[static_cast<size_t>(here.thread)]; }
  static void entry();
  void runBlock();
  /// Lets each lane of a warp that can run do so until it waits. False if none could.
  bool step(int warp);
  /// Which threads are where, when none can go on.
  std::string standstill() const;
  std::vector<int> permutation(int64_t n);

  Order order_;
  Random random_{0};
  Fibers fibers_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::unique_ptr<unsigned char[]> memory_;
  const std::function<void()>* kernel_ = nullptr;
  const void* address_ = nullptr;
  std::exception_ptr error_;
  bool running_ = false;
  bool ordered_ = false;  // by setOrder or the environment
};

/// Never deleted: fibers may be suspended in it when the program ends.
Machine* const kMachine = new Machine;
Machine& machine() { return *kMachine; }

/// The kernel's name from the program's symbols (also those that are no longer visible), through binutils' addr2line.
std::string symbolOf(const void* address) {
  Dl_info info;
  if (address == nullptr || dladdr(address, &info) == 0) return "kernel";
  char name[1024] = "";
  char command[1024];
  std::snprintf(command, sizeof command, "addr2line -f -C -e '%s' 0x%zx 2>/dev/null", info.dli_fname,
                static_cast<size_t>(static_cast<const char*>(address) - static_cast<const char*>(info.dli_fbase)));
  if (FILE* pipe = popen(command, "r")) {
    if (std::fgets(name, sizeof name, pipe) == nullptr) name[0] = 0;
    pclose(pipe);
  }
  std::string result = name;
  result.erase(std::find(result.begin(), result.end(), '\n'), result.end());
  return result.empty() || result == "??" ? "kernel" : result;
}

void Machine::entry() {
  Machine& m = machine();
  m.fibers_.entered();
  try {
    (*m.kernel_)();
  } catch (...) {
    m.error_ = std::current_exception();
  }
  m.thread().state = Thread::Ended;
  m.fibers_.back();
  std::abort();  // an ended thread is never resumed
}

std::vector<int> Machine::permutation(int64_t n) {
  std::vector<int> p(static_cast<size_t>(n));
  std::iota(p.begin(), p.end(), 0);
  if (order_.kind == Order::Descending) std::reverse(p.begin(), p.end());
  if (order_.kind == Order::Shuffled) {
    for (size_t i = p.size(); i > 1; --i) std::swap(p[i - 1], p[random_.below(static_cast<uint32_t>(i))]);
  }
  return p;
}

bool Machine::step(int warp) {
  bool any = false;
  // Shuffled lanes: an odd multiplier and an offset make a cheap permutation of 32.
  const int times = order_.kind == Order::Shuffled ? static_cast<int>(random_.below(16)) * 2 + 1 : 1;
  const int offset = order_.kind == Order::Shuffled ? static_cast<int>(random_.below(kLanes)) : 0;
  for (int i = 0; i < kLanes; ++i) {
    const int lane = order_.kind == Order::Descending ? kLanes - 1 - i : (i * times + offset) % kLanes;
    const int t = warp * kLanes + lane;
    if (threads_[static_cast<size_t>(t)].state != Thread::Ready) continue;
    any = true;
    here.thread = t;
    fibers_.resume(t);
    if (error_) std::rethrow_exception(error_);
  }
  return any;
}

void Machine::meet(Call call, void* args) {
  Warp& warp = warps_[static_cast<size_t>(here.thread / kLanes)];
  if (warp.waiting > 0 && warp.call != call) {
    fail(std::string("this lane is at ") + nameOf(call) + " while " + std::to_string(warp.waiting) +
         " lanes of its warp are at " + nameOf(warp.call));
  }
  warp.call = call;
  warp.args[here.thread % kLanes] = args;
  if (++warp.waiting < kLanes) {
    thread().state = Thread::InWarp;
  } else {
    perform(call, warp.args);
    warp.waiting = 0;
    for (int l = 0; l < kLanes; ++l) {
      threads_[static_cast<size_t>(here.thread / kLanes * kLanes + l)].state = Thread::Ready;
    }
  }
  fibers_.back();
}

void Machine::waitCopies(int left) {
  auto& copies = thread().copies;
  const int before = thread().groups - left;
  size_t kept = 0;
  for (const Copy& c : copies) {
    if (c.group >= before) {
      copies[kept++] = c;
    } else if (c.valid) {
      std::memcpy(c.target, c.source, static_cast<size_t>(c.bytes));
    } else {
      std::memset(c.target, 0, static_cast<size_t>(c.bytes));
    }
  }
  copies.resize(kept);
}

std::string Machine::where() const {
  return symbolOf(address_) + " <" + std::to_string(here.grid[0]) + " x " + std::to_string(here.grid[1]) + " x " +
         std::to_string(here.grid[2]) + " blocks, " + std::to_string(here.threads) + " threads, " +
         std::to_string(here.sharedBytes) + " bytes>, block (" + std::to_string(here.block[0]) + ", " +
         std::to_string(here.block[1]) + ", " + std::to_string(here.block[2]) + ")";
}

std::string Machine::standstill() const {
  std::string text = where() + ": the threads wait for each other:";
  const auto group = [&](const std::string& what, auto&& belongs) {
    int count = 0, first = -1;
    for (int t = 0; t < here.threads; ++t) {
      if (!belongs(t)) continue;
      if (count++ == 0) first = t;
    }
    if (count > 0) text += " " + std::to_string(count) + " (first " + std::to_string(first) + ") " + what + ";";
  };
  const auto state = [&](int t) { return threads_[static_cast<size_t>(t)].state; };
  group("at syncThreads", [&](int t) { return state(t) == Thread::AtBarrier; });
  group("have ended", [&](int t) { return state(t) == Thread::Ended; });
  for (size_t w = 0; w < warps_.size(); ++w) {
    if (warps_[w].waiting == 0) continue;
    group(std::string("at ") + nameOf(warps_[w].call), [&](int t) {
      return static_cast<size_t>(t / kLanes) == w && state(t) == Thread::InWarp;
    });
  }
  text.pop_back();
  return text;
}

void Machine::runBlock() {
  std::memset(here.shared, kUnwritten, static_cast<size_t>(here.sharedBytes));
  std::memset(here.shared + here.sharedBytes, kGuardByte, kGuard);
  for (Thread& t : threads_) {
    t.state = Thread::Ready;
    t.groups = 0;
    t.copies.clear();
  }
  for (Warp& w : warps_) w.waiting = 0;
  fibers_.start(here.threads, &Machine::entry);
  const auto all = [&](Thread::State state) {
    return std::all_of(threads_.begin(), threads_.end(), [&](const Thread& t) { return t.state == state; });
  };
  while (!all(Thread::Ended)) {
    bool any = false;
    for (const int warp : permutation(static_cast<int64_t>(warps_.size()))) {
      while (step(warp)) {
        any = true;
        if (order_.kind == Order::Shuffled && random_.below(8) == 0) break;
      }
    }
    if (all(Thread::AtBarrier)) {
      for (Thread& t : threads_) t.state = Thread::Ready;
    } else if (!any && !all(Thread::Ended)) {
      throw LaunchError(standstill());
    }
  }
  for (size_t i = 0; i < kGuard; ++i) {
    if (here.shared[here.sharedBytes + static_cast<int64_t>(i)] != kGuardByte) {
      throw LaunchError(where() + ": a thread wrote byte " + std::to_string(i) + " behind the shared memory");
    }
  }
}

void Machine::run(const int64_t (&grid)[3], int threads, size_t sharedBytes, const std::function<void()>& kernel,
                  const void* address) {
  if (running_) throw LaunchError("a kernel may not launch another");
  presentOrder();
  const auto number = [](int64_t n) { return std::to_string(n); };
  address_ = address;
  if (threads < kLanes || threads > kMostThreads || threads % kLanes != 0) {
    throw LaunchError(symbolOf(address) + ": " + number(threads) +
                      " threads per block; expected a multiple of 32, at most 1024");
  }
  if (grid[0] < 1 || grid[0] > kMostGridX || grid[1] < 1 || grid[1] > kMostGridYZ || grid[2] < 1 ||
      grid[2] > kMostGridYZ) {
    throw LaunchError(symbolOf(address) + ": a grid of " + number(grid[0]) + " x " + number(grid[1]) + " x " +
                      number(grid[2]) + " blocks; expected 1 to 2^31 - 1 and, in y and z, 1 to 65535");
  }
  if (sharedBytes > static_cast<size_t>(mostSharedBytes())) {
    throw LaunchError(symbolOf(address) + ": " + std::to_string(sharedBytes) +
                      " bytes of shared memory; a block may have " + number(mostSharedBytes()));
  }
  kernel_ = &kernel;
  error_ = nullptr;
  running_ = true;
  struct Done {
    bool& running;
    ~Done() { running = false; }
  } done{running_};
  threads_.resize(static_cast<size_t>(threads));
  warps_.resize(static_cast<size_t>(threads / kLanes));
  if (!memory_) memory_.reset(new unsigned char[static_cast<size_t>(mostSharedBytes()) + kGuard + 128]);
  here.threads = threads;
  here.shared = memory_.get() + (128 - reinterpret_cast<uintptr_t>(memory_.get()) % 128) % 128;
  here.sharedBytes = static_cast<int64_t>(sharedBytes);
  for (int i = 0; i < 3; ++i) here.grid[i] = static_cast<int>(grid[i]);
  for (const int block : permutation(grid[0] * grid[1] * grid[2])) {
    here.block[0] = static_cast<int>(block % grid[0]);
    here.block[1] = static_cast<int>(block / grid[0] % grid[1]);
    here.block[2] = static_cast<int>(block / grid[0] / grid[1]);
    runBlock();
  }
}

}  // namespace

Order parseOrder(const std::string& text) {
  if (text == "ascending") return {Order::Ascending, 0};
  if (text == "descending") return {Order::Descending, 0};
  if (text == "none") return {Order::None, 0};
  const std::string prefix = "shuffled:";
  if (text.compare(0, prefix.size(), prefix) == 0) {
    char* end = nullptr;
    const uint64_t seed = std::strtoull(text.c_str() + prefix.size(), &end, 10);
    if (end != text.c_str() + prefix.size() && *end == 0) return {Order::Shuffled, seed};
  }
  throw LaunchError("D2V_EMULATOR_ORDER=" + text + ": expected ascending, descending, shuffled:<seed> or none");
}

int64_t mostSharedBytes() {
  static const int64_t bytes = [] {
    const char* kib = std::getenv("D2V_EMULATOR_SHARED_KIB");
    return (kib != nullptr ? std::strtoll(kib, nullptr, 10) : 227) * 1024;
  }();
  return bytes;
}

void setOrder(Order order) { machine().setOrder(order); }
Order presentOrder() { return machine().presentOrder(); }

void run(int64_t x, int64_t y, int64_t z, int threads, size_t sharedBytes, const std::function<void()>& kernel,
         const void* address) {
  machine().run({x, y, z}, threads, sharedBytes, kernel, address);
}

void fail(const std::string& message) {
  throw LaunchError(machine().where() + ", thread " + std::to_string(here.thread) + ": " + message);
}

void barrier() { machine().barrier(); }
void meet(Call call, void* args) { machine().meet(call, args); }

void copyAsync(void* target, const void* source, int bytes, bool valid) {
  const int64_t offset = static_cast<unsigned char*>(target) - here.shared;
  if (offset < 0 || offset + bytes > here.sharedBytes) {
    fail("an asynchronous copy of " + std::to_string(bytes) + " bytes to byte " + std::to_string(offset) + " of " +
         std::to_string(here.sharedBytes) + " of shared memory");
  }
  if (offset % bytes != 0) {
    fail("an asynchronous copy of " + std::to_string(bytes) + " bytes to byte " + std::to_string(offset) +
         " of shared memory, which is no multiple of its size");
  }
  if (valid && reinterpret_cast<uintptr_t>(source) % static_cast<uintptr_t>(bytes) != 0) {
    fail("an asynchronous copy of " + std::to_string(bytes) + " bytes from an address that is no multiple of its size");
  }
  // The data may arrive at any time from now on, and is there for sure after the wait only: until then nothing may be
  // read here, neither old nor new.
  std::memset(target, kUnwritten, static_cast<size_t>(bytes));
  machine().copy({target, source, bytes, valid, 0});
}
void commitCopies() { machine().commit(); }
void waitCopies(int left) { machine().waitCopies(left); }

}  // namespace d2v::cuda::emulator
