// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/analytic_task.h with the rules of lq and pendulum.
#include "analytic_task.h"

#include <cmath>

#include "golden.h"
#include "lq/lq.h"
#include "pendulum/pendulum.h"

namespace softmpc::tasks {
namespace {

using Floats = std::vector<float>;
using Vector = std::vector<double>;

class Analytic : public testing::TestWithParam<std::string> {};

TEST_P(Analytic, ModelAndRewardAgreeWithTheEnvironment) {
  const Task& task = find_task(GetParam());
  const TaskSpec spec = task.spec({});
  const auto env = task.make_environment({});
  const auto model = task.make_dynamics({});
  const auto reward = task.make_reward({});
  Vector x(static_cast<std::size_t>(spec.nx)), next = x;
  env->reset(3, x);
  for (int t = 0; t < 100; ++t) {
    const Floats action = {1.5f * spec.action_high[0] * std::sin(0.4f * static_cast<float>(t))};
    const Floats from(x.begin(), x.end());
    const Transition result = env->step(action, next);
    Floats to(from.size());
    float r = 0;
    model->step(0, {from.data(), 1}, {action.data(), 1}, 1, {{to.data(), 1}, nullptr, nullptr},
                nullptr);
    reward->reward({from.data(), 1}, {action.data(), 1}, {to.data(), 1}, 1, &r);
    for (std::size_t i = 0; i < to.size(); ++i) {
      ASSERT_NEAR(to[i], next[i], 1e-5 * (1 + std::abs(next[i])));
    }
    ASSERT_NEAR(r, result.reward, 1e-5 * (1 + std::abs(result.reward)));
    ASSERT_FALSE(result.terminated);
    x = next;
  }
}

TEST_P(Analytic, ContinuesFromASavedStateAndTruncates) {
  const Task& task = find_task(GetParam());
  const auto first = task.make_environment({}), second = task.make_environment({});
  Vector a(static_cast<std::size_t>(first->observation_size())), b = a;
  first->reset(5, a);
  for (int t = 0; t < 190; ++t) first->step(Floats{0.3f}, a);
  second->load(first->save());
  for (int t = 191; t <= 200; ++t) {
    const Transition x = first->step(Floats{0.1f}, a), y = second->step(Floats{0.1f}, b);
    ASSERT_EQ(a, b);
    ASSERT_EQ(x.reward, y.reward);
    ASSERT_EQ(x.truncated, t == 200);
    ASSERT_EQ(y.truncated, t == 200);
  }
}

TEST_P(Analytic, RefusesBadInput) {
  const Task& task = find_task(GetParam());
  const std::string name = GetParam();
  const auto env = task.make_environment({});
  Vector x(static_cast<std::size_t>(env->observation_size()));
  EXPECT_EQ(message_of([&] { env->step(Floats{0}, x); }),
            name + ": step() before the first reset()");
  env->reset(1, x);
  EXPECT_EQ(message_of([&] { env->step(Floats{}, x); }), name + ": action has size 0, must have 1");
  EXPECT_EQ(message_of([&] { env->step(Floats{std::nanf("")}, x); }),
            name + ": action[0] is nan, must be finite");
  EXPECT_EQ(message_of([&] { env->reset_to(Vector{std::nan("")}, Vector{0}, x); }),
            name + ": start state holds NaN or infinity");
  std::vector<std::byte> state = env->save();
  state[40] ^= std::byte{4};
  EXPECT_NE(message_of([&] { env->load(state); }).find("checksum differs"), std::string::npos);
  const auto other = find_task(name == "lq" ? "pendulum" : "lq").make_environment({});
  EXPECT_NE(message_of([&] { other->load(env->save()); }).find("of another task"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Tasks, Analytic, testing::Values("lq", "pendulum"), task_of);

TEST(Lq, IsLinearAndQuadratic) {
  double x[2] = {0.5, -0.2};
  const double u[1] = {2};
  const float r = Lq::reward(x, u, x);
  Lq::advance<double>(x, u);
  EXPECT_DOUBLE_EQ(x[0], 0.5 + 0.1 * -0.2 + 0.005 * 2);
  EXPECT_DOUBLE_EQ(x[1], -0.2 + 0.1 * 2);
  EXPECT_NEAR(r, -(0.25 + 0.1 * 0.04 + 0.1 * 4), 1e-6);
}

TEST(Pendulum, FollowsItsEquations) {
  double state[2] = {0.3, 7.9};
  const double action[1] = {5};  // clipped to 2
  double observation[3];
  Pendulum::observe(state, observation);
  const double r = Pendulum::reward<double>(observation, action, observation);
  EXPECT_NEAR(r, -(0.09 + 0.1 * 7.9 * 7.9 + 1e-3 * 4), 1e-12);
  Pendulum::advance<double>(state, action);
  EXPECT_DOUBLE_EQ(state[1], 8);  // 7.9 + (15 sin 0.3 + 6) 0.05 is above
  EXPECT_DOUBLE_EQ(state[0], 0.3 + 8 * 0.05);
}

TEST(Pendulum, AngleCostWrapsAround) {
  const auto env = find_task("pendulum").make_environment({});
  Vector x(3);
  env->reset_to(Vector{2 * 3.14159265358979323846 + 0.1}, Vector{0}, x);
  EXPECT_NEAR(env->step(Floats{0}, x).reward, -0.01, 1e-12);
}

}  // namespace
}  // namespace softmpc::tasks
