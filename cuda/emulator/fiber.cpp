// SPDX-License-Identifier: Apache-2.0
#include "emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(SOFTMPC_FIBER_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(SOFTMPC_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

// softmpc_fiber_swap(save, load): pushes what a function must keep, leaves the stack pointer in
// *save, takes `load` and pops.
#if defined(SOFTMPC_FIBER_UCONTEXT)
// swapcontext() is slow, and runs everywhere
#elif defined(__x86_64__)
asm(R"(
.text
.globl softmpc_fiber_swap
.type softmpc_fiber_swap, @function
softmpc_fiber_swap:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size softmpc_fiber_swap, .-softmpc_fiber_swap
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl softmpc_fiber_swap
.type softmpc_fiber_swap, %function
softmpc_fiber_swap:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size softmpc_fiber_swap, .-softmpc_fiber_swap
)");
#endif
#if !defined(SOFTMPC_FIBER_UCONTEXT)
extern "C" void softmpc_fiber_swap(void** save, void* load);
#endif

namespace softmpc::cuda::emulator {
namespace {

#if defined(SOFTMPC_FIBER_ASAN) || defined(SOFTMPC_FIBER_TSAN)
constexpr std::size_t kStackBytes = 512 << 10;  // sanitized frames are large
#else
constexpr std::size_t kStackBytes = 128 << 10;
#endif

thread_local constinit Fiber* previous = nullptr;  // who switched last
thread_local constinit Fiber* running = nullptr;
thread_local constinit unsigned stacks_made = 0;

}  // namespace

Fiber::~Fiber() {
#if defined(SOFTMPC_FIBER_TSAN)
  if (owns_tsan_) __tsan_destroy_fiber(tsan_);
#endif
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (stack_ != nullptr) ::munmap(static_cast<char*>(stack_) - page, bytes_ + page);
}

void Fiber::prepare(void (*entry)()) {
  entry_ = entry;
  if (stack_ == nullptr) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* block = ::mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc();
    ::mprotect(block, page, PROT_NONE);  // an overflow faults
    stack_ = static_cast<char*>(block) + page;
    bytes_ = kStackBytes;
    // equal offsets in all stacks would share a few sets of the caches
    high_ = static_cast<char*>(stack_) + bytes_ - stacks_made++ % 61 * 192;
  }
#if defined(SOFTMPC_FIBER_ASAN)
  __asan_unpoison_memory_region(stack_, bytes_);
  known_stack_ = stack_;
  known_bytes_ = bytes_;
  fake_stack_ = nullptr;
#endif
#if defined(SOFTMPC_FIBER_TSAN)
  if (owns_tsan_) __tsan_destroy_fiber(tsan_);
  tsan_ = __tsan_create_fiber(0);
  owns_tsan_ = true;
#endif
#if defined(SOFTMPC_FIBER_UCONTEXT)
  ::getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = static_cast<std::size_t>(high_ - static_cast<char*>(stack_));
  context_.uc_link = nullptr;
  ::makecontext(&context_, &Fiber::start, 0);
#elif defined(__x86_64__)
  auto* frame = reinterpret_cast<std::uintptr_t*>(high_) - 8;
  for (int i = 0; i < 8; ++i) frame[i] = 0;
  frame[6] = reinterpret_cast<std::uintptr_t>(&Fiber::start);  // six registers, then `ret`
  top_ = frame;
#elif defined(__aarch64__)
  auto* frame = reinterpret_cast<std::uintptr_t*>(high_) - 20;
  for (int i = 0; i < 20; ++i) frame[i] = 0;
  frame[11] = reinterpret_cast<std::uintptr_t>(&Fiber::start);  // x30
  top_ = frame;
#endif
}

void Fiber::start() {
  arrived(*running);
  running->entry_();
  __builtin_unreachable();
}

void Fiber::arrived(Fiber& self) {
#if defined(SOFTMPC_FIBER_ASAN)
  __sanitizer_finish_switch_fiber(self.fake_stack_, &previous->known_stack_,
                                  &previous->known_bytes_);
#else
  (void)self;
#endif
}

void Fiber::change(Fiber& from, Fiber& to, [[maybe_unused]] bool ends) {
  previous = &from;
  running = &to;
#if defined(SOFTMPC_FIBER_ASAN)
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.fake_stack_, to.known_stack_,
                                 to.known_bytes_);
#endif
#if defined(SOFTMPC_FIBER_TSAN)
  if (from.tsan_ == nullptr) from.tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_, 0);
#endif
#if defined(SOFTMPC_FIBER_UCONTEXT)
  ::swapcontext(&from.context_, &to.context_);
#else
  softmpc_fiber_swap(&from.top_, to.top_);
#endif
  arrived(from);
}

}  // namespace softmpc::cuda::emulator
