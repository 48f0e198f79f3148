// SPDX-License-Identifier: Apache-2.0
#include "torch/torch_learner.h"

#include "learn/initialisation.h"
#include "learn/net_specs.h"
#include "learn/tensor_state.h"
#include "learn/torch_backend.h"
#include "planner_inputs.h"
#include "softmpc/hd/losses.h"
#include "softmpc/hd/philox.h"

namespace softmpc {

bool has_torch() { return true; }

std::unique_ptr<Learner> make_torch_learner(const LearnerSetup& setup) {
  return std::make_unique<TorchLearner>(setup, torch::TensorOptions(torch::kFloat));
}

TorchLearner::TorchLearner(const LearnerSetup& s, torch::TensorOptions options)
    : setup_(s),
      options_(options),
      members_(s.model.members, member_spec(s.model, s.nx, s.nu, s.outputs), s.model.learning_rate,
               options),
      critics_(s.critic.count, critic_spec(s.critic, s.nx, s.nu), s.critic.learning_rate, options),
      targets_(s.critic.count, critics_.spec(), s.critic.learning_rate, options),
      member_weights_(NetWeights::zeros(s.model.members, members_.spec())),
      critic_weights_(NetWeights::zeros(s.critic.count, critics_.spec())) {
  use_one_thread();
  members_.initialise(s.seed, kMembers);
  critics_.initialise(s.seed, kCritics);
  targets_.initialise(s.seed, kCritics);
  members_.export_to(member_weights_);
  critics_.export_to(critic_weights_);
  dynamics_ = std::make_unique<MlpDynamics>(member_weights_, s.nx, s.nu, s.outputs, s.precision);
  for (int c = 0; c < s.critic.count; ++c)
    for (auto* values : {&online_value_, &target_value_})
      values->push_back(std::make_unique<MlpValue>(critic_weights_, s.nx, s.nu, c));
  if (!s.has_policy) return;
  for (auto* net : {&policy_, &policy_target_}) {
    net->emplace(1, policy_spec(s.policy, s.nx, s.nu), s.policy.learning_rate, options);
    (*net)->initialise(s.seed, kPolicy);
  }
  policy_weights_ = NetWeights::zeros(1, policy_->spec());
  policy_->export_to(policy_weights_);
  for (auto* policy : {&online_policy_, &target_policy_})
    *policy = std::make_unique<MlpPolicy>(policy_weights_, s.action_low, s.action_high);
  const torch::Tensor low = rows(s.action_low, 1)[0], high = rows(s.action_high, 1)[0];
  half_ = (high - low) * 0.5;
  mid_ = (high + low) * 0.5;
  if (s.policy.objective != PolicyObjective::rollout) return;
  planned_members_.emplace(s.model.members, members_.spec(), s.model.learning_rate, options);
  planned_members_->initialise(s.seed, kMembers);
  const PlannerConstants constants(s.planner, {s.nx, s.nu, s.action_low, s.action_high, 1});
  neutral_ = rows(constants.neutral, 1)[0];
  inverse_covariance_ = constants.covariance.full()
                            ? rows(constants.covariance.inverse(), s.nu)
                            : torch::diag(rows(constants.inverse_variance, 1)[0]);
}

torch::Tensor TorchLearner::rows(std::span<const float> values, int count) const {
  return tensor_of(values, {count, static_cast<std::int64_t>(values.size()) / count}, options_);
}

/// (value - mean) / std by columns, the first ones of mean and std; an infinite std masks.
torch::Tensor TorchLearner::standardised(const torch::Tensor& values,
                                         const std::vector<float>& mean,
                                         const std::vector<float>& std) const {
  const std::int64_t n = values.size(-1);
  return (values -
          tensor_of(mean, {static_cast<std::int64_t>(mean.size())}, options_).narrow(0, 0, n)) /
         tensor_of(std, {static_cast<std::int64_t>(std.size())}, options_).narrow(0, 0, n);
}

/// The sum over all elements.
torch::Tensor TorchLearner::regression(const torch::Tensor& y, const torch::Tensor& target,
                                       Loss loss, double delta) const {
  return loss == Loss::huber ? torch::smooth_l1_loss(y, target, at::Reduction::Sum, delta)
                             : torch::mse_loss(y, target, at::Reduction::Sum);
}

torch::Tensor TorchLearner::member_loss(const ReplayBatch& batch) const {
  const int n = batch.size, regressed = setup_.nx + setup_.outputs.reward;
  const NetNormalisation& c = member_weights_.normalisation;
  const torch::Tensor x = rows(batch.x, n);
  const torch::Tensor input =
      standardised(torch::cat({x, rows(batch.a, n)}, 1), c.input_mean, c.input_std);
  torch::Tensor target = rows(batch.next, n) - x;
  if (setup_.outputs.reward) target = torch::cat({target, rows(batch.reward, n)}, 1);
  target = standardised(target, c.output_mean, c.output_std);

  const torch::Tensor out = members_.forward(input.unsqueeze(0));  // [E, N, out]
  const torch::Tensor y = out.narrow(2, 0, regressed);
  const torch::Tensor labels = target.unsqueeze(0).expand_as(y);
  const int end = regressed + setup_.outputs.termination;
  const double members = static_cast<double>(y.size(0)), elements = members * n * regressed;
  torch::Tensor loss;
  if (setup_.model.loss == Loss::gaussian_nll) {
    const torch::Tensor s = hd::kMinLogVariance + (hd::kMaxLogVariance - hd::kMinLogVariance) *
                                                      torch::sigmoid(out.narrow(2, end, regressed));
    loss = 0.5 * ((y - labels).square() * torch::exp(-s) + s).sum() / elements;
  } else {
    loss = regression(y, labels, setup_.model.loss, setup_.model.huber_delta) / elements;
  }
  if (setup_.outputs.termination) {
    const torch::Tensor logit = out.select(2, regressed);
    const torch::Tensor ended = rows(batch.terminated, n).flatten().unsqueeze(0).expand_as(logit);
    loss =
        loss + torch::binary_cross_entropy_with_logits(logit, ended, {}, {}, at::Reduction::Sum) /
                   (members * n);
  }
  return loss;
}

void TorchLearner::start_members(const ReplayBatch& batch, ThreadPool& pool) {
  pool.start([this, &batch](int) {
    use_one_thread();
    const torch::Tensor loss = member_loss(batch);
    members_.descend(loss);
    member_loss_ = loss.item<double>();
  });
}

double TorchLearner::finish_members() {
  if (planned_members_) planned_members_->follow(members_, 1);
  members_.export_to(member_weights_);
  dynamics_->update(member_weights_);
  return member_loss_;
}

CriticStep TorchLearner::update_critics(const ReplayBatch& batch, std::span<const float> y) {
  use_one_thread();
  const int n = batch.size;
  const NetNormalisation& c = critic_weights_.normalisation;
  const torch::Tensor input =
      standardised(torch::cat({rows(batch.x, n), rows(batch.a, n)}, 1), c.input_mean, c.input_std);
  const torch::Tensor q = critics_.forward(input.unsqueeze(0)).squeeze(2);  // [C, N]
  const torch::Tensor target = rows(y, n).flatten().unsqueeze(0).expand_as(q);
  // each critic's own mean, so that their number does not change a step
  const torch::Tensor loss =
      regression(q, target, setup_.critic.loss, setup_.critic.huber_delta) / n;
  const bool imagines = setup_.critic.imagined_steps > 0;
  critics_.descend(imagines ? loss + imagined_loss(rows(batch.x, n), critic_updates_ + 1) : loss);
  ++critic_updates_;
  if (critic_updates_ % setup_.critic.target_interval == 0)
    targets_.follow(critics_, setup_.critic.tau);
  errors_ = host_values((q - target).mean(0));
  if (policy_ && critic_updates_ % setup_.policy.update_interval == 0) update_policy(batch);
  return {loss.item<double>() / setup_.critic.count, q.mean().item<double>(), errors_};
}

/// mu(x), [N, nu].
torch::Tensor TorchLearner::act(const torch::Tensor& x) const {
  const NetNormalisation& c = critic_weights_.normalisation;
  const torch::Tensor input = standardised(x, c.input_mean, c.input_std);
  return mid_ + half_ * torch::tanh(policy_->forward(input.unsqueeze(0))[0]);
}

/// Of the deterministic policy gradient: Q(x, mu(x)) [N] of the first critic.
torch::Tensor TorchLearner::critic_objective(const torch::Tensor& x) const {
  const NetNormalisation& c = critic_weights_.normalisation;
  const torch::Tensor input = standardised(torch::cat({x, act(x)}, 1), c.input_mean, c.input_std);
  return critics_.forward_constant(input.unsqueeze(0))[0].squeeze(1);
}

/// 1 where x' ends the episode, [N].
torch::Tensor TorchLearner::ended(const torch::Tensor& next,
                                  const torch::Tensor& model_output) const {
  if (setup_.outputs.termination)
    return (model_output.select(1, setup_.nx + setup_.outputs.reward) > 0).to(options_);
  const int n = static_cast<int>(next.size(0));
  const std::vector<float> columns = host_values(next.t());
  std::vector<std::uint8_t> flags(n);
  setup_.reward->terminated({columns.data(), n}, n, flags.data());
  const std::vector<float> values(flags.begin(), flags.end());
  return rows(values, n).flatten();
}

/// Of policy_rollout.h: H model steps under mu.
TorchLearner::Rollout TorchLearner::roll_out(const torch::Tensor& start,
                                             std::int64_t update) const {
  const PlannerConfig& p = setup_.planner;
  const NetNormalisation& m = member_weights_.normalisation;
  const int nx = setup_.nx;
  const auto of_state_and_reward = [&](const std::vector<float>& values) {
    return rows(values, 1).narrow(1, 0, nx + 1);
  };
  const torch::Tensor mean = of_state_and_reward(m.output_mean);
  const torch::Tensor std = of_state_and_reward(m.output_std);
  torch::Tensor x = start, alive = torch::ones({start.size(0)}, options_);
  Rollout r;
  for (int t = 0;; ++t) {
    const torch::Tensor action = act(x), joined = torch::cat({x, action}, 1);
    const torch::Tensor v = action - neutral_;
    const double scale = p.prior == Prior::gaussian ? 0.5 * p.temperature : 0;
    r.joined.push_back(joined);
    r.alive.push_back(alive);
    r.price.push_back(scale * (v.matmul(inverse_covariance_) * v).sum(1));
    if (t == p.horizon) return r;
    const int member = hd::draw_policy_member(setup_.seed, static_cast<std::uint32_t>(update), t,
                                              setup_.model.members);
    const torch::Tensor input = standardised(joined, m.input_mean, m.input_std).unsqueeze(0);
    const torch::Tensor raw = planned_members_->forward_constant(input)[member];
    const torch::Tensor y = mean + std * raw.narrow(1, 0, nx + 1);
    r.reward.push_back(y.select(1, nx));
    x = x + y.narrow(1, 0, nx);
    if (p.handle_terminations) alive = alive * (1 - ended(x, raw));
  }
}

/// The soft return [N] of such a rollout and the critic behind it.
torch::Tensor TorchLearner::rollout_objective(const torch::Tensor& start) const {
  const PlannerConfig& p = setup_.planner;
  const NetNormalisation& c = critic_weights_.normalisation;
  const Rollout r = roll_out(start, critic_updates_);
  const torch::Tensor input = standardised(r.joined.back(), c.input_mean, c.input_std).unsqueeze(0);
  torch::Tensor total = torch::zeros_like(r.alive.front());
  double discount = 1;
  for (int t = 0; t <= p.horizon; ++t, discount *= p.gamma) {
    const torch::Tensor gain =
        t < p.horizon ? r.reward[t] : critics_.forward_constant(input)[0].squeeze(1);
    total = total + discount * r.alive[t] * (gain - r.price[t]);
  }
  return total;
}

/// Of the critics on the first steps of such a rollout: each critic's mean, summed over critics.
torch::Tensor TorchLearner::imagined_loss(const torch::Tensor& start, std::int64_t update) const {
  const int steps = setup_.critic.imagined_steps, horizon = setup_.planner.horizon;
  const NetNormalisation& c = critic_weights_.normalisation;
  std::vector<torch::Tensor> targets(steps);
  Rollout r;
  {
    const torch::NoGradGuard constant;
    r = roll_out(start, update);
    const auto input = standardised(r.joined.back(), c.input_mean, c.input_std).unsqueeze(0);
    torch::Tensor y = std::get<0>(targets_.forward(input).squeeze(2).min(0));
    const torch::Tensor ended = torch::full_like(y, -setup_.planner.termination_cost);
    for (int t = horizon - 1; t >= 0; --t) {
      const torch::Tensor rest = setup_.planner.gamma * (y - r.price[t + 1]);
      y = r.reward[t] + torch::where(r.alive[t + 1] > 0, rest, ended);
      if (t < steps) targets[t] = y;
    }
    r.joined.resize(steps);
    r.alive.resize(steps);
  }
  const torch::Tensor input = standardised(torch::cat(r.joined), c.input_mean, c.input_std);
  const torch::Tensor alive = torch::cat(r.alive), y = torch::cat(targets);
  const torch::Tensor q = critics_.forward(input.unsqueeze(0)).squeeze(2);  // [C, M]
  // rows behind an end stand at their target
  return regression(torch::where(alive > 0, q, y), y.unsqueeze(0).expand_as(q), setup_.critic.loss,
                    setup_.critic.huber_delta) /
         y.size(0);
}

void TorchLearner::update_policy(const ReplayBatch& batch) {
  const torch::Tensor x = rows(batch.x, batch.size);
  const bool rolled_out = setup_.policy.objective == PolicyObjective::rollout;
  policy_->descend(-(rolled_out ? rollout_objective(x) : critic_objective(x)).mean());
  policy_target_->follow(*policy_, setup_.policy.tau);
}

void TorchLearner::publish() {
  NetWeights target = critic_weights_;
  targets_.export_to(target);
  critics_.export_to(critic_weights_);
  for (auto& value : online_value_) value->update(critic_weights_);
  for (auto& value : target_value_) value->update(target);
  if (!policy_) return;
  policy_weights_.normalisation =
      policy_normalisation(critic_weights_.normalisation, setup_.nx, setup_.nu);
  policy_target_->export_to(policy_weights_);
  target_policy_->update(policy_weights_);
  policy_->export_to(policy_weights_);
  online_policy_->update(policy_weights_);
}

NetWeights TorchLearner::member_weights() const {
  NetWeights w = member_weights_;
  members_.export_to(w);
  return w;
}

NetWeights TorchLearner::critic_weights() const {
  NetWeights w = critic_weights_;
  critics_.export_to(w);
  return w;
}

NetWeights TorchLearner::policy_weights() const {
  if (!policy_) return {};
  NetWeights w = policy_weights_;
  policy_->export_to(w);
  w.normalisation = policy_normalisation(critic_weights_.normalisation, setup_.nx, setup_.nu);
  return w;
}

void TorchLearner::save(TensorFile& file) const {
  members_.save(file, "members");
  critics_.save(file, "critics");
  targets_.save_parameters(file, "critics.target");
  put<std::int64_t>(file, "critics.updates", {critic_updates_});
  if (!policy_) return;
  policy_->save(file, "policy");
  policy_target_->save_parameters(file, "policy.target");
}

void TorchLearner::load(const TensorFile& file) {
  members_.load(file, "members");
  critics_.load(file, "critics");
  targets_.load_parameters(file, "critics.target");
  critic_updates_ = get<std::int64_t>(file, "critics.updates", 1)[0];
  if (policy_) {
    policy_->load(file, "policy");
    policy_target_->load_parameters(file, "policy.target");
  }
  finish_members();
  publish();
}

}  // namespace softmpc
