// SPDX-License-Identifier: Apache-2.0
#include "diagnostics.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "cpu/aligned.h"
#include "diagnostics_window.h"
#include "learn/tensor_state.h"
#include "softmpc/network.h"

namespace softmpc {
namespace {

using Window = DiagnosticsWindow;
using Values = std::map<std::string, double>;

constexpr int kBlock = 256;  // lanes that a thread evaluates at once

double square(double x) { return x * x; }

/// A prediction that starts at a lane and follows one member.
struct Rollout {
  int lane, member;
};

/// What the members say of rollouts.
struct Predictions {
  std::vector<float> state;         // [nx, rollouts]
  std::vector<double> reward;       // [rollouts] sum_k gamma^k r_k
  std::vector<std::uint8_t> ended;  // [rollouts] of the last step

  Predictions(int nx, std::size_t n) : state(nx * n), reward(n), ended(n) {}
};

/// The members with all that a planner's rollout knows, on one window.
class ModelJudge {
 public:
  ModelJudge(const Bundle& nets, const RewardModel* reward, const Window& window, ThreadPool& pool)
      : dynamics_(nets.members, nets.nx, nets.nu, nets.outputs, nets.planner.precision),
        reward_(reward),
        planner_(nets.planner),
        w_(window),
        pool_(pool) {}

  void one_step(Values& values) const;
  void horizon(Values& values) const;

 private:
  Predictions predict(std::span<const Rollout> rollouts, int steps) const;
  void predict_block(std::span<const Rollout> rollouts, std::size_t begin, int count, int steps,
                     Predictions& out) const;
  std::vector<double> change_deviation(std::span<const Rollout> rollouts, int steps) const;
  void spread(const Predictions& p, const std::vector<double>& deviation, Values& values) const;
  void terminations(const Predictions& p, Values& values) const;
  void errors(std::span<const Rollout> rollouts, int steps, const Predictions& p,
              const std::vector<double>& deviation, const std::string& suffix,
              Values& values) const;

  const float* state(const std::vector<float>& columns, int i) const {
    return columns.data() + static_cast<std::size_t>(i) * w_.lanes;
  }

