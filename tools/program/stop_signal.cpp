// SPDX-License-Identifier: Apache-2.0
// Ctrl-C, SIGTERM and a closed terminal as a flag: the first asks to stop, Ctrl-C or SIGTERM after
// `patience` kills.
#include "program/stop_signal.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

namespace softmpc::tools {
namespace {

// what a handler may touch: lock-free atomics
std::atomic<bool> requested{false};
std::atomic<int> count{0}, first{0}, allowed{1};
std::atomic<bool> announced{false};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  // a closing terminal hangs up twice, by the kernel and by the shell: that is one request
  if (number == SIGHUP && count > 0) return;
  if (count.fetch_add(1) == 0) first = number;
  requested = true;
  if (announced.exchange(false)) {
    constexpr std::string_view line = "\nstopping after this step; once more kills\n";
    const int kept = errno;
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
    errno = kept;
  }
  if (count >= allowed) {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
  }
}

}  // namespace

void catch_stop_signals(int patience) {
  allowed = patience;
  announced = ::isatty(STDERR_FILENO) == 1;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup stays nohup
}

const std::atomic<bool>& stop_requested() { return requested; }
int stop_count() { return count; }
int stop_signal_number() { return first; }

}  // namespace softmpc::tools
