#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define D2V_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define D2V_ASAN 1
#endif
#endif
#if defined(D2V_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace d2v::cuda::emulator {

namespace {
constexpr size_t kStackBytes = 128 * 1024;
}

// Saves the registers that a function has to keep and the stack pointer in *from, and takes up those of `to`: a few
// nanoseconds, where swapcontext() asks the system to change the signal mask.
#if defined(__x86_64__)
extern "C" void switchStack(void** from, void* to) __asm__("d2v_emulator_switch");
__asm__(
    ".text\n.globl d2v_emulator_switch\n.p2align 4\nd2v_emulator_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
#elif defined(__aarch64__)
extern "C" void switchStack(void** from, void* to) __asm__("d2v_emulator_switch");
__asm__(
    ".text\n.globl d2v_emulator_switch\n.p2align 4\nd2v_emulator_switch:\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\n"
    "stp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\nstp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
    "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\n"
    "ldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\nldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\nret\n");
#endif

Fibers::~Fibers() {
  for (Stack& stack : stacks_) munmap(stack.memory, kStackBytes);
}

void Fibers::start(int count, Entry entry) {
  while (stacks_.size() < static_cast<size_t>(count)) {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    // The lowest page may not be touched: a stack that is too small ends the program instead of spoiling another one.
    mprotect(memory, static_cast<size_t>(sysconf(_SC_PAGESIZE)), PROT_NONE);
    Stack stack{};
    stack.memory = static_cast<unsigned char*>(memory);
    // Tops that lie at different places of their pages do not fight for the same lines of the cache.
    stack.top = stack.memory + kStackBytes - (stacks_.size() % 61) * 64;
    stacks_.push_back(stack);
  }
  for (int i = 0; i < count; ++i) {
    Stack& stack = stacks_[static_cast<size_t>(i)];
#if defined(D2V_ASAN)
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    __asan_unpoison_memory_region(stack.memory + page, kStackBytes - page);
    stack.fake = nullptr;
#endif
#if defined(__x86_64__)
    // As switchStack leaves it: six registers, then where to return to. The entry finds the stack as after a call.
    void** top = reinterpret_cast<void**>(stack.top) - 8;
    for (int r = 0; r < 8; ++r) top[r] = nullptr;
    top[6] = reinterpret_cast<void*>(entry);
    stack.position = top;
#elif defined(__aarch64__)
    void** top = reinterpret_cast<void**>(stack.top) - 20;
    for (int r = 0; r < 20; ++r) top[r] = nullptr;
    top[11] = reinterpret_cast<void*>(entry);
    stack.position = top;
#else
    getcontext(&stack.position);
    stack.position.uc_stack.ss_sp = stack.memory;
    stack.position.uc_stack.ss_size = static_cast<size_t>(stack.top - stack.memory);
    stack.position.uc_link = nullptr;
    makecontext(&stack.position, entry, 0);
#endif
  }
}

void Fibers::resume(int fiber) {
  running_ = fiber;
  Stack& to = stacks_[static_cast<size_t>(fiber)];
#if defined(D2V_ASAN)
  __sanitizer_start_switch_fiber(&outside_.fake, to.memory, kStackBytes);
#endif
#if defined(__x86_64__) || defined(__aarch64__)
  switchStack(&outside_.position, to.position);
#else
  swapcontext(&outside_.position, &to.position);
#endif
#if defined(D2V_ASAN)
  __sanitizer_finish_switch_fiber(outside_.fake, nullptr, nullptr);
#endif
}

void Fibers::entered() {
#if defined(D2V_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &outside_.lowest, &outside_.size);
#endif
}

void Fibers::back() {
  Stack& from = stacks_[static_cast<size_t>(running_)];
#if defined(D2V_ASAN)
  __sanitizer_start_switch_fiber(&from.fake, outside_.lowest, outside_.size);
#endif
#if defined(__x86_64__) || defined(__aarch64__)
  switchStack(&from.position, outside_.position);
#else
  swapcontext(&from.position, &outside_.position);
#endif
#if defined(D2V_ASAN)
  __sanitizer_finish_switch_fiber(from.fake, &outside_.lowest, &outside_.size);
#endif
}

}  // namespace d2v::cuda::emulator
