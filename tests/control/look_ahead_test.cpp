// SPDX-License-Identifier: Apache-2.0
// Tests what a controller predicts: over the delay of a command, and along its plan.
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"

namespace softmpc {
namespace {

using namespace testing;

struct LookAhead : SmallController {
  /// Member by member, each with a call of its own.
  std::vector<float> mean_step(const std::vector<float>& x, std::span<const float> a,
                               double* disagreement = nullptr) const {
    std::vector<std::vector<float>> next;
    for (int m = 0; m < nets.dynamics.members(); ++m) {
      std::vector<float> out(4);
      std::vector<double> scratch(nets.dynamics.scratch_bytes(1) / sizeof(double) + 8);
      void* aligned = scratch.data();
      std::size_t space = scratch.size() * sizeof(double);
      aligned = std::align(64, nets.dynamics.scratch_bytes(1), aligned, space);
      nets.dynamics.step(m, {x.data(), 1}, {a.data(), 1}, 1, {{out.data(), 1}, nullptr, nullptr},
                         aligned);
      next.push_back(out);
    }
    std::vector<float> mean(4);
    double squares = 0;
    for (int i = 0; i < 4; ++i) {
      double sum = 0;
      for (const auto& n : next) sum += n[i];
      mean[i] = static_cast<float>(sum / static_cast<double>(next.size()));
      for (const auto& n : next)
        squares += (n[i] - sum / 3) * (n[i] - sum / 3) / 2;  // three members, units of 1
    }
    if (disagreement) *disagreement = std::sqrt(squares / 4);
    return mean;
  }
  static void expect_near(std::span<const float> a, const std::vector<float>& b) {
    for (std::size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5) << i;
  }
};

TEST_F(LookAhead, ThePredictionIsTheMembersMeanAlongThePlan) {
  Controller controller = make({.want_predicted = true}), plain = make();
  for (int tick = 0; tick < 5; ++tick) {
    std::vector<float> x = observation(tick);
    const Plan& plan = controller.plan(PlanRequest{.observation = x});
    EXPECT_EQ(numbers(plan), numbers(plain.plan(x)));
    ASSERT_EQ(plan.predicted.size(), 16u);
    expect_near(plan.predicted.first(4), x);
    double disagreement = 0;
    mean_step(x, plan.action, &disagreement);
    EXPECT_NEAR(plan.disagreement, disagreement, 1e-5);
    for (int t = 0; t < 3; ++t) {
      std::vector<float> a(2);
      for (int i = 0; i < 2; ++i)
        a[i] = std::min(std::max(plan.sequence[t * 2 + i], nets.low[i]), nets.high[i]);
      x = mean_step(x, a);
      expect_near(plan.predicted.subspan((t + 1) * 4, 4), x);
    }
  }
  const std::vector<float> none(4, std::nanf(""));
  EXPECT_TRUE(controller.plan(PlanRequest{.observation = none}).predicted.empty());
}

// Whatever the delay and the ticks: planned is from where the commands that were sent will have
// led by the time that the new one acts.
TEST_F(LookAhead, TheStateIsLookedAheadWithOverTheDelay) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random draw(seed);
    const int steps = draw.whole(0, 4);
    const double part = draw.coin() ? 0 : draw.real(0.1, 0.9);
    const Nanoseconds delay(static_cast<std::int64_t>((steps + part) * 1e8));
    Controller controller = make({.command_delay = delay, .want_predicted = true});
    struct Sent {
      Nanoseconds acts;
      std::vector<float> action;
    };
    std::vector<Sent> sent;
    Nanoseconds time = kStart;
    for (int tick = 0; tick < 12; ++tick) {
      time += draw.coin() ? kStep : Nanoseconds(draw.whole(20'000'000, 180'000'000));
      std::vector<float> x = observation(tick);
      const Plan& plan = controller.plan({.observation = x, .state_time = time});
      for (Nanoseconds at{0}; at < delay; at += kStep) {
        const Nanoseconds span = std::min(kStep, delay - at);
        std::vector<float> a(2);  // rest
        for (std::size_t k = sent.size(); k-- > 0;) {
          a = sent[k].action;
          if (sent[k].acts <= time + at + span / 2) break;
        }
        const auto next = mean_step(x, a);
        for (int i = 0; i < 4; ++i)
          x[i] += static_cast<float>(std::chrono::duration<double>(span).count() / 0.1) *
                  (next[i] - x[i]);
      }
      expect_near(plan.predicted.first(4), x);
      sent.push_back({time + delay, copy(plan.action)});
    }
  }
}

}  // namespace
}  // namespace softmpc
