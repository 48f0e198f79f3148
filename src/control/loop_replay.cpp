// SPDX-License-Identifier: Apache-2.0
// What of a tick is recorded, and a recorded tick once more.
#include <algorithm>
#include <string>

#include "control/black_box_header.h"
#include "control/loop.h"
#include "softmpc/error.h"

namespace softmpc {

/// As a black box holds it.
LoopState Controller::Impl::recorded_state() const {
  const int commands = std::min(static_cast<int>(loop_.log.times.size()), black_box::kCommands);
  return {shape, config.horizon, commands, static_cast<int>(loop_.parameters.size())};
}

void Controller::Impl::open_black_box() {
  if (options.black_box.empty()) return;
  BlackBoxOrigin origin = BlackBoxOrigin::here();
  origin.device = device();
  origin.task = task;
  origin.nx = shape.nx;
  origin.nu = shape.nu;
  origin.horizon = config.horizon;
  origin.state_bytes = recorded_state().bytes();
  origin.dt = dt;
  const BlackBoxPlace place(options.black_box);
  try {
    black_box_ = std::make_unique<BlackBoxWriter>(place, shape.nx, recorded_state(),
                                                  black_box_header(origin, config, options));
    black_box_->flies(engine_->hash);
    engine_->probe(options.seed, 0);  // the file has taken the caches
  } catch (const Error& error) {
    notes += std::string(error.what()) + "; plans are not recorded\n";
  }
}

const Plan& Controller::Impl::replay(const BlackBoxRecord& record) {
  const std::string name = "replay: record " + std::to_string(record.number);
  if (record.cut)
    throw Error(name + " lacks commands that were on their way, it has room for " +
                std::to_string(black_box::kCommands));
  LoopState before = recorded_state();
  if (static_cast<int>(record.plan.action.size()) != shape.nu || !before.load(record.state) ||
      !follow(before))
    throw Error(name + " is of a controller of other sizes or options, or of another softmpc");
  loop_.take(before);
  replayed_ = &record;
  const bool fits = record.observation_size == static_cast<std::size_t>(shape.nx);
  const auto x = fits ? record.observation : std::span<const float>();
  const Plan* plan = nullptr;
  try {
    plan = record.timed
               ? &this->plan({.observation = x, .state_time = record.state_time, .now = record.now})
               : &plan_untimed(x);
  } catch (...) {
    replayed_ = nullptr;
    throw;
  }
  replayed_ = nullptr;
  return *plan;
}

std::optional<Solved> Controller::Impl::solved() const noexcept {
  if (!solved_) return {};
  return Solved{.key = *solved_,
                .observation = from_,
                .plan = moved_,
                .low = loop_.low,
                .high = loop_.high,
                .parameters = loop_.given_parameters(),
                .done = {result_.iterations_done, result_.rollouts_used}};
}

}  // namespace softmpc
