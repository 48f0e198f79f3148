// SPDX-License-Identifier: Apache-2.0
// Tests for models/fused_learner.cpp and models/policy_learner.cpp that need no LibTorch; gradients
// against autograd are in fused_mlp_test.cpp and torch_learner_test.cpp.
#include "models/learner_cases.h"

#include <gtest/gtest.h>

#include <numeric>

#include "learn/torch_backend.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using testing::Random;

double mean_of(const std::vector<float>& v) {
  return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

TEST(Learner, CriticErrorsAreThoseOfThePublishedCritics) {
  const LearnerSetup s = testing::small_setup();
  const auto learner = make_learner(LearnerKind::fused, s);
  testing::set_normalisation(*learner, s);
  learner->publish();
  ThreadPool pool(1);
  Random random(3);
  for (int round = 0; round < 3; ++round) {
    const int n = random.whole(1, 40);
    const ReplayBatch batch = testing::random_batch(random, s, n);
    const std::vector<float> y = testing::random_values(random, n);
    std::vector<float> mean(n);
    for (int c = 0; c < s.critic.count; ++c) {
      const auto q = testing::critic_values(learner->value(c, false), s, batch.x, batch.a, n);
      for (int j = 0; j < n; ++j) mean[j] += q[j] / static_cast<float>(s.critic.count);
    }
    const auto result = testing::update(*learner, pool, batch, y);
    ASSERT_EQ(static_cast<int>(result.errors.size()), n);
    for (int j = 0; j < n; ++j) EXPECT_NEAR(result.errors[j], mean[j] - y[j], 1e-5);
    EXPECT_NEAR(result.mean_value, mean_of(mean), 1e-5);
  }
}

TEST(Learner, ModelsAndCriticsFitWhatTheyAreShown) {
  LearnerSetup s = testing::small_setup();
  s.model.learning_rate = s.critic.learning_rate = 1e-2;
  const auto learner = make_learner(LearnerKind::fused, s);
  ThreadPool pool(2);
  Random random(4);
  const ReplayBatch batch = testing::random_batch(random, s, 16);
  const std::vector<float> y = testing::random_values(random, 16);
  const auto first = testing::update(*learner, pool, batch, y);
  auto last = first;
  for (int i = 0; i < 300; ++i) last = testing::update(*learner, pool, batch, y);
  EXPECT_LT(last.member_loss, 0.1 * first.member_loss);
  EXPECT_LT(last.critic_loss, 0.1 * first.critic_loss);
}

TEST(Learner, ThePolicyFollowsTheGradientOfTheFirstCritic) {
  LearnerSetup s = testing::small_setup();
  s.critic.learning_rate = 1e-12;  // critics stand still
  s.critic.tau = 0;
  const auto learner = make_learner(LearnerKind::fused, s);
  learner->publish();
  ThreadPool pool(1);
  Random random(5);
  const int n = 16;
  const ReplayBatch batch = testing::random_batch(random, s, n);
  const std::vector<float> y(n, 0.0f);
  const auto mean_value = [&](bool target) {
    const auto a = testing::policy_actions(*learner->policy(target), s, batch.x, n);
    return mean_of(testing::critic_values(learner->value(0, false), s, batch.x, a, n));
  };
  const double before = mean_value(false);
  EXPECT_EQ(before, mean_value(true)) << "the target starts as a copy";
  for (int i = 0; i < 400; ++i) testing::update(*learner, pool, batch, y);
  EXPECT_GT(mean_value(false), before + 0.01);
  EXPECT_GT(mean_value(true), before + 0.01);
  const auto actions = testing::policy_actions(*learner->policy(false), s, batch.x, n);
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < s.nu; ++i) {
      EXPECT_GE(actions[j * s.nu + i], s.action_low[i]);
      EXPECT_LE(actions[j * s.nu + i], s.action_high[i]);
    }
}

TEST(Learner, UpdatesAreTheSameBitsForAnyNumberOfThreadsAndAfterALoad) {
  const LearnerSetup s = testing::small_setup();
  std::vector<std::vector<std::byte>> states;
  for (int threads : {1, 3}) {
    auto learner = make_learner(LearnerKind::fused, s);
    ThreadPool pool(threads);
    Random random(6);
    for (int round = 0; round < 6; ++round) {
      const ReplayBatch batch = testing::random_batch(random, s, 9);
      testing::update(*learner, pool, batch, testing::random_values(random, 9));
      if (round != 2 || threads == 1) continue;
      TensorFile half;
      learner->save(half);
      learner = make_learner(LearnerKind::fused, s);
      learner->load(half);
    }
    TensorFile file;
    learner->save(file);
    const std::string text = encode_safetensors(file);
    const auto bytes = std::as_bytes(std::span(text));
    states.emplace_back(bytes.begin(), bytes.end());
  }
  EXPECT_EQ(states[0], states[1]);
}

TEST(Learner, WithoutLibTorchItsLearnerIsRefusedByName) {
  if (has_torch()) GTEST_SKIP() << "this build has LibTorch";
  try {
    make_learner(LearnerKind::torch, testing::small_setup());
    FAIL() << "was not refused";
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("trainer.learner"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace softmpc
