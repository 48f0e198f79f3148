// SPDX-License-Identifier: Apache-2.0
// A child process with little address space, as after `ulimit -v`.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

namespace softmpc::test {

/// Sanitizers reserve terabytes of address space, so that no limit can be set.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kLimitsWork = false;
#else
inline constexpr bool kLimitsWork = true;
#endif

/// This process may have `bytes` of address space from now on.
inline void limit_address_space(rlim_t bytes) {
  rlimit limit{};
  ::getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = bytes;
  ::setrlimit(RLIMIT_AS, &limit);
}

/// The text of what `f` throws in a child that has `more` bytes of address space left; "nothing
/// thrown", or "killed by signal N" (14: it hung for twenty seconds).
template <class F>
std::string thrown_with_room_for(rlim_t more, const F& f) {
  int pipe[2];
  if (::pipe(pipe) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    unsigned long pages = 0;
    if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
      if (std::fscanf(file, "%lu", &pages) != 1) pages = 0;
      std::fclose(file);
    }
    limit_address_space(pages * static_cast<rlim_t>(::sysconf(_SC_PAGE_SIZE)) + more);
    std::string text = "nothing thrown";
    try {
      f();
    } catch (const std::exception& error) {
      text = error.what();
    }
    const bool written = ::write(pipe[1], text.data(), text.size()) >= 0;
    ::_exit(written ? 0 : 1);
  }
  ::close(pipe[1]);
  std::string text;
  char part[256];
  for (ssize_t n; (n = ::read(pipe[0], part, sizeof part)) > 0;)
    text.append(part, static_cast<std::size_t>(n));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status));
  return text;
}

}  // namespace softmpc::test
