// SPDX-License-Identifier: Apache-2.0
// From costs to weights, soft value and the refined plan (DESIGN section 1). A block serves one
// problem and some of its plan's action blocks; noise is drawn again, in place of being stored.
// Sums run in an order that depends on the number of rollouts alone, so that bits do not depend on
// the batch.
#pragma once

#include "intrinsics.h"
#include "job.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "update_shape.h"

namespace softmpc::cuda {

// PlanStatus as a number
inline constexpr std::uint32_t kOk = 0, kAllInvalid = 1, kNotFinite = 2, kBadState = 3;

template <class Sizes>
class PlanUpdate {
 public:
  static constexpr int kThreads = 256;
  static constexpr int kWarps = kThreads / 32;

  SOFTMPC_DEVICE PlanUpdate(const RolloutJob& job, char* shared)
      : job_(job), sums_(reinterpret_cast<double*>(shared)) {
    const int parts = update_blocks(Sizes::rollouts, Sizes::horizon, Sizes::nu);
    problem_ = block() / parts;
    part_ = block() % parts;
    cost_ = job.cost + static_cast<std::size_t>(problem_) * Sizes::rollouts;
    valid_ = job.valid + static_cast<std::size_t>(problem_) * Sizes::rollouts;
  }

  SOFTMPC_DEVICE void run() {
    count();
    weigh();
    const int team_warps = update_team(Sizes::rollouts), teams = kWarps / team_warps;
    const int blocks_of_action = (Sizes::nu + 3) / 4;
    const int pair = part_ * teams + warp() / team_warps;
    const bool present = pair < (Sizes::horizon + 1) * blocks_of_action;
    refine(pair / blocks_of_action, pair % blocks_of_action, present, team_warps);
    if (part_ == 0 && warp() == 0) report();
  }

 private:
  /// Whether rollout k has a weight.
  SOFTMPC_DEVICE bool counts(int k) const {
    const float s = cost_[k];
    return s - s == 0.0f && (!Sizes::uniform_prior || in_box_ == 0 || valid_[k]);
  }

  /// How many rollouts are finite and in the box, and the least S of those that count.
  SOFTMPC_DEVICE void count() {
    float least = kInfinity, least_in_box = kInfinity;
    double finite = 0, in_box = 0;
    for (int k = thread(); k < Sizes::rollouts; k += kThreads) {
      const float s = cost_[k];
      if (s - s != 0.0f) continue;
      const bool inside = !Sizes::uniform_prior || valid_[k];
      finite += 1;
      in_box += inside ? 1 : 0;
      least = s < least ? s : least;
      if (inside) least_in_box = s < least_in_box ? s : least_in_box;
    }
    double bad = 0;
    const float* x = job_.observation + static_cast<std::size_t>(problem_) * Sizes::nx;
    for (int i = thread(); i < Sizes::nx; i += kThreads) bad += x[i] - x[i] == 0.0f ? 0 : 1;
    finite_ = static_cast<int>(block_sum(finite));
    in_box_ = static_cast<int>(block_sum(in_box));
    bad_ = block_sum(bad) != 0;
    least_ = block_least(in_box_ > 0 ? least_in_box : least);
  }

  // sum_k w_k and sum_k w_k^2
  SOFTMPC_DEVICE void weigh() {
    double sum = 0, squares = 0;
    for (int k = thread(); k < Sizes::rollouts; k += kThreads) {
      if (!counts(k)) continue;
      const double w = hd::weight(cost_[k], least_, job_.inverse_temperature);
      sum += w;
      squares += w * w;
    }
    sum_ = block_sum(sum);
    squares_ = block_sum(squares);
  }

  SOFTMPC_DEVICE void noise(int t, int b, int k, float (&eps)[4]) const {
    const int first = 4 * b;
    if (Sizes::fixed_noise) {
      const std::size_t rollout = static_cast<std::size_t>(problem_) * Sizes::rollouts + k;
      const float* from =
          job_.fixed_noise + (rollout * (Sizes::horizon + 1) + t) * Sizes::nu + first;
      for (int j = 0; j < 4; ++j) eps[j] = first + j < Sizes::nu ? from[j] : 0.0f;
      return;
    }
    hd::normal_block(job_.header->seed, job_.header->solve,
                     hd::draw_word(hd::Stream::noise, job_.iteration, t, b),
                     job_.problem_id[problem_], static_cast<std::uint32_t>(k), eps);
    for (int j = 0; j < 4; ++j) eps[j] *= first + j < Sizes::nu ? job_.sigma[first + j] : 0.0f;
  }

  // u_t <- u_t + sum_k w_k eps_t,k for one block of four action entries
  SOFTMPC_DEVICE void refine(int t, int b, bool present, int team_warps) {
    const int in_team = warp() % team_warps;
    float partial[4] = {};
    if (present && usable()) {
      for (int k = in_team * 32 + lane(); k < Sizes::rollouts; k += 32 * team_warps) {
        if (!counts(k)) continue;
        const float w = hd::weight(cost_[k], least_, job_.inverse_temperature);
        float eps[4];
        noise(t, b, k, eps);
        for (int j = 0; j < 4; ++j) partial[j] = hd::fma(w, eps[j], partial[j]);
      }
    }
    for (int j = 0; j < 4; ++j) {
      const double s = warp_sum(partial[j]);
      if (lane() == 0) sums_[warp() * 4 + j] = s;
    }
    sync_block();
    if (!present || in_team != 0 || lane() >= 4 || 4 * b + lane() >= Sizes::nu) return;
    double s = 0;
    for (int w = 0; w < team_warps; ++w) s += sums_[(warp() + w) * 4 + lane()];
    store(t, 4 * b + lane(), usable() ? static_cast<float>(s / sum_) : 0.0f);
  }

