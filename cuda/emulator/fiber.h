// SPDX-License-Identifier: Apache-2.0
// Fibers: stacks of their own between which one OS thread switches in a few nanoseconds.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define SOFTMPC_FIBER_UCONTEXT 1
#endif
#if defined(SOFTMPC_FIBER_UCONTEXT)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_THREAD__)
#define SOFTMPC_FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SOFTMPC_FIBER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SOFTMPC_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SOFTMPC_FIBER_ASAN 1
#endif
#endif

namespace softmpc::cuda::emulator {

class Fiber {
 public:
  Fiber() = default;  ///< the caller itself: something to switch back to
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The first switch to it calls `entry`, which never returns. May be called again after the end.
  void prepare(void (*entry)());
  /// From the running fiber to another. `ends`: the running one is not switched to again before
  /// its next prepare().
  static void change(Fiber& from, Fiber& to, bool ends);

 private:
  void* stack_ = nullptr;  // lowest usable address
  std::size_t bytes_ = 0;
  char* high_ = nullptr;  // where its frames begin
  void (*entry_)() = nullptr;
#if defined(SOFTMPC_FIBER_UCONTEXT)
  ucontext_t context_;
#else
  void* top_ = nullptr;  // saved stack pointer
#endif
#if defined(SOFTMPC_FIBER_ASAN)
  void* fake_stack_ = nullptr;
  const void* known_stack_ = nullptr;
  std::size_t known_bytes_ = 0;
#elif defined(SOFTMPC_FIBER_TSAN)
  void* tsan_ = nullptr;
  bool owns_tsan_ = false;
#endif

  static void arrived(Fiber& self);
  static void start();
};

}  // namespace softmpc::cuda::emulator
