// SPDX-License-Identifier: Apache-2.0
// HumanoidStandup: reward of rollouts. Exact: height and contact forces are observed. There is no
// termination. Observations are laid out as Humanoid's.
#pragma once

#include "../humanoid/humanoid.h"

namespace softmpc::tasks {

template <bool positions = true>
struct HumanoidStandup {
  using Layout = Humanoid<positions>;
  static constexpr int action_size = Layout::action_size;
  static constexpr bool has_termination = false;
  static constexpr double timestep = 0.003;

  // r = z / timestep - 0.1 |a|^2 - min(5e-7 |contact forces|^2, 10) + 1
  template <class T>
  SOFTMPC_HD static T reward_terms(T height, T action_squared, T contact_squared) {
    const T impact_cost = static_cast<T>(5e-7) * contact_squared;
    return height / static_cast<T>(timestep) - static_cast<T>(0.1) * action_squared -
           (impact_cost < T{10} ? impact_cost : T{10}) + T{1};
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X&, const A& act, const N& next) {
    float contact_squared = 0;
    for (int i = Layout::contact_force; i < Layout::observation_size; ++i) {
      contact_squared += next[i] * next[i];
    }
    return reward_terms<float>(next[Layout::z], squared_norm<action_size>(act), contact_squared);
  }
};

}  // namespace softmpc::tasks
