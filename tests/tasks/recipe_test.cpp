// SPDX-License-Identifier: Apache-2.0
// Tests the recipe of tasks/README.md: recipe/ holds a task made by its steps, outside the room.
#include <algorithm>
#include <limits>

#include "golden.h"
#include "softmpc/task.h"
#include "tasks/mujoco_task.h"

namespace softmpc::tasks {

const Task& cart_push_task();

namespace {

using Floats = std::vector<float>;
using Vector = std::vector<double>;

/// The last step of the recipe.
const Task& registered() {
  static const bool once = (register_task(cart_push_task()), true);
  EXPECT_TRUE(once);
  return find_task("CartPush");
}

TEST(Recipe, TheTaskIsListedAndSpecified) {
  const Task& task = registered();
  EXPECT_EQ(task_names().back(), "CartPush");
  const TaskSpec spec = task.spec({});
  EXPECT_EQ(spec.nx, 2);
  EXPECT_EQ(spec.nu, 1);
  EXPECT_EQ(spec.action_low, Floats{-1});
  EXPECT_EQ(spec.action_high, Floats{1});
  EXPECT_DOUBLE_EQ(spec.dt, 0.02);
  EXPECT_EQ(spec.time_limit, 100);
  EXPECT_TRUE(spec.analytic_reward);
  EXPECT_TRUE(spec.has_termination);
  EXPECT_EQ(message_of([] { find_task("CartPsh"); }),
            "unknown task 'CartPsh', nearest is 'CartPush'; `softmpc tasks` lists all");
  EXPECT_TRUE(nlohmann::json::parse(preset_text("default", "CartPush")).contains("planner"));
  EXPECT_THROW(register_task(cart_push_task()), UsageError);
}

// MuJoCo's range of an actuator without limits is 0 0: no bounds, and not a fixed action.
TEST(Recipe, AMotorWithoutRangeIsUnbounded) {
  class Free final : public MujocoTask {
   public:
    Free()
        : MujocoTask({.name = "Free", .summary = "", .mjcf = R"(
<mujoco><worldbody><body><joint name="x" type="slide"/><geom size="0.1"/></body></worldbody>
<actuator><motor joint="x" ctrlrange="0 2"/><motor joint="x" ctrllimited="false"/></actuator>
</mujoco>)"}) {}
    void observe(const mjModel&, const mjData& d, const TaskOptions&,
                 ObservationWriter& out) const override {
      out.add(d.qpos[0]);
    }
    Transition judge(const StepView&) const override { return {}; }
    std::unique_ptr<RewardModel> make_reward(const TaskOptions&) const override { return nullptr; }
  };
  const TaskSpec spec = Free().spec({});
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(spec.action_low, (Floats{0, -kInfinity}));
  EXPECT_EQ(spec.action_high, (Floats{2, kInfinity}));
}

TEST(Recipe, EnvironmentRewardAndModelAgree) {
  const Task& task = registered();
  const auto env = task.make_environment({});
  const auto reward = task.make_reward({});
  const auto model = task.make_dynamics({});
  Vector x(2), next(2);
  env->reset(1, x);
  bool terminated = false;
  for (int t = 0; t < 100 && !terminated; ++t) {
    const Floats action = {1};
    const Transition result = env->step(action, next);
    const Floats from(x.begin(), x.end());
    Floats to(2);
    float r = 0;
    std::uint8_t end = 2;
    model->step(0, {from.data(), 1}, {action.data(), 1}, 1, {{to.data(), 1}, nullptr, nullptr},
                nullptr);
    reward->reward({from.data(), 1}, {action.data(), 1}, {to.data(), 1}, 1, &r);
    reward->terminated({to.data(), 1}, 1, &end);
    EXPECT_NEAR(to[0], next[0], 1e-6);
    EXPECT_NEAR(to[1], next[1], 1e-6);
    EXPECT_NEAR(r, result.reward, 1e-5);
    EXPECT_EQ(end == 1, result.terminated);
    terminated = result.terminated;
    x = next;
  }
  EXPECT_TRUE(terminated);  // pushed off its rail
}

TEST(Recipe, SavedStatesWork) {
  const Task& task = registered();
  const auto first = task.make_environment({}), second = task.make_environment({});
  Vector a(2), b(2);
  first->reset(4, a);
  first->step(Floats{0.5f}, a);
  second->load(first->save());
  first->step(Floats{-0.25f}, a);
  second->step(Floats{-0.25f}, b);
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace softmpc::tasks
