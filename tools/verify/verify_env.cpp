// SPDX-License-Identifier: Apache-2.0
// Replays a recorded trajectory of an environment: observations, rewards, terminations, end state.
#include "verify/verify_env.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

#include "program/console.h"
#include "softmpc/environment.h"
#include "softmpc/task.h"

namespace softmpc::tools {
namespace {

/// What a file says of all its episodes.
struct Rules {
  Tolerance first, later;
  int first_steps = 0;
  int compare_steps = std::numeric_limits<int>::max();  ///< beyond lies contact chaos

  /// Tolerance of what step `step` (from 0) produced.
  Tolerance of_step(int step) const { return step < first_steps ? first : later; }
};

/// One recorded variant of one episode.
struct Recording {
  std::string name;  ///< key in the file, "episodes[0].with_positions"
  std::vector<double> positions, velocities;
  std::vector<float> actions;                         // [T, nu]
  std::vector<double> observations;                   // [T+1, n]
  std::vector<double> rewards;                        // [T]
  std::vector<std::uint8_t> terminated;               // [T]
  std::vector<double> positions_end, velocities_end;  // empty: not recorded
  int steps = 0;
};

Rules read_rules(const JsonNode& document) {
  constexpr int kMost = 1 << 30;
  const JsonNode tolerance = document.at("tolerance");
  Rules rules;
  rules.first_steps = tolerance.at("first_steps").integer(0, kMost);
  rules.first = read_tolerance(tolerance.at("first"));
  rules.later = read_tolerance(tolerance.at("later"));
  if (const auto limit = document.find("compare_steps")) {
    rules.compare_steps = limit->integer(0, kMost);
  }
  return rules;
}

/// Reads what both variants share (start, actions) and one variant's results.
Recording read_recording(const JsonNode& episode, const JsonNode& results,
                         const Environment& environment, std::size_t nq, std::size_t nv) {
  const auto nu = static_cast<std::size_t>(environment.action_size());
  const auto n = static_cast<std::size_t>(environment.observation_size());
  Recording recording;
  recording.name = results.key();
  recording.positions = episode.at("qpos0").numbers({nq});
  recording.velocities = episode.at("qvel0").numbers({nv});
  const std::size_t steps = episode.at("actions").size();
  recording.steps = static_cast<int>(steps);
  recording.actions = episode.at("actions").floats({steps, nu});
  recording.observations = results.at("observations").numbers({steps + 1, n});
  recording.rewards = results.at("rewards").numbers({steps});
  recording.terminated = results.at("terminated").booleans({steps});
  if (const auto end = results.find("qpos_end")) recording.positions_end = end->numbers({nq});
  if (const auto end = results.find("qvel_end")) recording.velocities_end = end->numbers({nv});
  return recording;
}

void compare_state(const Environment& environment, const Recording& recording, Tolerance tolerance,
                   VerifyReport& report) {
  std::vector<double> positions, velocities;
  environment.read_state(positions, velocities);
  const auto compare_all = [&](const char* name, const std::vector<double>& computed,
                               const std::vector<double>& recorded) {
    for (std::size_t i = 0; i < recorded.size(); ++i) {
      report.compare(name, computed[i], recorded[i], tolerance,
                     [&] { return text("%s.%s[%zu]", recording.name.c_str(), name, i); });
    }
  };
  compare_all("qpos_end", positions, recording.positions_end);
  compare_all("qvel_end", velocities, recording.velocities_end);
}

void replay(Environment& environment, const Recording& recording, const Rules& rules,
            VerifyReport& report) {
  const auto n = static_cast<std::size_t>(environment.observation_size());
  const auto nu = static_cast<std::size_t>(environment.action_size());
  std::vector<double> observation(n);
  const auto compare_observation = [&](int row, Tolerance tolerance) {
    for (std::size_t i = 0; i < n; ++i) {
      const double recorded = recording.observations[static_cast<std::size_t>(row) * n + i];
      report.compare("observation", observation[i], recorded, tolerance, [&] {
        return text("%s.observations[%d][%zu]", recording.name.c_str(), row, i);
      });
    }
  };
  environment.reset_to(recording.positions, recording.velocities, observation);
  compare_observation(0, rules.first);
  const int steps = std::min(recording.steps, rules.compare_steps);
  for (int t = 0; t < steps; ++t) {
    const auto step = static_cast<std::size_t>(t);
    const std::span<const float> actions(recording.actions);
    const Transition result = environment.step(actions.subspan(step * nu, nu), observation);
    const Tolerance tolerance = rules.of_step(t);
    compare_observation(t + 1, tolerance);
    report.compare("reward", result.reward, recording.rewards[step], tolerance,
                   [&] { return text("%s.rewards[%d]", recording.name.c_str(), t); });
    report.compare_exactly("terminated", result.terminated == (recording.terminated[step] != 0),
                           [&] { return text("%s.terminated[%d]", recording.name.c_str(), t); });
  }
  if (steps == recording.steps) {
    compare_state(environment, recording, rules.of_step(steps - 1), report);
  }
}

/// An environment of one variant, and the sizes of its simulator state.
struct Variant {
  Variant(const Task& task, bool positions) {
    environment = task.make_environment({.positions = positions, .time_limit = 0});
    std::vector<double> observation(static_cast<std::size_t>(environment->observation_size()));
    environment->reset(0, observation);
    std::vector<double> q, v;
    environment->read_state(q, v);
    nq = q.size();
    nv = v.size();
  }
  std::unique_ptr<Environment> environment;
  std::size_t nq = 0, nv = 0;
};

}  // namespace

VerifyReport verify_env(const JsonNode& document) {
  VerifyReport report;
  report.file = document.source();
  report.kind = "env";
  const Task& task = recorded_task(document);
  report.task = document.at("task").string();
  const Rules rules = read_rules(document);
  const Variant plain(task, false), positions(task, true);
  const JsonNode episodes = document.at("episodes");
  if (episodes.size() == 0) episodes.fail("is empty, must hold at least one episode");
  for (std::size_t i = 0; i < episodes.size(); ++i) {
    const JsonNode episode = episodes.at(i);
    replay(*plain.environment,
           read_recording(episode, episode, *plain.environment, plain.nq, plain.nv), rules, report);
    if (const auto other = episode.find("with_positions")) {
      replay(*positions.environment,
             read_recording(episode, *other, *positions.environment, positions.nq, positions.nv),
             rules, report);
    }
  }
  return report;
}

}  // namespace softmpc::tools
