// SPDX-License-Identifier: Apache-2.0
// Episodes without exploration noise: the planner of training, clip(u_0) executed, no updates.
#include <algorithm>

#include "softmpc/controller.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/train/trainer.h"

namespace softmpc {

std::vector<double> play(const Bundle& bundle, const Task& task, const PlayOptions& options,
                         std::vector<int>* lengths) {
  const TaskOptions variant = {bundle.config.environment.positions,
                               bundle.config.environment.time_limit};
  const TaskSpec spec = task.spec(variant);
  if (spec.nx != bundle.nx || spec.nu != bundle.nu)
    throw Error("bundle: nx " + std::to_string(bundle.nx) + ", nu " + std::to_string(bundle.nu) +
                " do not fit " + spec.name + ", which has nx " + std::to_string(spec.nx) + ", nu " +
                std::to_string(spec.nu));
  const auto reward = task.make_reward(variant);
  const auto environment = task.make_environment(variant);
  Controller controller(bundle, reward.get(), {options.seed, options.threads});
  std::vector<double> observation(spec.nx), returns;
  std::vector<float> x(spec.nx);
  for (int episode = 0; episode < options.episodes; ++episode) {
    const hd::Philox4 bits = hd::philox(
        {static_cast<std::uint32_t>(episode), hd::draw_word(hd::Stream::reset, 0, 0, 0), 1, 0},
        options.seed);
    environment->reset(static_cast<std::uint64_t>(bits.x) << 32 | bits.y, observation);
    if (episode > 0) controller.reset();
    double total = 0;
    int length = 0;
    for (Transition t; !t.terminated && !t.truncated; ++length) {
      std::copy(observation.begin(), observation.end(), x.begin());
      t = environment->step(controller.plan(x).action, observation);
      total += t.reward;
    }
    returns.push_back(total);
    if (lengths) lengths->push_back(length);
  }
  return returns;
}

}  // namespace softmpc
