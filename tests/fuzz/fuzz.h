// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: the bundle and controllers that inputs start from, and a check.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/random_models.h"
#include "core/temp_folder.h"
#include "io/atomic_file.h"
#include "softmpc/bundle.h"
#include "softmpc/controller.h"

/// libFuzzer's own mutation of `size` bytes in place, up to `most`; returns their new number.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace softmpc::fuzz {

/// Ends the program where a rule does not hold, which libFuzzer reports with the input.
inline void hold(bool rule, const char* what) {
  if (rule) return;
  std::fprintf(stderr, "fuzz: broken rule: %s\n", what);
  __builtin_trap();
}

inline void hold_one_line(const char* text) {
  hold(std::strlen(text) > 10, "an error is a sentence");
  hold(std::strchr(text, '\n') == nullptr, "an error is one line");
}

inline void hold_inside(std::span<const float> action, std::span<const float> low,
                        std::span<const float> high) {
  for (std::size_t i = 0; i < action.size(); ++i)
    hold(action[i] >= low[i] && action[i] <= high[i], "an action lies in its bounds");
}

/// Nets of a few weights and plans of a few rollouts: what is fuzzed is what lies around them.
inline Bundle small_bundle(int nx, int nu, std::uint64_t seed = 8) {
  testing::Random random(seed);
  const testing::SmallModels nets(random, nx, nu, 2, 4);
  Bundle bundle = testing::bundle_of(nets);
  bundle.planner.rollouts = 12;
  bundle.planner.horizon = 2;
  bundle.planner.precision = Precision::float32;
  bundle.state_low.assign(static_cast<std::size_t>(nx), -3);
  bundle.state_high.assign(static_cast<std::size_t>(nx), 3);
  return bundle;
}

/// r = w_0 - w_1 |x'|^2 with the parameters w, of any value.
struct WeighedReward final : RewardModel {
  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override {
    const float own[] = {1, 0.1f};
    reward_with(own, x, a, next, count, out);
  }
  int parameter_count() const override { return 2; }
  void reward_with(std::span<const float> w, ConstColumns, ConstColumns, ConstColumns next,
                   int count, float* out) const override {
    for (int j = 0; j < count; ++j) {
      float squares = 0;
      for (int i = 0; i < 3; ++i) squares += next[i][j] * next[i][j];
      out[j] = w[0] - w[1] * squares;
    }
  }
};

/// Of each kind: without and with a policy, which proposes or acts, and with members that predict
/// reward and termination.
inline std::vector<Bundle> good_bundles() {
  testing::Random random(3);
  std::vector<Bundle> all(4, small_bundle(3, 2));
  for (const int k : {1, 2})
    all[k].policy = testing::random_weights(random, 1, NetSpec::mlp({3, 4, 2}));
  all[1].planner.proposals = Proposals::plan_and_policy;
  all[2].planner.control_mode = ControlMode::policy_residual;
  all[2].planner.prior = Prior::uniform;
  all[2].planner.iterations = 2;
  all[2].planner.precision = Precision::bfloat16;
  all[3].members = testing::random_weights(random, 2, NetSpec::mlp({5, 4, 5}, true), 0.7, true);
  all[3].outputs = {.reward = true, .termination = true};
  all[3].planner.covariance = {{0.2, 0.1}, {0.1, 0.3}};
  all[3].planner.neutral = {0.1, 0};
  all[3].planner.handle_terminations = true;
  return all;
}

inline std::string bytes_of(const Bundle& bundle) {
  const test::TempFolder folder;
  const std::string path = folder.file("model.safetensors");
  save_bundle(bundle, path);
  return read_file(path);
}

}  // namespace softmpc::fuzz
