// SPDX-License-Identifier: Apache-2.0
#include "bench/robot_process.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <new>
#include <system_error>
#include <vector>

#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr std::size_t kMost = 1024;  // entries of an observation or a command

/// One writer, and a reader that never keeps it waiting.
class Channel {
 public:
  void write(std::int64_t time, std::uint64_t episode, std::span<const float> values) {
    const std::uint32_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    time_.store(time, std::memory_order_relaxed);
    episode_.store(episode, std::memory_order_relaxed);
    for (std::size_t i = 0; i < values.size(); ++i)
      values_[i].store(values[i], std::memory_order_relaxed);
    version_.store(version + 2, std::memory_order_release);
  }
  RobotProcess::Seen read(std::span<float> values) const {
    for (;;) {
      const std::uint32_t version = version_.load(std::memory_order_acquire);
      const RobotProcess::Seen seen = {time_.load(std::memory_order_relaxed),
                                       episode_.load(std::memory_order_relaxed)};
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = values_[i].load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (version % 2 == 0 && version_.load(std::memory_order_relaxed) == version) return seen;
    }
  }

 private:
  std::atomic<std::uint32_t> version_{0};
  std::atomic<std::int64_t> time_{0};
  std::atomic<std::uint64_t> episode_{0};
  std::array<std::atomic<float>, kMost> values_{};
};

}  // namespace

std::int64_t now_of(clockid_t clock) {
  timespec t = {};
  clock_gettime(clock, &t);
  return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

std::int64_t monotonic_now() { return now_of(CLOCK_MONOTONIC); }

void sleep_until(std::int64_t time) {
  const timespec t = {time / 1'000'000'000, time % 1'000'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) != 0) {
  }
}

struct RobotProcess::Shared {
  Channel state, command;
  std::atomic<std::uint64_t> falls{0}, steps{0};
  std::atomic<bool> started{false};
};

RobotProcess::RobotProcess(FineTask& task, std::int64_t period, std::uint64_t seed) {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "two processes share them");
  if (task.bundle.nx > static_cast<int>(kMost) || task.bundle.nu > static_cast<int>(kMost))
    throw Error("bench: a robot of more than " + std::to_string(kMost) + " components");
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw Error("bench: no memory for a robot: " + std::generic_category().message(errno));
  shared_ = new (memory) Shared;
  const pid_t parent = ::getpid();
  process_ = ::fork();
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);  // it died before
    live(task, *shared_, period, seed);
  }
  if (process_ < 0) {
    const int error = errno;
    ::munmap(shared_, sizeof(Shared));
    throw Error("bench: no process for a robot: " + std::generic_category().message(error));
  }
}

RobotProcess::~RobotProcess() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  ::munmap(shared_, sizeof(Shared));
}

void RobotProcess::live(FineTask& task, Shared& shared, std::int64_t period, std::uint64_t seed) {
  std::vector<float> action = task.rest;
  std::uint64_t episode = 1;
  task.reset(seed);
  while (!shared.started.load()) sleep_until(monotonic_now() + 1'000'000);
  for (std::int64_t tick = monotonic_now() + period;; tick += period) {
    sleep_until(tick);  // not at all where the machine came late: the simulator catches up
    shared.state.write(tick, episode, task.observed());
    const std::uint64_t meant = shared.command.read(action).episode;
    const Transition t = task.step(meant == episode ? action : task.rest);
    shared.steps.fetch_add(1, std::memory_order_relaxed);
    if (!t.terminated && !t.truncated) continue;
    shared.falls.fetch_add(t.terminated, std::memory_order_relaxed);
    task.reset(seed + episode++);
  }
}

void RobotProcess::start() { shared_->started.store(true); }

RobotProcess::Seen RobotProcess::observe(std::span<float> x) const {
  return shared_->state.read(x);
}
void RobotProcess::command(std::uint64_t episode, std::span<const float> action) {
  shared_->command.write(0, episode, action);
}
std::uint64_t RobotProcess::falls() const { return shared_->falls.load(); }
std::uint64_t RobotProcess::steps() const { return shared_->steps.load(); }

}  // namespace softmpc::tools
