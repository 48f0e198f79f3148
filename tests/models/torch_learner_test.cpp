// SPDX-License-Identifier: Apache-2.0
// Tests for models/torch/: the general learner in double precision against the fused one, on the
// same batches and from the same start.
#include "torch/torch_learner.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <utility>

#include "models/learner_cases.h"
#include "softmpc/train/trainer.h"

namespace softmpc {
namespace {

using testing::Random;

/// |a - b| / |a - start|: how far two learners differ in what they learned.
double relative_difference(const NetWeights& a, const NetWeights& b, const NetWeights& start) {
  double difference = 0, moved = 0;
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    difference += std::pow(a.parameters[i] - b.parameters[i], 2.0);
    moved += std::pow(a.parameters[i] - start.parameters[i], 2.0);
  }
  return std::sqrt(difference / moved);
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, static_cast<double>(std::abs(a[i] - b[i])));
  return largest;
}

/// Ends episodes; its formula of a reward has no use.
const testing::TestReward& reward() {
  static const testing::TestReward ends(5, 2, true);
  return ends;
}

using Change = std::function<void(LearnerSetup&)>;
const std::vector<std::pair<const char*, Change>>& variants() {
  static const std::vector<std::pair<const char*, Change>> all = {
      {"mse", [](LearnerSetup&) {}},
      {"huber",
       [](LearnerSetup& s) {
         s.model.loss = s.critic.loss = Loss::huber;
         s.model.huber_delta = s.critic.huber_delta = 0.3;
       }},
      {"gaussian_nll", [](LearnerSetup& s) { s.model.loss = Loss::gaussian_nll; }},
      {"reward", [](LearnerSetup& s) { s.outputs.reward = true; }},
      {"termination", [](LearnerSetup& s) { s.outputs.termination = true; }},
      {"all outputs with gaussian_nll",
       [](LearnerSetup& s) {
         s.outputs = {true, true};
         s.model.loss = Loss::gaussian_nll;
       }},
      {"layer_norm", [](LearnerSetup& s) { s.model.layer_norm = s.critic.layer_norm = true; }},
      {"one critic, three layers",
       [](LearnerSetup& s) {
         s.critic.count = 1;
         s.model.layers = s.critic.layers = s.policy.layers = 3;
       }},
      {"rollout, no termination",
       [](LearnerSetup& s) {
         testing::climb_rollouts(s, 1, &reward());
         s.planner.handle_terminations = false;
       }},
      {"rollout, analytic termination",
       [](LearnerSetup& s) { testing::climb_rollouts(s, 2, &reward()); }},
      {"rollout, analytic termination, imagined steps",
       [](LearnerSetup& s) {
         testing::climb_rollouts(s, 3, &reward());
         s.critic.imagined_steps = 2;
       }},
      {"rollout, learned termination, all steps imagined, huber, full covariance",
       [](LearnerSetup& s) {
         testing::climb_rollouts(s, 3, nullptr);
         s.critic.imagined_steps = 3;
         s.critic.loss = Loss::huber;
         s.planner.covariance = {{0.2, 0.15}, {0.15, 0.4}};
       }},
      {"rollout, learned termination",
       [](LearnerSetup& s) { testing::climb_rollouts(s, 3, nullptr); }},
      {"rollout, uniform prior and layer_norm",
       [](LearnerSetup& s) {
         testing::climb_rollouts(s, 4, nullptr);
         s.planner.prior = Prior::uniform;
         s.model.layer_norm = s.critic.layer_norm = true;
         s.critic.imagined_steps = 1;
       }},
      {"rollout, full covariance, gaussian_nll",
       [](LearnerSetup& s) {
         testing::climb_rollouts(s, 5, nullptr);
         s.planner.covariance = {{0.2, 0.15}, {0.15, 0.4}};
         s.planner.neutral = {0.5, -0.25};
         s.model.loss = Loss::gaussian_nll;
       }},
      {"rollout, every second update, a fixed action", [](LearnerSetup& s) {
         testing::climb_rollouts(s, 2, &reward());
         s.policy.update_interval = 2;
         s.critic.imagined_steps = 1;
         s.action_low[1] = s.action_high[1] = 1;
       }}};
  return all;
}

