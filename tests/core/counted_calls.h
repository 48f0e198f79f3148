// SPDX-License-Identifier: Apache-2.0
// Counts what a control loop must not do, below operator new: the process's calls of glibc's malloc
// and its kin, of locks and of waits, by functions that stand before glibc's. For one source file
// of a program, and without sanitizers, which stand there themselves.
#pragma once

#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdlib>
#include <ostream>

namespace softmpc::testing {

struct Calls {
  long allocations = 0, frees = 0, locks = 0, waits = 0;
  bool operator==(const Calls&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Calls& c) {
    return out << c.allocations << " allocations, " << c.frees << " frees, " << c.locks
               << " locks, " << c.waits << " waits";
  }
};

struct CallCounters {
  std::atomic<long> allocations{0}, frees{0}, locks{0}, waits{0};
};
inline constinit CallCounters call_counters;

inline Calls calls() {
  const CallCounters& c = call_counters;
  return {c.allocations, c.frees, c.locks, c.waits};
}

/// glibc's own function of this name. dlsym() may allocate, which is counted at the first call.
template <class Function>
Function* next_of(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace softmpc::testing

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t bytes) noexcept {
  ++softmpc::testing::call_counters.allocations;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
  ++softmpc::testing::call_counters.allocations;
  return __libc_calloc(count, bytes);
}
void* realloc(void* p, std::size_t bytes) noexcept {
  ++softmpc::testing::call_counters.allocations;
  return __libc_realloc(p, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  ++softmpc::testing::call_counters.allocations;
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  return memalign(alignment, bytes);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t bytes) noexcept {
  void* const p = memalign(alignment, bytes);
  if (p == nullptr) return ENOMEM;
  *out = p;
  return 0;
}
void free(void* p) noexcept {
  if (p != nullptr) ++softmpc::testing::call_counters.frees;
  __libc_free(p);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static auto* const next = softmpc::testing::next_of<int(pthread_mutex_t*)>("pthread_mutex_lock");
  ++softmpc::testing::call_counters.locks;
  return next(mutex);
}
int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  static auto* const next =
      softmpc::testing::next_of<int(pthread_cond_t*, pthread_mutex_t*)>("pthread_cond_wait");
  ++softmpc::testing::call_counters.waits;
  return next(condition, mutex);
}
/// What std::atomic waits with: SYS_futex; any other is as bad in a control loop.
long syscall(long number, ...) noexcept {
  static auto* const next = softmpc::testing::next_of<long(long, ...)>("syscall");
  ++softmpc::testing::call_counters.waits;
  std::va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
}
