// SPDX-License-Identifier: Apache-2.0
// From costs to weights, soft value and the refined plan (DESIGN section 1). A block serves one
// problem, a segment of its rollouts and some of its plan's action blocks; noise is drawn again, in
// place of being stored. Of several segments each weighs against its own least S, and the problem's
// last block brings their sums together. Sums run in an order that depends on the number of
// rollouts alone, so that bits do not depend on the batch.
#pragma once

#include "intrinsics.h"
#include "job.h"
#include "softmpc/hd/covariance.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "update_shape.h"

namespace softmpc::cuda {

template <class Sizes>
class PlanUpdate {
 public:
  static constexpr int kThreads = 256;
  static constexpr int kWarps = kUpdateWarps;
  static_assert(kThreads == 32 * kWarps);

  SOFTMPC_DEVICE PlanUpdate(const RolloutJob& job, char* shared)
      : job_(job), sums_(reinterpret_cast<double*>(shared)) {
    const int parts = update_parts(Sizes::rollouts, Sizes::horizon, Sizes::nu);
    part_ = block() % parts;
    segment_ = block() / parts % segments();
    problem_ = block() / parts / segments();
    begin_ = segment_ * kUpdateSegment;
    end_ = begin_ + kUpdateSegment < Sizes::rollouts ? begin_ + kUpdateSegment : Sizes::rollouts;
    seed_ = job.header->seed;
    solve_ = job.header->solve;
    id_ = job.problem_id[problem_];
    cost_ = job.cost + static_cast<std::size_t>(problem_) * Sizes::rollouts;
    valid_ = job.valid + static_cast<std::size_t>(problem_) * Sizes::rollouts;
  }

  SOFTMPC_DEVICE void run() {
    const int team_warps = update_team(Sizes::rollouts), teams = kWarps / team_warps;
    const int pair = part_ * teams + warp() / team_warps;
    if (alone() && pair >= pairs()) return;
    count();
    if (segments() == 1 || part_ == 0) weigh();
    refine(pair, team_warps);
    if (segments() > 1) {
      leave_head();
      if (!is_last()) return;
      bring_together();
    }
    if ((segments() > 1 || part_ == 0) && warp() == 0) report();
  }

 private:
  SOFTMPC_DEVICE static int segments() { return update_segments(Sizes::rollouts); }
  SOFTMPC_DEVICE static int pairs() { return update_pairs(Sizes::horizon, Sizes::nu); }

  /// Whether a warp goes through all rollouts for itself: of so few that no other need be waited
  /// for.
  SOFTMPC_DEVICE static bool alone() { return update_team(Sizes::rollouts) == 1; }
  SOFTMPC_DEVICE static int first() { return alone() ? lane() : thread(); }
  SOFTMPC_DEVICE static int stride() { return alone() ? 32 : kThreads; }
  SOFTMPC_DEVICE static void sync() {
    if (alone())
      sync_warp();
    else
      sync_block();
  }

  /// Whether rollout k has a weight.
  SOFTMPC_DEVICE bool counts(int k) const {
    const float s = cost_[k];
    return s - s == 0.0f && (!Sizes::uniform_prior || in_box_ == 0 || valid_[k]);
  }

  /// Of the segment: how many rollouts are finite and in the box, and the least S of those that
  /// count.
  SOFTMPC_DEVICE void count() {
    Tally tally;
    for (int k = begin_ + first(); k < end_; k += stride()) {
      const float s = cost_[k];
      if (s - s != 0.0f) continue;
      const bool inside = !Sizes::uniform_prior || valid_[k];
      tally.add({1, inside ? 1 : 0, 0, s, inside ? s : kInfinity});
    }
    const float* x = job_.observation + static_cast<std::size_t>(problem_) * Sizes::nx;
    for (int i = first(); i < Sizes::nx; i += stride())
      if (x[i] - x[i] != 0.0f) ++tally.bad;
    tally = total(tally);
    finite_ = tally.finite;
    in_box_ = tally.in_box;
    bad_ = tally.bad != 0;
    least_ = in_box_ > 0 ? tally.least_in_box : tally.least;
  }