// The fused learner computes in float32. Adam divides a gradient by its size, so that a component
// near zero may step anywhere; over all components the two stay within the bound.
TEST(TorchLearner, InDoubleAgreesWithTheFusedOneAfterSeveralUpdates) {
  for (const bool normalised : {false, true})
    for (const auto& [name, change] : variants()) {
      SCOPED_TRACE(std::string(name) + (normalised ? ", normalised" : ""));
      LearnerSetup s = testing::small_setup();
      change(s);
      const auto fused = make_learner(LearnerKind::fused, s);
      TorchLearner torch(s, torch::TensorOptions(torch::kDouble));
      for (Learner* learner : {fused.get(), static_cast<Learner*>(&torch)})
        if (normalised) testing::set_normalisation(*learner, s);
      fused->publish();
      torch.publish();
      const NetWeights members = fused->member_weights(), critics = fused->critic_weights();
      const NetWeights policy = fused->policy_weights();
      EXPECT_EQ(members.parameters, torch.member_weights().parameters);
      EXPECT_EQ(critics.parameters, torch.critic_weights().parameters);
      EXPECT_EQ(policy.parameters, torch.policy_weights().parameters);

      ThreadPool pool(2);
      const std::uint64_t seed = 41;
      std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
      Random random(seed);
      ReplayBatch batch;
      for (int round = 0; round < 12; ++round) {
        const int n = random.whole(1, 40);
        batch = testing::random_batch(random, s, n);
        const std::vector<float> y = testing::random_values(random, n);
        const auto ours = testing::update(*fused, pool, batch, y);
        const auto theirs = testing::update(torch, pool, batch, y);
        EXPECT_NEAR(ours.member_loss, theirs.member_loss, 1e-4 * (1 + ours.member_loss));
        EXPECT_NEAR(ours.critic_loss, theirs.critic_loss, 1e-4 * (1 + ours.critic_loss));
        EXPECT_NEAR(ours.mean_value, theirs.mean_value, 1e-4);
        EXPECT_LT(largest_difference(ours.errors, theirs.errors), 1e-3);
      }
      EXPECT_LT(relative_difference(fused->member_weights(), torch.member_weights(), members),
                2e-3);
      EXPECT_LT(relative_difference(fused->critic_weights(), torch.critic_weights(), critics),
                2e-3);
      EXPECT_LT(relative_difference(fused->policy_weights(), torch.policy_weights(), policy), 2e-3);

      // what planners read
      const int n = batch.size;
      for (const bool target : {false, true}) {
        for (int c = 0; c < s.critic.count; ++c)
          EXPECT_LT(largest_difference(
                        testing::critic_values(fused->value(c, target), s, batch.x, batch.a, n),
                        testing::critic_values(torch.value(c, target), s, batch.x, batch.a, n)),
                    1e-3);
        EXPECT_LT(largest_difference(testing::policy_actions(*fused->policy(target), s, batch.x, n),
                                     testing::policy_actions(*torch.policy(target), s, batch.x, n)),
                  1e-3);
      }
    }
}

