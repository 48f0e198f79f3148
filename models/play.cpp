// SPDX-License-Identifier: Apache-2.0
// Episodes without exploration noise: the planner of training, clip(u_0) executed, no updates.
#include <algorithm>
#include <memory>

#include "episodes.h"
#include "policy_actor.h"
#include "softmpc/controller.h"
#include "softmpc/error.h"
#include "softmpc/train/trainer.h"

namespace softmpc {
namespace {

/// How a bundle acts: its planner, or its policy where that acted in training.
class Actor {
 public:
  Actor(const Bundle& bundle, const Task& task, const TaskOptions& variant,
        const PlayOptions& options)
      : reward_(make_rollout_reward(task, variant)), policy_(bundle) {
    if (bundle.members.stack == 0) dynamics_ = task.make_dynamics(variant);
    if (policy_.acts()) return;
    const ControllerOptions wanted = {options.seed, options.threads, dynamics_.get()};
    controller_ = std::make_unique<Controller>(
        options.controller ? options.controller(bundle, reward_.get(), wanted)
                           : Controller(bundle, reward_.get(), wanted));
  }

  void start_episode() {
    if (controller_ && played_++ > 0) controller_->reset();
  }
  /// What decides the controller's next plans; empty where the policy acts.
  std::vector<std::byte> state() const {
    std::vector<std::byte> bytes(controller_ ? controller_->state_size() : 0);
    if (controller_) controller_->save_state(bytes);
    return bytes;
  }
  void go_on_from(std::span<const std::byte> state) {
    if (controller_ && !controller_->load_state(state))
      throw Error("play: the state is not that of a controller of this bundle");
  }
  std::span<const float> act(std::span<const float> x) {
    plan_ = controller_ ? &controller_->plan(x) : nullptr;
    return plan_ ? plan_->action : policy_.act(x);
  }
  const Plan* plan() const { return plan_; }
  const Controller* controller() const { return controller_.get(); }

 private:
  std::unique_ptr<RewardModel> reward_;
  std::unique_ptr<DynamicsModel> dynamics_;
  std::unique_ptr<Controller> controller_;
  PolicyActor policy_;
  const Plan* plan_ = nullptr;  // of the last act()
  int played_ = 0;
};

}  // namespace

std::vector<double> play(const Bundle& bundle, const Task& task, const PlayOptions& options,
                         std::vector<int>* lengths) {
  const TaskOptions variant = task_options(bundle.environment);
  const TaskSpec spec = task.spec(variant);
  if (spec.nx != bundle.nx || spec.nu != bundle.nu)
    throw Error("bundle: nx " + std::to_string(bundle.nx) + ", nu " + std::to_string(bundle.nu) +
                " do not fit " + spec.name + ", which has nx " + std::to_string(spec.nx) + ", nu " +
                std::to_string(spec.nu));
  const auto environment = task.make_environment(variant);
  Actor actor(bundle, task, variant, options);
  std::vector<double> observation(spec.nx), returns;
  std::vector<float> x(spec.nx);
  for (int i = 0; i < options.episodes; ++i) {
    const int episode = options.first + i;
    environment->reset(reset_seed(options.seed, static_cast<std::uint32_t>(episode), 1),
                       observation);
    actor.start_episode();
    if (i == 0 && !options.start.empty()) actor.go_on_from(options.start);
    if (options.starts) options.starts->push_back(actor.state());
    double total = 0;
    int length = 0;
    for (Transition t; !t.terminated && !t.truncated; ++length) {
      if (options.stop && options.stop->load()) return returns;
      std::copy(observation.begin(), observation.end(), x.begin());
      const std::span<const float> action = actor.act(x);
      if (options.on_step)
        options.on_step({episode, length, *environment, x, action, actor.plan(), actor.controller(),
                         t.reward, total});
      t = environment->step(action, observation);
      total += t.reward;
    }
    returns.push_back(total);
    if (lengths) lengths->push_back(length);
  }
  return returns;
}

}  // namespace softmpc