  // sum_k w_k and sum_k w_k^2
  SOFTMPC_DEVICE void weigh() {
    Weights weights;
    for (int k = begin_ + first(); k < end_; k += stride()) {
      if (!counts(k)) continue;
      const double w = hd::weight(cost_[k], least_, job_.inverse_temperature);
      weights.add({w, w * w});
    }
    weights = total(weights);
    sum_ = weights.sum;
    squares_ = weights.squares;
  }

  SOFTMPC_DEVICE void draw(int t, int b, int k, float (&n)[4]) const {
    hd::normal_block(seed_, solve_, hd::draw_word(hd::Stream::noise, job_.iteration, t, b), id_,
                     hd::sequence_of(static_cast<std::uint32_t>(k), Sizes::particles), n);
  }

  /// Block b of eps = L z, which takes all z up to it.
  SOFTMPC_DEVICE void correlated_noise(int t, int b, int k, float (&eps)[4]) const {
    SOFTMPC_UNROLL
    for (int j = 0; j < 4; ++j) eps[j] = 0;
    for (int c = 0; c <= b; ++c) {
      float z[4];
      draw(t, c, k, z);
      SOFTMPC_UNROLL
      for (int j = 0; j < 4; ++j)
        if (4 * b + j < Sizes::nu)
          hd::add_block(job_.factor + (4 * b + j) * Sizes::nu + 4 * c, Sizes::nu - 4 * c, z,
                        eps[j]);
    }
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
    if (Sizes::correlated) {
      correlated_noise(t, b, k, eps);
      return;
    }
    draw(t, b, k, eps);
    // no product with 0: normals that nobody asks for are not computed
    for (int j = 0; j < 4; ++j)
      eps[j] = first + j < Sizes::nu ? job_.sigma[first + j] * eps[j] : 0.0f;
  }