void expect_continued(const LearnerSetup& s) {
  const auto begun = make_learner(LearnerKind::torch, s);
  ThreadPool pool(1);
  Random random(8);
  const auto step = [&](Learner& learner, std::uint64_t seed) {
    Random own(seed);
    const ReplayBatch batch = testing::random_batch(own, s, 20);
    testing::update(learner, pool, batch, testing::random_values(own, 20));
  };
  for (int i = 0; i < 4; ++i) step(*begun, i);
  TensorFile state, again;
  begun->save(state);
  const auto fused = make_learner(LearnerKind::fused, s),
             torch = make_learner(LearnerKind::torch, s);
  fused->load(state);
  torch->load(state);
  fused->save(again);
  EXPECT_EQ(encode_safetensors(state), encode_safetensors(again));
  const NetWeights start = fused->member_weights();
  for (int i = 4; i < 8; ++i)
    for (Learner* learner : {begun.get(), fused.get(), torch.get()}) step(*learner, i);
  EXPECT_EQ(begun->member_weights().parameters, torch->member_weights().parameters);
  EXPECT_EQ(begun->critic_weights().parameters, torch->critic_weights().parameters);
  EXPECT_EQ(begun->policy_weights().parameters, torch->policy_weights().parameters);
  EXPECT_LT(relative_difference(fused->member_weights(), torch->member_weights(), start), 1e-2);
}

TEST(TorchLearner, EachLearnerContinuesWhatTheOtherBegan) {
  LearnerSetup s = testing::small_setup();
  expect_continued(s);
  testing::climb_rollouts(s, 3, nullptr);
  expect_continued(s);
}

/// A net with LayerNorm against the formula, unit by unit.
TEST(TorchNet, LayerNormFollowsTheDescription) {
  const NetSpec spec = NetSpec::mlp(3, 6, 1, 2, /*layer_norm=*/true);
  TorchNet net(2, spec, 1e-3, torch::TensorOptions(torch::kDouble));
  net.initialise(3, 0);
  NetWeights w = NetWeights::zeros(2, spec);
  net.export_to(w);
  const std::vector<double> x = {0.3, -1.2, 0.8};
  const torch::Tensor y =
      net.forward(torch::tensor(x, torch::TensorOptions(torch::kDouble)).view({1, 1, 3}));
  for (int e = 0; e < 2; ++e) {
    std::vector<double> z(6), h(6);
    double mean = 0, variance = 0;
    for (int o = 0; o < 6; ++o) {
      z[o] = w.bias(0)[e * 6 + o];
      for (int i = 0; i < 3; ++i) z[o] += w.weight(0)[(e * 6 + o) * 3 + i] * x[i];
      mean += z[o] / 6;
    }
    for (double v : z) variance += (v - mean) * (v - mean) / 6;
    for (int o = 0; o < 6; ++o) {
      const double n = (z[o] - mean) / std::sqrt(variance + 1e-5);
      h[o] = n / (1 + std::exp(-n));  // scale 1, shift 0
    }
    for (int o = 0; o < 2; ++o) {
      double expected = w.bias(1)[e * 2 + o];
      for (int i = 0; i < 6; ++i) expected += w.weight(1)[(e * 2 + o) * 6 + i] * h[i];
      EXPECT_NEAR(y[e][0][o].item<double>(), expected, 1e-6);
    }
  }
}

TEST(TorchLearner, TrainsARunWhoseBitsDoNotDependOnThreads) {
  const auto hash = [](int threads, const std::vector<const char*>& policy) {
    Config c;
    for (const char* setting :
         {"planner.rollouts=24", "planner.horizon=3", "targets.rollouts=6", "model.width=16",
          "critic.width=16", "policy.width=16", "model.members=3", "model.batch_size=8",
          "critic.batch_size=8", "trainer.steps=60", "trainer.learner=torch",
          "model.normalisation=running"})
      apply_setting(c, setting);
    for (const char* setting : policy) apply_setting(c, setting);
    c.trainer.threads = threads;
    TrainObserver observer;
    Trainer trainer(c, find_task("InvertedPendulum"));
    trainer.run(observer, "");
    return trainer.state_hash();
  };
  for (const std::vector<const char*>& policy :
       {std::vector{"planner.control_mode=policy_residual"},
        {"planner.proposals=plan_and_policy", "policy.objective=rollout"},
        {"planner.proposals=plan_and_policy", "policy.objective=rollout",
         "critic.imagined_steps=2"}})
    EXPECT_EQ(hash(1, policy), hash(3, policy)) << policy.front();
}

}  // namespace
}  // namespace softmpc
