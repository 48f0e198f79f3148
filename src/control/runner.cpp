// SPDX-License-Identifier: Apache-2.0
#include "softmpc/runner.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "control/command_board.h"
#include "control/mailbox.h"
#include "control/offer_slot.h"
#include "control/record_ring.h"
#include "control/thread_settings.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using Clock = SolveBudget::Clock;
constexpr Nanoseconds kLongest = std::chrono::hours(1);
constexpr int kMostPriority = 99, kMostCpu = 1023;  // what SCHED_FIFO and cpu_set_t can say

void check_range(const char* option, std::int64_t value, std::int64_t low, std::int64_t high,
                 const char* unit = "") {
  if (value < low || value > high)
    throw UsageError("runner: " + std::string(option) + " " + std::to_string(value) + unit +
                     " is out of range " + std::to_string(low) + ".." + std::to_string(high) +
                     unit);
}

RunnerOptions checked(const RunnerOptions& o) {
  const std::int64_t shortest = o.trigger == Trigger::period ? 1 : 0;
  check_range("period", o.period.count(), shortest, kLongest.count(), " ns");
  check_range("budget", o.budget.count(), 0, kLongest.count(), " ns");
  check_range("priority", o.priority, 0, kMostPriority);
  check_range("cpu", o.cpu, -1, kMostCpu);
  return o;
}

[[noreturn]] void refuse_stopped(const char* call) {
  throw UsageError("runner: " + std::string(call) + " came after stop(), which gave the " +
                   "controller back");
}

}  // namespace

struct Runner::Impl {
  Impl(Controller&& given, const RunnerOptions& asked)
      : options(checked(asked)),
        mailbox(given.shape().nx),
        board(given, options.reading),
        controller(std::move(given)) {
    publish_statistics();
  }
  ~Impl() { end(); }

  void start();
  void end() noexcept;
  // the planner thread
  void on_news() noexcept;
  void on_time() noexcept;
  void plan() noexcept;
  void publish_statistics() noexcept;

  const RunnerOptions options;
  Mailbox mailbox;
  OfferSlot offers;
  CommandBoard board;
  RecordRing statistics{RecordRing::words_of<Statistics>};
  std::atomic<std::uint64_t> ignored{0};
  std::string notes;
  Controller controller;  // taken when nothing above has failed

  std::atomic<bool> stopping{false};
  std::atomic<std::uint32_t> news{0};  // counts states, and the end; the thread sleeps on it
  std::mutex mutex;                    // under Trigger::period it sleeps here; for the end only
  std::condition_variable ended;
  std::thread thread;
};

void Runner::Impl::start() {
  try {
    thread = std::thread([this] { options.trigger == Trigger::period ? on_time() : on_news(); });
  } catch (const std::system_error& error) {
    throw Error(std::string("runner: the planner thread did not start (") + error.what() +
                "): raise ulimit -v or ulimit -u");
  }
  notes = apply_settings(options, thread);
}

void Runner::Impl::on_news() noexcept {
  for (;;) {
    const std::uint32_t seen = news.load(std::memory_order_acquire);
    if (stopping.load(std::memory_order_relaxed)) return;
    if (mailbox.take())
      plan();
    else
      news.wait(seen);
  }
}

void Runner::Impl::on_time() noexcept {
  Clock::time_point wake = Clock::now();
  bool known = false;
  for (;;) {
    wake += (Clock::now() - wake) / options.period * options.period + options.period;
    {
      std::unique_lock lock(mutex);
      if (ended.wait_until(lock, wake, [this] { return stopping.load(); })) return;
    }
    known |= mailbox.take();
    if (known) plan();
  }
}

void Runner::Impl::plan() noexcept {
  const Clock::time_point begin = Clock::now();
  offers.swap_into(controller);
  const Observed& from = mailbox.latest();
  const Plan& plan = controller.plan(
      {.observation = from.state,
       .state_time = from.measured,
       .deadline = options.budget.count() > 0 ? begin + options.budget : no_deadline});
  publish_statistics();  // first: who sees the plan sees it counted
  board.publish(plan, from.measured);
}

void Runner::Impl::publish_statistics() noexcept {
  statistics.publish([this](std::span<RecordRing::Word> record) {
    RecordRing::store(record, controller.statistics());
  });
}

void Runner::Impl::end() noexcept {
  if (!thread.joinable()) return;
  {
    std::lock_guard lock(mutex);
    stopping.store(true);
  }
  ended.notify_one();
  ++news;
  news.notify_one();
  thread.join();
  offers.clear();
}

Runner::Runner(Controller&& controller, RunnerOptions options)
    : impl_(std::make_unique<Impl>(std::move(controller), options)) {
  try {
    impl_->start();
  } catch (...) {
    impl_->end();
    controller = std::move(impl_->controller);
    throw;
  }
}
Runner::~Runner() = default;

void Runner::submit(std::span<const float> observation, Nanoseconds measured) noexcept {
  Impl& r = *impl_;
  if (measured.count() == 0 || !r.mailbox.put(observation, measured)) {
    r.ignored.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (r.options.trigger != Trigger::new_state) return;
  ++r.news;
  r.news.notify_one();
}

CommandInfo Runner::command_at(Nanoseconds t, std::span<float> action) const noexcept {
  return impl_->board.read(t, action);
}

Prepared Runner::prepare(const Bundle& bundle) const {
  if (impl_->stopping.load()) refuse_stopped("prepare()");
  return Prepared(impl_->controller, bundle);
}

bool Runner::offer(Prepared&& nets) noexcept {
  return !impl_->stopping.load() && impl_->offers.put(std::move(nets));
}

Statistics Runner::statistics() const {
  Statistics out;
  const auto copy = [&out](std::span<const RecordRing::Word> record) {
    out = RecordRing::load<Statistics>(record);
  };
  while (!impl_->statistics.read(copy)) std::this_thread::yield();
  return out;
}

std::uint64_t Runner::ignored() const noexcept {
  return impl_->ignored.load(std::memory_order_relaxed);
}

Controller Runner::stop() {
  if (impl_->stopping.load()) refuse_stopped("stop()");
  impl_->end();
  return std::move(impl_->controller);
}

const std::string& Runner::notes() const noexcept { return impl_->notes; }

}  // namespace softmpc