  MlpDynamics dynamics_;
  const RewardModel* reward_;
  const PlannerConfig& planner_;
  const Window& w_;
  ThreadPool& pool_;
};

/// x_{t+1} = x_t + f_m(x_t, a_t) with the actions that were executed, open loop.
void ModelJudge::predict_block(std::span<const Rollout> rollouts, std::size_t begin, int count,
                               int steps, Predictions& out) const {
  const int nx = w_.nx, nu = w_.nu;
  const Rollout* const r = rollouts.data() + begin;
  std::vector<float> x(static_cast<std::size_t>(nx) * count), next(x.size());
  std::vector<float> a(static_cast<std::size_t>(nu) * count), reward(count);
  cpu::AlignedBytes scratch(dynamics_.scratch_bytes(count));
  std::uint8_t* const ended = out.ended.data() + begin;
  for (int i = 0; i < nx; ++i)
    for (int j = 0; j < count; ++j) x[i * count + j] = state(w_.x, i)[r[j].lane];
  double discount = 1;
  for (int k = 0; k < steps; ++k, discount *= planner_.gamma) {
    for (int i = 0; i < nu; ++i)
      for (int j = 0; j < count; ++j) a[i * count + j] = state(w_.a, i)[r[j].lane + k];
    dynamics_.step(r[0].member, {x.data(), count}, {a.data(), count}, count,
                   {{next.data(), count}, reward.data(), ended}, scratch.data());
    if (!dynamics_.predicts_reward())
      reward_->reward({x.data(), count}, {a.data(), count}, {next.data(), count}, count,
                      reward.data());
    for (int j = 0; j < count; ++j) out.reward[begin + j] += discount * reward[j];
    x.swap(next);
  }
  if (planner_.handle_terminations && !dynamics_.predicts_termination())
    reward_->terminated({x.data(), count}, count, ended);
  for (int i = 0; i < nx; ++i)
    std::copy_n(x.data() + i * count, count, out.state.data() + i * rollouts.size() + begin);
}

/// `rollouts` have their members in order.
Predictions ModelJudge::predict(std::span<const Rollout> rollouts, int steps) const {
  Predictions out(w_.nx, rollouts.size());
  std::vector<std::size_t> begins;  // of blocks of one member
  for (std::size_t i = 0; i < rollouts.size(); ++i)
    if (i == 0 || rollouts[i].member != rollouts[i - 1].member || i - begins.back() == kBlock)
      begins.push_back(i);
  pool_.run(static_cast<int>(begins.size()), [&](int b, int) {
    const std::size_t end = b + 1 < std::ssize(begins) ? begins[b + 1] : rollouts.size();
    predict_block(rollouts, begins[b], static_cast<int>(end - begins[b]), steps, out);
  });
  return out;
}

/// The standard deviation of each component's real change x_{t+steps} - x_t, the unit of its
/// errors; 0 where there is no change beyond rounding.
std::vector<double> ModelJudge::change_deviation(std::span<const Rollout> rollouts,
                                                 int steps) const {
  std::vector<double> deviation(w_.nx);
  const auto n = static_cast<double>(rollouts.size());
  for (int i = 0; i < w_.nx; ++i) {
    const float *x = state(w_.x, i), *next = state(w_.next, i);
    const auto change = [&](const Rollout& r) {
      return static_cast<double>(next[r.lane + steps - 1]) - x[r.lane];
    };
    double mean = 0, variance = 0, largest = 0;
    for (const Rollout& r : rollouts) {
      mean += change(r) / n;
      largest = std::max<double>(largest, std::abs(x[r.lane]));
    }
    for (const Rollout& r : rollouts) variance += square(change(r) - mean) / n;
    const double found = std::sqrt(variance);
    if (found > 1e-6 * largest) deviation[i] = found;
  }
  return deviation;
}

void ModelJudge::errors(std::span<const Rollout> rollouts, int steps, const Predictions& p,
                        const std::vector<double>& deviation, const std::string& suffix,
                        Values& values) const {
  const std::size_t n = rollouts.size();
  double of_state = 0, of_reward = 0;
  int components = 0;
  for (int i = 0; i < w_.nx; ++i) {
    if (deviation[i] == 0) continue;
    ++components;
    for (std::size_t s = 0; s < n; ++s) {
      const double real = state(w_.next, i)[rollouts[s].lane + steps - 1];
      of_state += square((p.state[i * n + s] - real) / deviation[i]);
    }
  }
  for (std::size_t s = 0; s < n; ++s) {
    double real = 0;
    for (int k = steps - 1; k >= 0; --k)
      real = w_.reward[rollouts[s].lane + k] + planner_.gamma * real;
    of_reward += square(p.reward[s] - real);
  }
  const auto count = static_cast<double>(n);
  if (components > 0) values["model_rmse" + suffix] = std::sqrt(of_state / count / components);
  values["reward_rmse" + suffix] = std::sqrt(of_reward / count);
}

/// Of one step of all members: the deviation of their predictions, without bias.
void ModelJudge::spread(const Predictions& p, const std::vector<double>& deviation,
                        Values& values) const {
  const int members = dynamics_.members(), lanes = w_.lanes;
  double sum = 0;
  int components = 0;
  for (int i = 0; i < w_.nx; ++i) {
    if (deviation[i] == 0) continue;
    ++components;
    const float* const predicted = p.state.data() + static_cast<std::size_t>(i) * members * lanes;
    for (int j = 0; j < lanes; ++j) {
      double mean = 0, variance = 0;
      for (int m = 0; m < members; ++m) mean += predicted[m * lanes + j];
      mean /= members;
      for (int m = 0; m < members; ++m) variance += square(predicted[m * lanes + j] - mean);
      sum += variance / (members - 1) / square(deviation[i]);
    }
  }
  if (components > 0) values["model_spread"] = std::sqrt(sum / lanes / components);
}

/// Predicted is an end that at least half of the members see.
void ModelJudge::terminations(const Predictions& p, Values& values) const {
  const int members = dynamics_.members(), lanes = w_.lanes;
  double real = 0, missed = 0, invented = 0;
  for (int j = 0; j < lanes; ++j) {
    int votes = 0;
    for (int m = 0; m < members; ++m) votes += p.ended[m * lanes + j] != 0;
    const bool predicted = 2 * votes >= members;
    real += w_.terminated[j];
    missed += w_.terminated[j] && !predicted;
    invented += !w_.terminated[j] && predicted;
  }
  if (real > 0) values["terminations_missed"] = missed / real;
  if (real < lanes) values["terminations_invented"] = invented / (lanes - real);
}

void ModelJudge::one_step(Values& values) const {
  std::vector<Rollout> rollouts;  // [E, lanes]
  for (int m = 0; m < dynamics_.members(); ++m)
    for (int j = 0; j < w_.lanes; ++j) rollouts.push_back({j, m});
  const Predictions p = predict(rollouts, 1);
  const std::vector<double> deviation = change_deviation(rollouts, 1);
  errors(rollouts, 1, p, deviation, "", values);
  if (dynamics_.members() > 1) spread(p, deviation, values);
  if (planner_.handle_terminations) terminations(p, values);
}

void ModelJudge::horizon(Values& values) const {
  const int members = dynamics_.members(), steps = planner_.horizon;
  const std::vector<int> lengths = w_.lengths();
  std::vector<Rollout> rollouts;  // the members take turns
  for (int j = 0; j < w_.lanes; ++j)
    if (lengths[j] >= steps) rollouts.push_back({j, static_cast<int>(rollouts.size()) % members});
  if (rollouts.empty()) return;
  std::ranges::stable_sort(rollouts, {}, &Rollout::member);
  errors(rollouts, steps, predict(rollouts, steps), change_deviation(rollouts, steps), "_horizon",
         values);
}

/// Q(x_t, a_t), the mean over critics [lanes].
std::vector<float> critic_values(const Bundle& nets, const Window& w, ThreadPool& pool) {
  const MlpValue critic(nets.critics, nets.nx, nets.nu, Reduction::mean);
  std::vector<float> q(w.lanes);
  pool.run((w.lanes + kBlock - 1) / kBlock, [&](int b, int) {
    const int begin = b * kBlock, count = std::min(kBlock, w.lanes - begin);
    cpu::AlignedBytes scratch(critic.scratch_bytes(count));
    critic.evaluate({w.x.data() + begin, w.lanes}, {w.a.data() + begin, w.lanes}, count,
                    q.data() + begin, scratch.data());
  });
  return q;
}

void judge_values(const Bundle& nets, const Window& w, ThreadPool& pool, Values& values) {
  const Window::Returns followed =
      w.returns(nets.planner.gamma, Diagnostics::kUnseenShare, nets.planner.termination_cost);
  const std::vector<float> q = critic_values(nets, w, pool);
  double n = 0, sum = 0, size = 0, q_sum = 0, plan_sum = 0, squares = 0, q_squares = 0;
  for (int j = 0; j < w.lanes; ++j) {
    if (!followed.counts[j]) continue;
    n += 1;
    sum += followed.value[j];
    size += std::abs(followed.value[j]);
    q_sum += q[j];
    squares += std::pow(followed.value[j], 2);
    q_squares += std::pow(double{q[j]}, 2);
    plan_sum += w.plan_value[j];
  }
  if (n == 0) return;
  values["return_discounted"] = sum / n;
  values["q_bias"] = (q_sum - sum) / n;
  if (size > 0) values["q_bias_share"] = (q_sum - sum) / size;
  const double variance = squares / n - std::pow(sum / n, 2);
  if (variance > 1e-9 * squares / n)
    values["q_spread"] =
        std::sqrt(std::max(0.0, q_squares / n - std::pow(q_sum / n, 2)) / variance);
  if (nets.acting == Acting::planner) values["value_bias"] = (plan_sum - sum) / n;
}

bool finite(const NetWeights& net) {
  return std::ranges::all_of(net.parameters, [](float v) { return std::isfinite(v); });
}

/// f(name, array) for what changes of a net, in a bundle or in a checkpoint.
template <class Net, class F>
void visit(const std::string& name, Net& net, const F& f) {
  if (net.stack == 0) return;
  f(name + ".parameters", net.parameters);
  f(name + ".input_mean", net.normalisation.input_mean);
  f(name + ".input_std", net.normalisation.input_std);
  f(name + ".output_mean", net.normalisation.output_mean);
  f(name + ".output_std", net.normalisation.output_std);
}

constexpr const char *kMembers = "diagnostics.members", *kCritics = "diagnostics.critics",
                     *kPlanValues = "diagnostics.plan_values", *kEnded = "diagnostics.ended";

}  // namespace

Diagnostics::Diagnostics(int environments, std::unique_ptr<RewardModel> reward)
    : environments_(environments), reward_(std::move(reward)) {}

std::int64_t Diagnostics::window_rows() const {
  return std::max<std::int64_t>(1, kWindow / environments_) * environments_;
}

void Diagnostics::add(double plan_value, bool ended) {
  rows_.push_back({plan_value, ended});
  if (std::ssize(rows_) == window_rows() + environments_)
    rows_.erase(rows_.begin(), rows_.begin() + environments_);
}

/// The replay's last `steps` steps of all environments.
DiagnosticsWindow Diagnostics::window(const Replay& replay, int steps) const {
  const int n = environments_;
  Window w(steps * n, nets_->nx, nets_->nu);
  for (int j = 0; j < w.lanes; ++j) {
    const int back = (steps - j % steps) * n - j / steps;  // 1: added last
    const Row& row = rows_[rows_.size() - back];
    const float* from = replay.record((replay.added() - back) % replay.capacity()).data();
    for (auto* columns : {&w.x, &w.a, &w.next})
      for (std::size_t at = j; at < columns->size(); at += w.lanes) (*columns)[at] = *from++;
    w.reward[j] = *from++;
    w.terminated[j] = *from != 0;
    w.last[j] = row.ended || j % steps == steps - 1;
    w.plan_value[j] = row.plan_value;
  }
  return w;
}

void Diagnostics::judge(const Replay& replay, Bundle nets, ThreadPool& pool, Values& values) {
  const std::int64_t rows = std::min<std::int64_t>(std::ssize(rows_), replay.size());
  const auto steps = static_cast<int>(rows / environments_);
  // nets that diverged are an Error of the planner, which says what may help
  if (nets_ && steps > 0 && finite(nets_->members) && finite(nets_->critics)) {
    const Window w = window(replay, steps);
    if (nets_->members.stack > 0) {
      const ModelJudge model(*nets_, reward_.get(), w, pool);
      model.one_step(values);
      model.horizon(values);
    }
    judge_values(*nets_, w, pool, values);
  }
  nets_ = std::move(nets);
  rows_.clear();
}

void Diagnostics::save(TensorFile& file) const {
  std::vector<double> plan_values;
  std::vector<std::uint8_t> ended;
  for (const Row& row : rows_) {
    plan_values.push_back(row.plan_value);
    ended.push_back(row.ended);
  }
  put(file, kPlanValues, plan_values);
  put(file, kEnded, ended);
  if (!nets_) return;
  const auto keep = [&](const std::string& name, const std::vector<float>& values) {
    put(file, name, values);
  };
  visit(kMembers, nets_->members, keep);
  visit(kCritics, nets_->critics, keep);
}

void Diagnostics::load(const TensorFile& file, Bundle shape) {
  rows_.clear();
  nets_.reset();
  const auto found = file.tensors.find(kPlanValues);
  if (found == file.tensors.end()) return;
  const auto plan_values = found->second.values<double>();
  const auto ended = get<std::uint8_t>(file, kEnded, plan_values.size());
  for (std::size_t i = 0; i < ended.size(); ++i) add(plan_values[i], ended[i] != 0);
  if (!file.tensors.contains(std::string(kCritics) + ".parameters")) return;
  const auto take = [&](const std::string& name, std::vector<float>& values) {
    values = get<float>(file, name, values.size());
  };
  visit(kMembers, shape.members, take);
  visit(kCritics, shape.critics, take);
  nets_ = std::move(shape);
}

}  // namespace softmpc