  // u_t <- u_t + sum_k w_k eps_t,k for one block of four action entries; of a segment the sum alone
  SOFTMPC_DEVICE void refine(int pair, int team_warps) {
    const int blocks_of_action = (Sizes::nu + 3) / 4;
    const int t = pair / blocks_of_action, b = pair % blocks_of_action;
    const bool present = pair < pairs();
    const int in_team = warp() % team_warps;
    float partial[4] = {};
    if (present && usable()) {
      for (int k = begin_ + in_team * 32 + lane(); k < end_; k += 32 * team_warps) {
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
    sync();
    if (!present || in_team != 0 || lane() >= 4 || 4 * b + lane() >= Sizes::nu) return;
    double s = 0;
    for (int w = 0; w < team_warps; ++w) s += sums_[(warp() + w) * 4 + lane()];
    if (segments() > 1)
      numbers(segment_)[kSegmentHead + 4 * pair + lane()] = s;
    else
      store(t, 4 * b + lane(), usable() ? static_cast<float>(s / sum_) : 0.0f);
  }

  /// What a segment of this problem leaves.
  SOFTMPC_DEVICE double* numbers(int segment) const {
    const std::size_t at = static_cast<std::size_t>(problem_) * segments() + segment;
    return job_.segments + at * segment_numbers(Sizes::horizon, Sizes::nu);
  }

  SOFTMPC_DEVICE void leave_head() {
    if (part_ != 0 || thread() != 0) return;
    double* head = numbers(segment_);
    head[0] = least_;
    head[1] = sum_;
    head[2] = squares_;
    head[3] = finite_;
    head[4] = in_box_;
  }

  /// Whether all other blocks of the problem have left their numbers.
  SOFTMPC_DEVICE bool is_last() {
    sync_block();
    const std::uint32_t blocks =
        static_cast<std::uint32_t>(update_blocks(Sizes::rollouts, Sizes::horizon, Sizes::nu));
    if (thread() == 0) {
      const bool last = take_ticket(job_.tickets + problem_) == blocks - 1;
      sums_[0] = last ? 1 : 0;
      if (last) job_.tickets[problem_] = 0;  // for the next launch
    }
    sync_block();
    fence_device();
    return sums_[0] != 0;
  }

  /// A segment's weights, which are relative to its own least S, times this are the problem's.
  SOFTMPC_DEVICE double scale(const double* head) const {
    if (head[in_box_ > 0 ? 4 : 3] == 0) return 0;
    return hd::weight(static_cast<float>(head[0]), least_, job_.inverse_temperature);
  }

  SOFTMPC_DEVICE void bring_together() {
    finite_ = in_box_ = 0;
    for (int s = 0; s < segments(); ++s) {
      finite_ += static_cast<int>(numbers(s)[3]);
      in_box_ += static_cast<int>(numbers(s)[4]);
    }
    least_ = kInfinity;
    for (int s = 0; s < segments(); ++s) {
      const float least = static_cast<float>(numbers(s)[0]);
      if (numbers(s)[in_box_ > 0 ? 4 : 3] != 0 && least < least_) least_ = least;
    }
    sum_ = squares_ = 0;
    for (int s = 0; s < segments(); ++s) {
      const double c = scale(numbers(s));
      if (c == 0) continue;
      sum_ += c * numbers(s)[1];
      squares_ += c * c * numbers(s)[2];
    }
    const int entries = (Sizes::horizon + 1) * Sizes::nu, blocks_of_action = (Sizes::nu + 3) / 4;
    for (int e = thread(); e < entries; e += kThreads) {
      const int t = e / Sizes::nu, i = e % Sizes::nu;
      double sum = 0;
      for (int s = 0; s < segments(); ++s) {
        const double c = scale(numbers(s));
        const int at = kSegmentHead + 4 * (t * blocks_of_action) + i;
        if (c != 0) sum += c * numbers(s)[at];
      }
      store(t, i, usable() ? static_cast<float>(sum / sum_) : 0.0f);
    }
  }

  SOFTMPC_DEVICE void store(int t, int i, float change) {
    const std::size_t at =
        (static_cast<std::size_t>(problem_) * (Sizes::horizon + 1) + t) * Sizes::nu + i;
    const float u = job_.plan[at] + change;
    job_.refined[at] = u;
    if (t > 0) return;
    const std::size_t action = static_cast<std::size_t>(problem_) * Sizes::nu + i;
    float base = Sizes::policy_residual && !bad_ ? job_.mu[action] : job_.neutral[i];
    // a broken policy: status not_finite says so, and the action stays usable
    if (base - base != 0.0f) base = job_.neutral[i];
    job_.action[action] = hd::clip(base + u, job_.low[i], job_.high[i]);
  }

  SOFTMPC_DEVICE bool usable() const { return !bad_ && finite_ > 0; }

  /// c of hd::soft_value; a warp.
  SOFTMPC_DEVICE double value_constant() const {
    if (Sizes::uniform_prior) return job_.uniform_constant;
    const float* u =
        job_.cost_plan + static_cast<std::size_t>(problem_) * (Sizes::horizon + 1) * Sizes::nu;
    double sum = 0;
    for (int i = lane(); i < (Sizes::horizon + 1) * Sizes::nu; i += 32) {
      const int entry = i % Sizes::nu;
      const hd::Covariance sigma{job_.factor, job_.inverse, Sizes::nu};
      const float y = Sizes::correlated ? hd::whitened(sigma, entry, u + (i - entry)) : u[i];
      sum += hd::gaussian_term(job_.discount[i / Sizes::nu], y, y, job_.inverse_variance[entry]);
    }
    return 0.5 * static_cast<double>(job_.temperature) * warp_sum(sum);
  }

  SOFTMPC_DEVICE void report() const {
    const double constant = value_constant();
    if (lane() != 0) return;
    ProblemResult r = {};
    r.status = bad_ ? kBadState : (finite_ == 0 ? kNotFinite : (in_box_ == 0 ? kAllInvalid : kOk));
    if (usable()) {
      r.value = hd::soft_value(least_, sum_, Sizes::rollouts, job_.temperature, constant);
      r.effective_samples = sum_ * sum_ / squares_ / Sizes::particles;
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

  /// What is found of some rollouts and of the state; `bad`: its entries that are not finite.
  struct Tally {
    int finite = 0, in_box = 0, bad = 0;
    float least = kInfinity, least_in_box = kInfinity;
    SOFTMPC_DEVICE void add(const Tally& o) {
      finite += o.finite;
      in_box += o.in_box;
      bad += o.bad;
      least = o.least < least ? o.least : least;
      least_in_box = o.least_in_box < least_in_box ? o.least_in_box : least_in_box;
    }
    SOFTMPC_DEVICE Tally from(int mask) const {
      return {shuffle_xor(finite, mask), shuffle_xor(in_box, mask), shuffle_xor(bad, mask),
              shuffle_xor(least, mask), shuffle_xor(least_in_box, mask)};
    }
  };
  struct Weights {
    double sum = 0, squares = 0;
    SOFTMPC_DEVICE void add(const Weights& o) {
      sum += o.sum;
      squares += o.squares;
    }
    SOFTMPC_DEVICE Weights from(int mask) const {
      return {shuffle_xor(sum, mask), shuffle_xor(squares, mask)};
    }
  };

  /// Of all threads that share the rollouts, for each of them.
  template <class Part>
  SOFTMPC_DEVICE Part total(Part part) {
    SOFTMPC_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) part.add(part.from(mask));
    if (alone()) return part;
    static_assert(kWarps * sizeof(Part) <= kUpdateSharedBytes);
    Part* parts = reinterpret_cast<Part*>(sums_);
    if (lane() == 0) parts[warp()] = part;
    sync_block();
    part = parts[0];
    for (int w = 1; w < kWarps; ++w) part.add(parts[w]);
    sync_block();
    return part;
  }

  const RolloutJob& job_;
  double* sums_;  // [warps, 4]
  int problem_, part_;
  std::uint64_t seed_;  // of the noise, with what follows
  std::uint32_t solve_, id_;
  int segment_, begin_, end_;  // rollouts [begin, end)
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

/// The particles of each action sequence get the mean of their costs, and none is valid where one
/// is not; a thread for each sequence.
template <class Sizes>
SOFTMPC_KERNEL void average_particles(const ParticleJob& job) {
  const int at = block() * threads() + thread();
  if (at >= job.problems * (Sizes::rollouts / Sizes::particles)) return;
  float* cost = job.cost + static_cast<std::size_t>(at) * Sizes::particles;
  std::uint8_t* valid = job.valid + static_cast<std::size_t>(at) * Sizes::particles;
  const float mean = hd::particle_mean(cost, Sizes::particles);
  std::uint8_t all = 1;
  for (int p = 0; p < Sizes::particles; ++p) all &= valid[p];
  for (int p = 0; p < Sizes::particles; ++p) cost[p] = mean, valid[p] = all;
}

/// w = Sigma^-1 u of a full Sigma, the u of S under the Gaussian prior; a thread for each entry.
template <class Sizes>
SOFTMPC_KERNEL void charged_plans(const ChargeJob& job) {
  const int at = block() * threads() + thread();
  if (at >= job.problems * (Sizes::horizon + 1) * Sizes::nu) return;
  const int i = at % Sizes::nu;
  job.charged[at] =
      hd::charged(hd::Covariance{nullptr, job.inverse, Sizes::nu}, i, job.plan + (at - i));
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
