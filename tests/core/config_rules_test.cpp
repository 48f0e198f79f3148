// SPDX-License-Identifier: Apache-2.0
// Tests of what settings have to do with each other: validate(), final_planner(), target_planner().
#include <gtest/gtest.h>

#include "softmpc/config.h"
#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc {
namespace {

using test::error_of;

template <class Change>
std::string validate_error(const Change& change) {
  Config config;
  change(config);
  return error_of<UsageError>([&] { validate(config); });
}

TEST(Config, ValidateChecksFieldsSetInCode) {
  EXPECT_EQ(validate_error([](Config& c) { c.planner.rollouts = 0; }),
            "planner.rollouts: 0 is out of range 1..1048576");
  EXPECT_EQ(validate_error([](Config& c) { c.critic.loss = Loss::gaussian_nll; }).substr(0, 12),
            "critic.loss:");
  EXPECT_EQ(validate_error([](Config& c) { c.planner.gamma = std::nan(""); }),
            "planner.gamma: nan is out of range 0.001..1");
  EXPECT_EQ(validate_error([](Config& c) {
              c.planner.variance = {1, INFINITY};
            }),
            "planner.variance: inf is out of range 1e-09..1e+09 each");
  EXPECT_EQ(validate_error([](Config& c) { c.planner.variance.clear(); }),
            "planner.variance: a list of 0 numbers, and not of 1..1024");
}

TEST(Config, ValidateJoinsRewardAndSource) {
  EXPECT_EQ(validate_error([](Config& c) {
              c.model.source = ModelSource::environment;
              c.model.reward = Learned::always;
            }),
            "model.reward: always needs model.source learned, and it is environment");
}

TEST(Config, ValidateJoinsTerminationAndSource) {
  EXPECT_EQ(validate_error([](Config& c) {
              c.model.source = ModelSource::environment;
              c.model.termination = Learned::always;
            }),
            "model.termination: always needs model.source learned, and it is environment");
}

TEST(Config, ValidateJoinsTerminationAndHandling) {
  EXPECT_EQ(validate_error([](Config& c) { c.planner.termination_cost = 1; }),
            "planner.termination_cost: needs planner.handle_terminations true, and it is false");
  EXPECT_EQ(validate_error([](Config& c) { c.model.termination = Learned::always; }),
            "model.termination: always needs planner.handle_terminations true, and it is false");
  EXPECT_EQ(validate_error([](Config& c) {
              c.model.termination = Learned::always;
              c.planner.handle_terminations = true;
            }),
            "(no exception)");
}

TEST(Config, ValidateJoinsParticlesWithRolloutsAndMemberDraw) {
  const auto with = [](int particles, int target_particles, MemberDraw draw) {
    return validate_error([=](Config& c) {
      c.planner.particles = particles;
      c.targets.particles = target_particles;
      c.planner.member_draw = draw;
    });
  };
  EXPECT_EQ(with(4, 0, MemberDraw::per_rollout), "(no exception)");
  EXPECT_EQ(with(3, 4, MemberDraw::per_rollout),
            "planner.particles: 3 does not divide planner.rollouts, 200");
  EXPECT_EQ(with(8, 0, MemberDraw::per_rollout),
            "planner.particles: 8 does not divide targets.rollouts, 20");
  EXPECT_EQ(with(1, 3, MemberDraw::per_rollout_step),
            "targets.particles: 3 does not divide targets.rollouts, 20");
  EXPECT_EQ(with(4, 1, MemberDraw::per_step),
            "planner.particles: 4 needs planner.member_draw per_rollout or per_rollout_step: with "
            "per_step all particles follow one model");
}

TEST(Config, ValidateJoinsProposalsWithRolloutsAndControlMode) {
  const auto with = [](int rollouts, int target_rollouts, int particles, ControlMode mode) {
    return validate_error([=](Config& c) {
      c.planner.proposals = Proposals::plan_and_policy;
      c.planner.rollouts = rollouts;
      c.targets.rollouts = target_rollouts;
      c.planner.particles = particles;
      c.planner.member_draw = MemberDraw::per_rollout;
      c.planner.control_mode = mode;
    });
  };
  const std::string rule = ".rollouts in two equal halves of whole particles, and they are ";
  EXPECT_EQ(with(200, 16, 4, ControlMode::mean_residual), "(no exception)");
  EXPECT_EQ(with(201, 16, 1, ControlMode::plain),
            "planner.proposals: plan_and_policy needs planner" + rule + "201");
  EXPECT_EQ(with(200, 20, 4, ControlMode::plain),
            "planner.proposals: plan_and_policy needs targets" + rule + "20");
  EXPECT_EQ(with(200, 16, 1, ControlMode::policy_residual),
            "planner.proposals: plan_and_policy does not fit planner.control_mode policy_residual, "
            "whose plans are relative to the policy");
}

TEST(Config, ValidateJoinsObjectiveAndSourceWhereThereIsAPolicy) {
  const auto with = [](Proposals proposals) {
    return validate_error([proposals](Config& c) {
      c.planner.proposals = proposals;
      c.policy.objective = PolicyObjective::rollout;
      c.model.source = ModelSource::environment;
    });
  };
  EXPECT_EQ(with(Proposals::plan_and_policy),
            "policy.objective: rollout needs model.source learned, and it is environment");
  EXPECT_EQ(with(Proposals::plan), "(no exception)");
}

TEST(Config, ValidateWantsRolloutsOfAPolicyForImaginedSteps) {
  const auto with = [](int steps, Proposals proposals, PolicyObjective objective) {
    return validate_error([=](Config& c) {
      c.critic.imagined_steps = steps;
      c.planner.proposals = proposals;
      c.policy.objective = objective;
    });
  };
  const auto both = Proposals::plan_and_policy;
  const auto rollout = PolicyObjective::rollout;
  EXPECT_EQ(with(4, both, rollout), "(no exception)");
  EXPECT_EQ(with(0, Proposals::plan, PolicyObjective::critic), "(no exception)");
  EXPECT_EQ(with(5, both, rollout),
            "critic.imagined_steps: 5 is more than the targets' horizon, 4");
  const std::string needed =
      "critic.imagined_steps: 4 needs the rollouts of a policy: planner.proposals plan_and_policy "
      "and policy.objective rollout; without one use 0";
  EXPECT_EQ(with(4, Proposals::plan, rollout), needed);
  EXPECT_EQ(with(4, both, PolicyObjective::critic), needed);
}

TEST(Config, ValidateWantsTargetPlansNoLongerThanThoseThatAreStored) {
  const auto with = [](int horizon, int imagined) {
    return validate_error([=](Config& c) {
      c.targets.horizon = horizon;
      c.critic.imagined_steps = imagined;
      c.planner.proposals = Proposals::plan_and_policy;
      c.policy.objective = PolicyObjective::rollout;
    });
  };
  EXPECT_EQ(with(4, 4), "(no exception)");
  EXPECT_EQ(with(5, 0),
            "targets.horizon: 5 is more than planner.horizon, 4, whose plans are stored");
  EXPECT_EQ(with(2, 3), "critic.imagined_steps: 3 is more than the targets' horizon, 2");
}

TEST(Config, FinalPlannerHasLessNoiseAtTheSamePrice) {
  Config c;
  c.planner.variance = {0.1, 0.4};
  c.planner.temperature = 0.2;
  EXPECT_EQ(final_planner(c), c.planner);
  c.trainer.final_noise = 0.25;
  PlannerConfig expected = c.planner;
  expected.variance = {0.025, 0.1};
  expected.temperature = 0.05;
  EXPECT_EQ(final_planner(c), expected);
  c.planner.covariance = {{0.4, 0.1}, {0.1, 0.2}};
  expected.covariance = {{0.1, 0.025}, {0.025, 0.05}};
  EXPECT_EQ(final_planner(c), expected);
  c.planner.covariance = {};
  EXPECT_NO_THROW(validate(c));
  c.trainer.final_iterations = 3;
  EXPECT_EQ(final_planner(c).iterations, 3);
  EXPECT_EQ(target_planner(c).iterations, 1);
  c.trainer.final_iterations = 0;
  c.planner.iterations = 2;
  EXPECT_EQ(final_planner(c).iterations, 2);
  c.planner.variance = {1e-9};
  try {
    validate(c);
    FAIL() << "was not refused";
  } catch (const UsageError& e) {
    EXPECT_TRUE(std::string(e.what()).starts_with(
        "trainer.final_noise: makes planner.variance too small: "))
        << e.what();
  }
}

TEST(Config, TargetPlannerTakesWhatTargetsLeaveOpen) {
  Config c;
  c.planner.particles = 4;
  c.planner.horizon = 7;
  EXPECT_EQ(target_planner(c).particles, 4);
  c.targets.particles = 2;
  c.targets.iterations = 3;
  const PlannerConfig p = target_planner(c);
  EXPECT_EQ(p.particles, 2);
  EXPECT_EQ(p.iterations, 3);
  EXPECT_EQ(p.rollouts, c.targets.rollouts);
  EXPECT_EQ(p.horizon, 7);
}

TEST(Config, ValidateJoinsPatternAndSource) {
  EXPECT_EQ(validate_error([](Config& c) {
              c.model.source = ModelSource::environment;
              c.trainer.pattern = Pattern::model_per_episode;
            }),
            "trainer.pattern: model_per_episode needs model.source learned, and it is environment");
}

TEST(Config, ValidateJoinsStartAndCapacity) {
  EXPECT_EQ(validate_error([](Config& c) {
              c.trainer.learning_starts = 11;
              c.trainer.replay_capacity = 10;
            }),
            "trainer.learning_starts: is larger than trainer.replay_capacity, so learning would "
            "never start");
}
}  // namespace
}  // namespace softmpc
