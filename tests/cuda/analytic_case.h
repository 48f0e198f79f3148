// SPDX-License-Identifier: Apache-2.0
// Problems with analytic dynamics, solved on a device and by the CPU's planner with the same
// models.
#pragma once

#include <cmath>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "../core/random_models.h"
#include "plan/device_planner.h"
#include "test_device.h"

namespace softmpc::cuda::testing {

using softmpc::testing::Buffers;
using softmpc::testing::Random;

/// Few processors make blocks take many rollouts, little shared memory makes chunks short.
inline std::shared_ptr<Device> device_of(int processors = 132, int shared = 227 << 10,
                                         emulator::RunOptions run = {}) {
  if (on_hardware()) return open_device();
  DeviceFacts facts = emulator::facts_of(90);
  facts.processors = processors;
  facts.shared_per_block = shared;
  return std::make_shared<emulator::EmulatedDevice>(facts, run);
}

struct Case {
  PlannerConfig config;
  ProblemShape shape;
  const DynamicsModel* dynamics;
  const RewardModel* reward;
  const TerminalValue* value;
  const NetWeights* critics = nullptr;  // in place of `value` on a device; `value` is one of them
  int critic = 0;

  DeviceModels on_device() const {
    return {.critics = critics,
            .critic = critic,
            .reward = reward,
            .dynamics = dynamics,
            .value = critics ? nullptr : value};
  }
  Models on_host() const { return {dynamics, reward, value}; }
  Buffers buffers(int problems, Random& random) const {
    return softmpc::testing::random_buffers(random, problems, shape, config.horizon);
  }
};

inline void expect_near(double got, double expected, double tolerance, const char* what) {
  EXPECT_NEAR(got, expected, tolerance * (1 + std::abs(expected))) << what;
}

/// Compares costs, plans and values of a solve on the device with the CPU's. A decision (inside the
/// box, ended) within rounding of its boundary may fall the other way: false if one did.
inline bool compare(const Case& c, const Buffers& given, DevicePlanner& device) {
  const SolveKey key = {77, 5};
  const auto host = make_planner(c.config, c.shape, c.on_host());
  Buffers expected = given, got = given;
  PlanTrace host_trace, trace;
  host->solve(key, expected.batch(), &host_trace);
  device.solve(key, got.batch(), &trace);
  const std::size_t lanes = given.id.size() * c.config.rollouts;
  EXPECT_EQ(trace.cost.size(), lanes * c.config.iterations);
  std::size_t flips = 0;
  for (std::size_t i = 0; i < trace.cost.size(); ++i) {
    if (i % lanes == 0 && flips > 0) break;  // the next iteration starts from other plans
    const double error = std::abs(trace.cost[i] - host_trace.cost[i]);
    // later iterations start from plans that differ by rounding
    const double tolerance = (i < lanes ? 3e-5 : 5e-4) * (1 + std::abs(host_trace.cost[i]));
    const bool apart = !(error <= tolerance);
    flips += apart || (trace.valid[i] != 0) != (host_trace.valid[i] != 0);
  }
  EXPECT_LE(flips, 1 + lanes / 500);
  // the recorded graph computes the same bits as the traced iterations
  Buffers again = given;
  device.solve(key, again.batch());
  EXPECT_EQ(again.plan, got.plan);
  EXPECT_EQ(again.value, got.value);
  if (flips > 0) return false;
  for (std::size_t i = 0; i < trace.plan.size(); ++i)
    expect_near(trace.plan[i], host_trace.plan[i], 5e-4, "plan");
  for (std::size_t i = 0; i < trace.value.size(); ++i)
    expect_near(trace.value[i], host_trace.value[i], 2e-4, "value");
  for (std::size_t i = 0; i < got.action.size(); ++i)
    expect_near(got.action[i], expected.action[i], 5e-4, "action");
  EXPECT_EQ(got.status, expected.status);
  EXPECT_EQ(got.valid_share, expected.valid_share);
  return true;
}

/// A problem has the bits in a batch that it has alone, whatever blocks and chunks the rollouts lie
/// in.
inline void expect_bits_of_each_alone(const Case& c, const Buffers& given) {
  Buffers all = given;
  DevicePlanner(c.config, c.shape, c.on_device(), {}, device_of()).solve({1, 2}, all.batch());
  const std::size_t problems = given.id.size(), nx = c.shape.nx, plan = all.plan.size() / problems;
  const auto part = [](const std::vector<float>& from, std::size_t b, std::size_t size) {
    const auto begin = from.begin() + static_cast<std::ptrdiff_t>(b * size);
    return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(size));
  };
  for (const auto& [processors, shared] : {std::pair{1, 227 << 10}, {1, 6 << 10}, {20, 3 << 10}}) {
    DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device_of(processors, shared));
    std::printf("%s\n", planner.diagnostics().why.c_str());
    for (std::size_t b = 0; b < problems; ++b) {
      Buffers one(1, c.shape.nx, c.shape.nu, c.config.horizon);
      one.id = {given.id[b]};
      one.observation = part(given.observation, b, nx);
      one.plan = part(given.plan, b, plan);
      planner.solve({1, 2}, one.batch());
      EXPECT_EQ(one.value[0], all.value[b]);
      EXPECT_EQ(one.plan, part(all.plan, b, plan));
    }
  }
}

