// SPDX-License-Identifier: Apache-2.0
// The one list of settings: key, field, rule, help. It serves JSON, --set, --help and validation;
// a new setting is a field in config.h and a line here.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "softmpc/config.h"
#include "softmpc/hd/philox.h"

namespace softmpc::fields {

/// Whole numbers in low..high.
template <class T>
struct Whole {
  T low, high;
};
/// Finite numbers in low..high.
struct Real {
  double low, high;
};
/// One number or a list of numbers, each in low..high.
struct RealList {
  double low, high;
  std::size_t longest;
  std::size_t shortest = 1;
};
/// A square matrix as a list of rows, of numbers in low..high; [] is none.
struct RealMatrix {
  double low, high;
  std::size_t longest;
};
struct Flag {};

template <class T>
struct Choice {
  const char* name;
  T value;
};
/// The first name of a value is the one written; later ones are aliases for reading.
template <class T>
struct OneOf {
  std::span<const Choice<T>> choices;
};

inline constexpr Choice<Prior> kPrior[] = {{"gaussian", Prior::gaussian},
                                           {"uniform", Prior::uniform}};
inline constexpr Choice<ControlMode> kControlMode[] = {
    {"default", ControlMode::plain},
    {"mean_residual", ControlMode::mean_residual},
    {"policy_residual", ControlMode::policy_residual}};
inline constexpr Choice<MemberDraw> kMemberDraw[] = {
    {"per_step", MemberDraw::per_step},
    {"per_rollout_step", MemberDraw::per_rollout_step},
    {"per_rollout", MemberDraw::per_rollout}};
inline constexpr Choice<Precision> kPrecision[] = {{"float32", Precision::float32},
                                                   {"bfloat16", Precision::bfloat16},
                                                   {"float16", Precision::float16},
                                                   {"auto", Precision::automatic}};
inline constexpr Choice<TargetSource> kTargetSource[] = {{"planner", TargetSource::planner},
                                                         {"policy", TargetSource::policy}};
inline constexpr Choice<Proposals> kProposals[] = {{"plan", Proposals::plan},
                                                   {"plan_and_policy", Proposals::plan_and_policy}};
inline constexpr Choice<PolicyObjective> kObjective[] = {{"critic", PolicyObjective::critic},
                                                         {"rollout", PolicyObjective::rollout}};
inline constexpr Choice<ModelSource> kModelSource[] = {{"learned", ModelSource::learned},
                                                       {"environment", ModelSource::environment}};
inline constexpr Choice<Loss> kModelLoss[] = {
    {"mse", Loss::mse}, {"huber", Loss::huber}, {"gaussian_nll", Loss::gaussian_nll}};
inline constexpr Choice<Loss> kCriticLoss[] = {{"mse", Loss::mse}, {"huber", Loss::huber}};
inline constexpr Choice<Learned> kLearned[] = {
    {"automatic", Learned::automatic}, {"never", Learned::never}, {"always", Learned::always}};
inline constexpr Choice<Normalisation> kNormalisation[] = {{"none", Normalisation::none},
                                                           {"running", Normalisation::running}};
inline constexpr Choice<Pattern> kPattern[] = {{"online", Pattern::online},
                                               {"model_per_episode", Pattern::model_per_episode},
                                               {"episodic", Pattern::episodic}};
inline constexpr Choice<OnWarning> kOnWarning[] = {
    {"go_on", OnWarning::go_on}, {"stop", OnWarning::stop}, {"recover", OnWarning::recover}};
inline constexpr Choice<Acting> kActing[] = {{"planner", Acting::planner},
                                             {"policy", Acting::policy}};
inline constexpr Choice<LearnerKind> kLearner[] = {
    {"auto", LearnerKind::automatic}, {"fused", LearnerKind::fused}, {"torch", LearnerKind::torch}};
inline constexpr Choice<Device> kDevice[] = {
    {"cpu", Device::cpu}, {"cuda", Device::cuda}, {"auto", Device::automatic}};

inline constexpr Whole<int> kWidth{1, 8192};
inline constexpr Whole<int> kLayers{1, 8};
inline constexpr Whole<int> kBatch{1, 1048576};
inline constexpr Whole<int> kUpdates{0, 1000};
inline constexpr Real kRate{0, 1};
inline constexpr Real kHuber{1e-6, 1e6};
inline constexpr std::int64_t kMostSteps = 1'000'000'000'000;
inline constexpr Whole<std::int64_t> kInterval{0, kMostSteps};

// Each function calls visit(key, field, rule, help) for the fields of one section. C is the
// section's struct, const or not.

template <class C, class Visit>
void visit_planner(C& c, const Visit& visit) {
  visit("rollouts", c.rollouts, Whole<int>{1, 1048576}, "K, sampled action sequences per solve");
  visit("horizon", c.horizon, Whole<int>{1, 1024}, "H, model steps before the critic closes");
  visit("iterations", c.iterations, Whole<int>{1, hd::kMaxIterations}, "plan updates per solve");
  visit("temperature", c.temperature, Real{1e-9, 1e9},
        "lambda, weighs rollouts: lower is greedier");
  visit("variance", c.variance, RealList{1e-9, 1e9, hd::kMaxActionSize},
        "diagonal of Sigma, one value for all actions or one for each");
  visit(
      "covariance", c.covariance, RealMatrix{-1e9, 1e9, hd::kMaxActionSize},
      "Sigma as a list of nu rows, symmetric and positive definite, zero where an action is fixed; "
      "takes the place of variance; []: none");
  visit("neutral", c.neutral, RealList{-1e9, 1e9, hd::kMaxActionSize, 0},
        "n, the action that plans are relative to, one value for all actions or one for each; "
        "[]: 0 where it lies inside the bounds, else their middle or the finite one");
  visit("gamma", c.gamma, Real{1e-3, 1}, "discount, of the planner and of the critic's target");
  visit("prior", c.prior, OneOf<Prior>{kPrior}, "prior of the soft policy");
  visit("control_mode", c.control_mode, OneOf<ControlMode>{kControlMode},
        "what the plan is added to, and what the action cost is charged for");
  visit("member_draw", c.member_draw, OneOf<MemberDraw>{kMemberDraw},
        "which model predicts which rollout and step");
  visit("proposals", c.proposals, OneOf<Proposals>{kProposals},
        "what rollouts are about: the plan so far, or half of them about the plan that a learned "
        "policy makes");
  visit("particles", c.particles, Whole<int>{1, 1024},
        "P, rollouts of one action sequence, each through a model of its own; sequences are "
        "compared by the mean of their costs, so that none wins by a lucky model");
  visit("handle_terminations", c.handle_terminations, Flag{},
        "count no reward and no critic after a predicted termination");
  visit("termination_cost", c.termination_cost, Real{0, 1e9},
        "taken from the reward of a step that ends the episode, in plans and in targets, not in "
        "returns; keeps a discounted plan from a dash that ends in a fall");
  visit("precision", c.precision, OneOf<Precision>{kPrecision},
        "operands of the members' products; auto takes the faster, measured once; float16 and a "
        "split critic on a CUDA device only");
}

template <class C, class Visit>
void visit_targets(C& c, const Visit& visit) {
  visit("horizon", c.horizon, Whole<int>{0, 1024},
        "model steps of target plans and of what the policy climbs; 0: planner.horizon");
  visit("temperature", c.temperature, Real{0, 1e6},
        "lambda of targets, and so of what Q means; 0: planner.temperature");
  visit("rollouts", c.rollouts, Whole<int>{1, 1048576}, "rollouts of the planner for targets");
  visit("iterations", c.iterations, Whole<int>{1, hd::kMaxIterations}, "plan updates per target");
  visit("particles", c.particles, Whole<int>{0, 1024},
        "rollouts of one action sequence in targets; 0: planner.particles");
  visit("warm_start", c.warm_start, Flag{},
        "start from the plan stored with the transition, and write the refined plan back");
  visit("source", c.source, OneOf<TargetSource>{kTargetSource},
        "value of the next state: the planner's soft value, or Q of the target policy's action");
}

template <class C, class Visit>
void visit_model(C& c, const Visit& visit) {
  visit("source", c.source, OneOf<ModelSource>{kModelSource},
        "learned networks, or the environment itself as the model");
  visit("members", c.members, Whole<int>{1, 1024}, "E, models in the ensemble");
  visit("width", c.width, kWidth, "units of a hidden layer");
  visit("layers", c.layers, kLayers, "hidden layers");
  visit("layer_norm", c.layer_norm, Flag{}, "LayerNorm of hidden layers before their activation");
  visit("learning_rate", c.learning_rate, kRate, "step size of Adam");
  visit("batch_size", c.batch_size, kBatch, "transitions per update");
  visit("updates_per_step", c.updates_per_step, kUpdates, "updates per environment step");
  visit("loss", c.loss, OneOf<Loss>{kModelLoss},
        "loss on the state change; gaussian_nll adds a diagonal variance head");
  visit("huber_delta", c.huber_delta, kHuber, "where the huber loss turns linear");
  visit("reward", c.reward, OneOf<Learned>{kLearned},
        "learn the reward; automatic: where no analytic one exists");
  visit("termination", c.termination, OneOf<Learned>{kLearned},
        "learn the termination; automatic: where no analytic one exists");
  visit("normalisation", c.normalisation, OneOf<Normalisation>{kNormalisation},
        "scale inputs and outputs by running statistics");
}

template <class C, class Visit>
void visit_critic(C& c, const Visit& visit) {
  visit("count", c.count, Whole<int>{1, 64},
        "critics; with several the target is the minimum of their values");
  visit("width", c.width, kWidth, "units of a hidden layer");
  visit("layers", c.layers, kLayers, "hidden layers");
  visit("layer_norm", c.layer_norm, Flag{}, "LayerNorm of hidden layers before their activation");
  visit("learning_rate", c.learning_rate, kRate, "step size of Adam");
  visit("batch_size", c.batch_size, kBatch, "transitions per update");
  visit("updates_per_step", c.updates_per_step, kUpdates, "updates per environment step");
  visit("loss", c.loss, OneOf<Loss>{kCriticLoss}, "loss on the difference to the target");
  visit("huber_delta", c.huber_delta, kHuber, "where the huber loss turns linear");
  visit("tau", c.tau, kRate, "Polyak rate of the target critic");
  visit("target_interval", c.target_interval, Whole<int>{1, 1000000},
        "critic updates between Polyak updates");
  visit("imagined_steps", c.imagined_steps, Whole<int>{0, 1024},
        "steps of the policy's rollouts through the models whose states and actions the critics "
        "learn too, with the return of the rest of the rollout; needs policy.objective rollout");
  visit("normalisation", c.normalisation, OneOf<Normalisation>{kNormalisation},
        "scale inputs and outputs by running statistics");
}

template <class C, class Visit>
void visit_policy(C& c, const Visit& visit) {
  visit("objective", c.objective, OneOf<PolicyObjective>{kObjective},
        "what the policy maximises: the critic, or the soft return of H model steps and then the "
        "critic, through the models");
  visit("width", c.width, kWidth, "units of a hidden layer");
  visit("layers", c.layers, kLayers, "hidden layers");
  visit("learning_rate", c.learning_rate, kRate, "step size of Adam");
  visit("update_interval", c.update_interval, Whole<int>{1, 1000000},
        "critic updates between policy updates");
  visit("tau", c.tau, kRate, "Polyak rate of the target policy");
  visit("exploration", c.exploration, Real{0, 10},
        "standard deviation of the acting noise in half-ranges, where the policy acts");
}

template <class C, class Visit>
void visit_trainer(C& c, const Visit& visit) {
  visit("envs", c.envs, Whole<int>{1, 4096},
        "environments side by side; updates_per_step counts per step of each");
  visit("steps", c.steps, Whole<std::int64_t>{1, kMostSteps},
        "environment steps, over all environments");
  visit("seed", c.seed, Whole<std::uint64_t>{0, std::numeric_limits<std::uint64_t>::max()},
        "equal seeds and settings give equal runs");
  visit("pattern", c.pattern, OneOf<Pattern>{kPattern},
        "update at every step, the model once per episode, or all once per episode");
  visit("acting", c.acting, OneOf<Acting>{kActing},
        "who acts: the planner, or the policy network with noise");
  visit("random_steps", c.random_steps, Whole<std::int64_t>{0, kMostSteps},
        "steps at the start whose actions are uniform within their bounds");
  visit("final_noise", c.final_noise, Real{1e-6, 1},
        "times the planner's variance and temperature in evaluations and in the bundle: training "
        "explores by the noise of its plans, a finished controller need not, at the same price of "
        "departing from the prior");
  visit("final_iterations", c.final_iterations, Whole<int>{0, 128},
        "plan updates per solve in evaluations and in the bundle; 0: planner.iterations");
  visit("learning_starts", c.learning_starts, Whole<int>{1, 1000000000},
        "stored transitions before the first update");
  visit("replay_capacity", c.replay_capacity, Whole<std::int64_t>{1, 1'000'000'000},
        "transitions kept");
  visit("log_interval", c.log_interval, Whole<std::int64_t>{1, kMostSteps},
        "steps between lines of losses");
  visit("eval_interval", c.eval_interval, kInterval, "steps between evaluations; 0: none");
  visit("eval_episodes", c.eval_episodes, Whole<int>{1, 1000000}, "episodes per evaluation");
  visit("checkpoint_interval", c.checkpoint_interval, kInterval,
        "steps between checkpoints; 0: at the end only");
  visit("threads", c.threads, Whole<int>{0, 4096}, "worker threads; 0: all cores");
  visit(
      "on_warning", c.on_warning, OneOf<OnWarning>{kOnWarning},
      "where the critic runs away or is dead, the ensemble has collapsed or a loss is not finite: "
      "go on; stop, with a checkpoint; or recover: the nets named learn anew from what is stored");
  visit("device", c.device, OneOf<Device>{kDevice}, "where networks are evaluated");
  visit(
      "learner", c.learner, OneOf<LearnerKind>{kLearner},
      "who computes gradients: fused kernels, fast for plain nets, or LibTorch, for any net; auto "
      "is fused on the CPU");
}

template <class C, class Visit>
void visit_environment(C& c, const Visit& visit) {
  visit("positions", c.positions, Flag{}, "root positions are part of the observation");
  visit("clip_velocities", c.clip_velocities, Flag{},
        "Hopper, Walker2d, InvertedDoublePendulum: velocities are observed within +-10, as in "
        "Gymnasium; what lies beyond is hidden from the model");
  visit(
      "bodies", c.bodies, Flag{},
      "Ant, Humanoid, HumanoidStandup: contact forces, and a humanoid's inertias, body velocities "
      "and torques, are observed as in Gymnasium; without them 27, 45 and 45 entries remain");
  visit("time_limit", c.time_limit, Whole<int>{0, 1000000000},
        "steps until truncation; 0: the task's own limit");
}

/// Calls visit(section, key, field, rule, help) for every setting. C is Config or const Config.
template <class C, class Visit>
void visit_config(C& c, const Visit& visit) {
  const auto in = [&visit](const char* section) {
    return [&visit, section](const char* key, auto& field, const auto& rule, const char* help) {
      visit(section, key, field, rule, help);
    };
  };
  visit_planner(c.planner, in("planner"));
  visit_targets(c.targets, in("targets"));
  visit_model(c.model, in("model"));
  visit_critic(c.critic, in("critic"));
  visit_policy(c.policy, in("policy"));
  visit_trainer(c.trainer, in("trainer"));
  visit_environment(c.environment, in("environment"));
}

}  // namespace softmpc::fields
