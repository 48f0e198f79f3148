// SPDX-License-Identifier: Apache-2.0
// Tasks whose dynamics are a formula: environment and dynamics model from one set of rules.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "render/mujoco_renderer.h"
#include "reset_random.h"
#include "rollout_rules.h"
#include "rules_text.h"
#include "softmpc/environment.h"
#include "softmpc/error.h"
#include "softmpc/task.h"
#include "state_bytes.h"

namespace softmpc::tasks {

/// Rules of an analytic task: sizes nq = nv (state = positions, then velocities), nx, nu, dt,
/// time_limit, name, summary, bound (of every action), and for T = float, double
///   advance<T>(state, action)      one step, in place
///   observe<T>(state, observation)
///   recover<T>(observation, state) inverse of observe
///   reward<T>(x, a, next)
///   draw_start(random, state)
template <class Rules>
class AnalyticEnvironment final : public Environment {
 public:
  explicit AnalyticEnvironment(const TaskOptions& options)
      : time_limit_(options.time_limit > 0 ? options.time_limit : Rules::time_limit) {}

  int observation_size() const override { return Rules::nx; }
  int action_size() const override { return Rules::nu; }

  void reset(std::uint64_t seed, std::span<double> observation) override {
    check_size("observation", observation.size(), Rules::nx);
    ResetRandom random(seed);
    Rules::draw_start(random, state_.data());
    steps_ = 0;
    Rules::observe(state_, observation);
  }

  void reset_to(std::span<const double> positions, std::span<const double> velocities,
                std::span<double> observation) override {
    check_size("start positions", positions.size(), Rules::nq);
    check_size("start velocities", velocities.size(), Rules::nq);
    check_size("observation", observation.size(), Rules::nx);
    const auto finite = [](double value) { return std::isfinite(value); };
    if (!std::ranges::all_of(positions, finite) || !std::ranges::all_of(velocities, finite)) {
      throw Error(std::string(Rules::name) + ": start state holds NaN or infinity");
    }
    std::ranges::copy(positions, state_.begin());
    std::ranges::copy(velocities, state_.begin() + Rules::nq);
    steps_ = 0;
    Rules::observe(state_, observation);
  }

  void read_state(std::vector<double>& positions, std::vector<double>& velocities) const override {
    positions.assign(state_.begin(), state_.begin() + Rules::nq);
    velocities.assign(state_.begin() + Rules::nq, state_.end());
  }

  Transition step(std::span<const float> action, std::span<double> observation) override {
    check_size("action", action.size(), Rules::nu);
    check_size("observation", observation.size(), Rules::nx);
    for (std::size_t i = 0; i < action.size(); ++i) {
      if (!std::isfinite(action[i])) {
        throw Error(std::string(Rules::name) + ": action[" + std::to_string(i) + "] is " +
                    std::to_string(action[i]) + ", must be finite");
      }
    }
    if (steps_ < 0) throw Error(std::string(Rules::name) + ": step() before the first reset()");
    std::array<double, Rules::nx> before;
    Rules::observe(state_, before);
    Rules::template advance<double>(state_, action);
    Rules::observe(state_, observation);
    ++steps_;
    return {.reward = Rules::template reward<double>(before, action, observation),
            .terminated = false,
            .truncated = steps_ >= time_limit_};
  }

  std::vector<std::byte> save() const override {
    StateWriter out(fingerprint());
    out.add_value(steps_);
    out.add(state_.data(), state_.size());
    return out.finish();
  }

  void load(std::span<const std::byte> bytes) override {
    StateReader in(bytes, fingerprint(), Rules::name);
    const auto steps = in.value<std::int64_t>();
    decltype(state_) state;
    in.read(state.data(), state.size());
    in.finish();
    steps_ = steps;
    state_ = state;
  }

 private:
  static void check_size(const char* what, std::size_t size, int expected) {
    if (size == static_cast<std::size_t>(expected)) return;
    throw Error(std::string(Rules::name) + ": " + what + " has size " + std::to_string(size) +
                ", must have " + std::to_string(expected));
  }
  static std::uint64_t fingerprint() {
    StateHash hash;
    hash.add(std::string_view(Rules::name));
    return hash.value();
  }

  int time_limit_;
  std::int64_t steps_ = -1;  // of the episode; -1 before the first reset
  std::array<double, 2 * Rules::nq> state_{};
};

/// What a task without a simulator looks like.
struct Drawing {
  std::string_view mjcf = {};  ///< whose positions are the state's; empty: it has no picture
  SceneFacts scene = {};
};

template <class Rules>
class AnalyticTask final : public Task {
 public:
  explicit AnalyticTask(TaskRules rules, Drawing drawing = {})
      : rules_(std::move(rules)), drawing_(std::move(drawing)) {}

  std::string name() const override { return Rules::name; }
  TaskSpec spec(const TaskOptions& options) const override {
    TaskSpec spec;
    spec.name = Rules::name;
    spec.summary = Rules::summary;
    spec.nx = Rules::nx;
    spec.nu = Rules::nu;
    spec.action_low.assign(Rules::nu, -Rules::bound);
    spec.action_high.assign(Rules::nu, Rules::bound);
    spec.dt = Rules::dt;
    spec.time_limit = options.time_limit > 0 ? options.time_limit : Rules::time_limit;
    return spec;
  }
  std::unique_ptr<Environment> make_environment(const TaskOptions& options) const override {
    return std::make_unique<AnalyticEnvironment<Rules>>(options);
  }
  std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const override {
    return rules_.make_reward(options);
  }
  std::unique_ptr<DynamicsModel> make_dynamics(const TaskOptions&) const override {
    return std::make_unique<RuleDynamics<AnalyticMotion<Rules>>>(rules_text(rules_.header));
  }
  std::unique_ptr<Renderer> make_renderer(const TaskOptions& options,
                                          const RendererOptions& wanted) const override {
    if (drawing_.mjcf.empty()) return Task::make_renderer(options, wanted);
    const auto follow = [](ConstLane, ConstLane after, double* positions) {
      std::array<double, Rules::nx> observation;
      for (int i = 0; i < Rules::nx; ++i) observation[static_cast<std::size_t>(i)] = after[i];
      std::array<double, 2 * Rules::nq> state;
      Rules::recover(observation, state);
      std::copy_n(state.begin(), Rules::nq, positions);
    };
    return make_mujoco_renderer(Rules::name, drawing_.mjcf, drawing_.scene, {false, follow},
                                wanted);
  }

 private:
  TaskRules rules_;
  Drawing drawing_;
};

}  // namespace softmpc::tasks