/// The emulator's alone; `shared` bytes of shared memory a block.
inline void expect_bits_in_any_order(const Case& c, const Buffers& given, int shared) {
  Buffers first = given;
  DevicePlanner(c.config, c.shape, c.on_device(), {}, device_of(4, shared))
      .solve({3, 9}, first.batch());
  for (const emulator::RunOptions& run : emulator::all_orders()) {
    Buffers other = given;
    DevicePlanner(c.config, c.shape, c.on_device(), {}, device_of(4, shared, run))
        .solve({3, 9}, other.batch());
    EXPECT_EQ(other.plan, first.plan) << to_string(run);
    EXPECT_EQ(other.value, first.value) << to_string(run);
  }
}

/// With `noise` [B, K, H+1, nu] in place of drawn noise the device plans as the CPU does.
inline void expect_given_noise(const Case& c, const Buffers& given, const std::vector<float>& noise,
                               DevicePlanner& device) {
  PlanTrace host_trace, trace;
  host_trace.noise = trace.noise = noise;
  Buffers expected = given, got = given;
  make_planner(c.config, c.shape, c.on_host())->solve({1, 1}, expected.batch(), &host_trace);
  device.solve({1, 1}, got.batch(), &trace);
  for (std::size_t i = 0; i < trace.cost.size(); ++i)
    expect_near(trace.cost[i], host_trace.cost[i], 3e-5, "cost");
  for (std::size_t i = 0; i < got.plan.size(); ++i)
    expect_near(got.plan[i], expected.plan[i], 2e-4, "plan");
  expect_near(got.value[0], expected.value[0], 2e-4, "value");
}

/// Settings, box and most problems of a random case of this size.
inline Case random_case(Random& random, int nx, int nu) {
  Case c = {};
  c.config.rollouts = random.whole(1, 150);
  c.config.horizon = random.whole(1, 30);
  c.config.iterations = random.whole(1, 3);
  c.config.temperature = random.real(0.5, 2);
  c.config.gamma = random.real(0.8, 1);
  c.config.prior = random.coin() ? Prior::gaussian : Prior::uniform;
  c.config.control_mode = random.coin() ? ControlMode::plain : ControlMode::mean_residual;
  c.config.member_draw = static_cast<MemberDraw>(random.whole(0, 2));
  c.config.handle_terminations = random.coin();
  if (random.coin()) c.config.termination_cost = random.real(0, 3);
  c.config.variance.assign(random.coin() ? 1u : static_cast<std::size_t>(nu), 0);
  for (double& v : c.config.variance) v = random.real(0.02, 0.3);
  c.shape = {nx, nu, {}, {}, random.whole(1, 5)};
  for (int i = 0; i < nu; ++i) {
    const auto box = softmpc::testing::random_box(random, c.config.prior == Prior::gaussian);
    c.shape.action_low.push_back(box.low);
    c.shape.action_high.push_back(box.high);
  }
  if (random.whole(0, 2) == 0)
    c.config.covariance = softmpc::testing::random_covariance(random, c.shape);
  return c;
}

}  // namespace softmpc::cuda::testing
