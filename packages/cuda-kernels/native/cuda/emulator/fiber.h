// Stacks to switch between. A fiber runs until it calls back(); resume() continues it there.
#pragma once

#include <cstddef>
#include <vector>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace d2v::cuda::emulator {

class Fibers {
 public:
  using Entry = void (*)();

  Fibers() = default;
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  /// Makes `count` fibers ready to begin at `entry`, which begins with entered() and ends with a call of back() that never
  /// returns. What was on their stacks is forgotten.
  void start(int count, Entry entry);
  /// From the outside: runs a fiber until it calls back().
  void resume(int fiber);
  /// From a fiber: lets resume() return.
  void back();
  void entered();

 private:
  struct Stack {
    unsigned char* memory;
    unsigned char* top;
#if defined(__x86_64__) || defined(__aarch64__)
    void* position;
#else
    ucontext_t position;
#endif
    const void* lowest;  // these three are AddressSanitizer's
    size_t size;
    void* fake;
  };
  std::vector<Stack> stacks_;
  Stack outside_{};
  int running_ = -1;
};

}  // namespace d2v::cuda::emulator