  SOFTMPC_DEVICE void store(int t, int i, float change) {
    const std::size_t at =
        (static_cast<std::size_t>(problem_) * (Sizes::horizon + 1) + t) * Sizes::nu + i;
    const float u = job_.plan[at] + change;
    job_.refined[at] = u;
    if (t > 0) return;
    const std::size_t action = static_cast<std::size_t>(problem_) * Sizes::nu + i;
    float mu = Sizes::policy_residual && !bad_ ? job_.mu[action] : 0.0f;
    // a broken policy: status not_finite says so, and the action stays usable
    if (mu - mu != 0.0f) mu = 0;
    job_.action[action] = hd::clip(mu + u, job_.low[i], job_.high[i]);
  }

  SOFTMPC_DEVICE bool usable() const { return !bad_ && finite_ > 0; }

  /// c of hd::soft_value; a warp.
  SOFTMPC_DEVICE double value_constant() const {
    if (Sizes::uniform_prior) return job_.uniform_constant;
    const float* u =
        job_.cost_plan + static_cast<std::size_t>(problem_) * (Sizes::horizon + 1) * Sizes::nu;
    double sum = 0;
    for (int i = lane(); i < (Sizes::horizon + 1) * Sizes::nu; i += 32)
      sum += hd::gaussian_term(job_.discount[i / Sizes::nu], u[i], u[i],
                               job_.inverse_variance[i % Sizes::nu]);
    return 0.5 * static_cast<double>(job_.temperature) * warp_sum(sum);
  }

  SOFTMPC_DEVICE void report() const {
    const double constant = value_constant();
    if (lane() != 0) return;
    ProblemResult r = {};
    r.status = bad_ ? kBadState : (finite_ == 0 ? kNotFinite : (in_box_ == 0 ? kAllInvalid : kOk));
    if (usable()) {
      r.value = hd::soft_value(least_, sum_, Sizes::rollouts, job_.temperature, constant);
      r.effective_samples = sum_ * sum_ / squares_;
    } else {
      r.value = static_cast<double>(kInfinity) - static_cast<double>(kInfinity);  // NaN
    }
    r.valid_share = bad_ ? 0.0 : static_cast<double>(in_box_) / Sizes::rollouts;
    job_.result[problem_] = r;
  }

  static constexpr float kInfinity = __builtin_huge_valf();

  SOFTMPC_DEVICE static double warp_sum(double value) {
    for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
  }
  SOFTMPC_DEVICE double block_sum(double value) {
    value = warp_sum(value);
    if (lane() == 0) sums_[warp()] = value;
    sync_block();
    value = 0;
    for (int w = 0; w < kWarps; ++w) value += sums_[w];
    sync_block();
    return value;
  }
  SOFTMPC_DEVICE float block_least(float value) {
    for (int mask = 16; mask > 0; mask /= 2) {
      const float other = shuffle_xor(value, mask);
      value = other < value ? other : value;
    }
    if (lane() == 0) sums_[warp()] = value;
    sync_block();
    double least = sums_[0];
    for (int w = 1; w < kWarps; ++w) least = sums_[w] < least ? sums_[w] : least;
    sync_block();
    return static_cast<float>(least);
  }

  const RolloutJob& job_;
  double* sums_;  // [warps, 4]
  int problem_, part_;
  const float* cost_;
  const std::uint8_t* valid_;
  int finite_ = 0, in_box_ = 0;
  bool bad_ = false;
  float least_ = 0;
  double sum_ = 0, squares_ = 0;
};

template <class Sizes>
SOFTMPC_KERNEL void update_plans(const RolloutJob& job) {
  PlanUpdate<Sizes>(job, shared_memory()).run();
}

/// Residuals of the plans to their time means, the u of S and V under mean_residual; a thread for
/// each problem and action entry.
template <class Sizes>
SOFTMPC_KERNEL void residual_plans(const ResidualJob& job) {
  const int at = block() * threads() + thread();
  if (at >= job.problems * Sizes::nu) return;
  const std::size_t size = static_cast<std::size_t>(Sizes::horizon + 1) * Sizes::nu;
  const std::size_t first = at / Sizes::nu * size + at % Sizes::nu;
  double mean = 0;
  for (int t = 0; t <= Sizes::horizon; ++t) mean += job.plan[first + t * Sizes::nu];
  mean /= Sizes::horizon + 1;
  for (int t = 0; t <= Sizes::horizon; ++t)
    job.residual[first + t * Sizes::nu] =
        static_cast<float>(job.plan[first + t * Sizes::nu] - mean);
}

}  // namespace softmpc::cuda
