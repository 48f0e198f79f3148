// SPDX-License-Identifier: Apache-2.0
// Replay on the device: storing, drawing batches, writing plans back. A warp takes a row; nothing
// depends on the order of blocks.
#pragma once

#include "intrinsics.h"
#include "softmpc/hd/covariance.h"
#include "softmpc/hd/losses.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/replay.h"
#include "train_job.h"

namespace softmpc::cuda {

/// Index of this warp among all warps of the grid.
SOFTMPC_DEVICE int global_warp() { return block() * (threads() / 32) + warp(); }

/// Step t of a start plan before Sigma: entries of N(0, 1).
struct PlanNormals {
  std::uint64_t seed;
  std::uint32_t solve, problem;
  int t;
  SOFTMPC_DEVICE float operator[](int c) const {
    const hd::Philox4 bits =
        hd::philox({solve, hd::draw_word(hd::Stream::plan, 0, t, c / 4), problem, 0}, seed);
    float n0, n1;
    hd::normal_pair(c & 2 ? bits.z : bits.x, c & 2 ? bits.w : bits.y, n0, n1);
    return c & 1 ? n1 : n0;
  }
};

// u_t ~ N(0, Sigma), entry i of the flat plan [H+1, nu]
SOFTMPC_DEVICE float drawn_plan(std::uint64_t seed, std::uint32_t solve, std::uint32_t problem,
                                int i, int nu, const PlanNoise& noise) {
  const int c = i % nu;
  const PlanNormals z{seed, solve, problem, i / nu};
  if (noise.factor == nullptr) return noise.sigma[c] * z[c];
  float u = 0;
  hd::add_product(noise.factor + c * nu, c + 1, z, u);
  return u;
}

// (u_1, ..., u_H, 0)
SOFTMPC_DEVICE float shifted(const float* plan, int i, int size, int nu) {
  return i + nu < size ? plan[i + nu] : 0.0f;
}

/// One environment's last transition with the plan of the last solve.
SOFTMPC_DEVICE void store_row(const ActJob& job, int e) {
  const DeviceReplay& r = job.replay;
  const ActRow row = job.row[e];
  if (row.slot < 0) return;
  const std::size_t at = static_cast<std::size_t>(e);
  float* to = r.records + row.slot * r.record();
  for (int i = lane(); i < r.nx; i += 32) {
    to[i] = job.from[at * r.nx + i];
    to[r.nx + r.nu + i] = job.next[at * r.nx + i];
  }
  for (int i = lane(); i < r.nu; i += 32) to[r.nx + i] = job.action[at * r.nu + i];
  if (lane() == 0) {
    to[2 * r.nx + r.nu] = row.reward;
    to[2 * r.nx + r.nu + 1] = row.terminated;
  }
  for (int i = lane(); i < r.plan; i += 32)
    r.plans[row.slot * r.plan + i] = job.refined[at * r.plan + i];
}

/// Observation and start plan of one environment's next solve.
SOFTMPC_DEVICE void start_row(const ActJob& job, int e) {
  const DeviceReplay& r = job.replay;
  const ActRow row = job.row[e];
  const std::size_t at = static_cast<std::size_t>(e);
  for (int i = lane(); i < r.nx; i += 32) job.observation[at * r.nx + i] = job.x[at * r.nx + i];
  for (int i = lane(); i < r.plan; i += 32) {
    float u = 0;
    if (!row.fresh)
      u = shifted(job.refined + at * r.plan, i, r.plan, r.nu);
    else if (i + r.nu < r.plan)
      u = drawn_plan(job.counters->seed, row.episode, ~0u, i + r.nu, r.nu, job.noise);
    job.plan[at * r.plan + i] = u;
  }
}

/// Warps: one for each environment.
SOFTMPC_KERNEL void train_act(const ActJob& job) {
  const int e = global_warp();
  if (e == 0 && lane() == 0) {
    TrainCounters& c = *job.counters;
    c.slots = *job.slots;
    if (job.acts) {
      *job.header = {c.seed, c.solves, 0};
      ++c.solves;
      *job.published = *job.sums;
      *job.sums = {};
    }
  }
  if (e >= job.environments) return;
  store_row(job, e);
  if (job.acts) start_row(job, e);
}

/// [x, a] of a record, normalised, as column `row` of `to`.
SOFTMPC_DEVICE void take_input(const DeviceReplay& r, const float* record, const TrainNorm& norm,
                               int row, int stride, float* to) {
  for (int i = lane(); i < r.nx + r.nu; i += 32)
    to[static_cast<std::size_t>(i) * stride + row] =
        (record[i] - norm.input_mean[i]) / norm.input_std[i];
}

SOFTMPC_DEVICE void sample_critic_row(const SampleJob& job, int row) {
  const DeviceReplay& r = job.replay;
  const TrainCounters& c = *job.counters;
  const std::int64_t slot = hd::replay_slot(c.seed, c.draws, static_cast<std::uint32_t>(row),
                                            static_cast<std::uint32_t>(c.slots));
  const float* record = r.records + slot * r.record();
  take_input(r, record, job.critic_norm, row, job.critic_stride, job.critic_input);
  for (int i = lane(); i < r.nx; i += 32)
    job.next[static_cast<std::size_t>(row) * r.nx + i] = record[r.nx + r.nu + i];
  for (int i = lane(); job.state && i < r.nx; i += 32)
    job.state[static_cast<std::size_t>(row) * r.nx + i] = record[i];
  for (int i = lane(); i < job.target_plan; i += 32)
    job.plan[static_cast<std::size_t>(row) * job.target_plan + i] =
        job.warm_start
            ? shifted(r.plans + slot * r.plan, i, r.plan, r.nu)
            : drawn_plan(c.seed, c.solves, static_cast<std::uint32_t>(row), i, r.nu, job.noise);
  if (lane() > 0) return;
  job.slot[row] = slot;
  job.reward[row] = record[2 * r.nx + r.nu];
  job.terminated[row] = record[2 * r.nx + r.nu + 1];
}

/// Goals of the members: x' - x, and the reward where it is regressed.
SOFTMPC_DEVICE void sample_model_row(const SampleJob& job, int row) {
  const DeviceReplay& r = job.replay;
  const TrainCounters& c = *job.counters;
  const std::uint64_t draw = c.draws + (job.critic_rows > 0 ? 1 : 0);
  const std::int64_t slot = hd::replay_slot(c.seed, draw, static_cast<std::uint32_t>(row),
                                            static_cast<std::uint32_t>(c.slots));
  const float* record = r.records + slot * r.record();
  take_input(r, record, job.model_norm, row, job.model_stride, job.model_input);
  for (int i = lane(); i < job.regressed; i += 32) {
    const float value = i < r.nx ? record[r.nx + r.nu + i] - record[i] : record[2 * r.nx + r.nu];
    job.goal[static_cast<std::size_t>(i) * job.model_stride + row] =
        (value - job.model_norm.output_mean[i]) / job.model_norm.output_std[i];
  }
  if (lane() == 0) job.model_terminated[row] = record[2 * r.nx + r.nu + 1];
}

/// Warps: the critics' rows, the members' rows, and one for what the round needs once.
SOFTMPC_KERNEL void train_sample(const SampleJob& job) {
  const int w = global_warp(), rows = job.critic_rows + job.model_rows;
  const TrainCounters& c = *job.counters;
  if (w < job.critic_rows)
    sample_critic_row(job, w);
  else if (w < rows)
    sample_model_row(job, w - job.critic_rows);
  if (w != rows) return;
  if (job.critic_rows > 0)
    for (int i = lane(); i < job.critics; i += 32)
      job.header[i] = {c.seed, c.solves + static_cast<std::uint32_t>(i), 0};
  if (lane() == 0 && job.critic_rows > 0) {
    *job.critic_step = hd::adam_step(job.critic_rate, c.critic_steps + 1);
    *job.move_target = (c.critic_steps + 1) % job.target_interval == 0;
  }
  if (lane() == 1 && job.model_rows > 0)
    *job.model_step = hd::adam_step(job.model_rate, c.model_steps + 1);
  if (lane() == 2 && job.policy_step) {
    *job.policy_step = hd::adam_step(job.policy_rate, c.policy_steps + 1);
    *job.move_policy_target = 1;
  }
}

/// Which critic's value is the least for a row; of equals the first.
SOFTMPC_DEVICE int least_critic(const ProblemResult* results, int critics, int rows, int row) {
  int least = 0;
  for (int c = 1; c < critics; ++c)
    if (results[static_cast<std::size_t>(c) * rows + row].value <
        results[static_cast<std::size_t>(least) * rows + row].value)
      least = c;
  return least;
}

/// u+[1:] <- refined plan of x', as far as either goes; of several to one slot the last wins.
SOFTMPC_DEVICE void write_back_row(const FinishJob& job, int row) {
  const std::int64_t slot = job.slot[row];
  bool later = false;
  for (int j = row + 1 + lane(); j < job.rows; j += 32) later |= job.slot[j] == slot;
  if (ballot(later) != 0) return;
  const DeviceReplay& r = job.replay;
  const int critic = least_critic(job.results, job.critics, job.rows, row);
  const float* refined =
      job.refined + (static_cast<std::size_t>(critic) * job.rows + row) * job.target_plan;
  float* stored = r.plans + slot * r.plan;
  for (int i = lane(); i < job.target_plan && i + r.nu < r.plan; i += 32)
    stored[i + r.nu] = refined[i];
}

/// The worst status of the target plans, by one warp.
SOFTMPC_DEVICE int worst_status(const FinishJob& job) {
  int worst = 0;
  for (int i = lane(); i < job.critics * job.rows; i += 32) {
    const int status = static_cast<int>(job.results[i].status);
    worst = status > worst ? status : worst;
  }
  for (int mask = 16; mask > 0; mask /= 2) {
    const int other = shuffle_xor(worst, mask);
    worst = other > worst ? other : worst;
  }
  return worst;
}

SOFTMPC_DEVICE double sum_of(const double* values, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += values[i];
  return sum;
}

/// Warps: the critics' rows, and one for sums and counters.
SOFTMPC_KERNEL void train_finish(const FinishJob& job) {
  const int w = global_warp(), rows = job.critic ? job.rows : 0;
  if (w < rows && job.write_back) write_back_row(job, w);
  if (w != rows) return;
  const std::uint32_t status = job.critic ? static_cast<std::uint32_t>(worst_status(job)) : 0;
  if (lane() > 0) return;
  TrainSums& sums = *job.sums;
  TrainCounters& c = *job.counters;
  if (job.critic) {
    const TrainStack& s = job.critic_stack;
    const double count = static_cast<double>(job.rows) * s.networks;
    sums.critic_loss += sum_of(s.loss_sum, s.networks) / count;
    sums.q += sum_of(s.q_sum, s.networks) / count;
    sums.target += s.goal_sum[0] / job.rows;
    sums.status = status > sums.status ? status : sums.status;
    ++sums.critic_updates;
    ++c.draws;
    ++c.critic_steps;
    c.solves += static_cast<std::uint32_t>(job.critics);
  }
  if (job.policy) ++c.policy_steps;
  if (job.model) {
    sums.model_loss += sum_of(job.model_stack.loss_sum, job.model_stack.networks);
    ++sums.model_updates;
    ++c.draws;
    ++c.model_steps;
  }
}

}  // namespace softmpc::cuda
