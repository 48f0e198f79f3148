// SPDX-License-Identifier: Apache-2.0
// Rollouts of a policy through the members, forward and back. A block takes kTrainRows rows of a
// batch through all steps; activations lie in global memory, where only this block touches its
// columns. Its products are those of train_tile.cuh, a slice of a layer after the other.
#pragma once

#include "intrinsics.h"
#include "make_rules.h"
#include "norm_rows.cuh"
#include "policy_job.h"
#include "softmpc/hd/covariance.h"
#include "softmpc/hd/losses.h"
#include "softmpc/hd/math.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "train_tile.cuh"

namespace softmpc::cuda {

/// f(component, offset in a column block) for all components and rows of a chunk.
template <class Body>
SOFTMPC_DEVICE void each_entry(int components, int stride, int chunk, const Body& body) {
  for (int i = thread(); i < components * kTrainRows; i += kTrainThreads) {
    const int c = i / kTrainRows;
    body(c, static_cast<std::size_t>(c) * stride + chunk * kTrainRows + i % kTrainRows);
  }
}

/// One network on the rows of one chunk.
class ChunkNet {
 public:
  /// `rate` [hidden] columns: where LayerNorm keeps its rates; null for a net without.
  SOFTMPC_DEVICE ChunkNet(const FlatNet& net, int network, int stride, int chunk,
                          float* rate = nullptr)
      : net_(net),
        m_(*reinterpret_cast<TrainMemory*>(shared_memory())),
        parameters_(net.parameters + static_cast<std::size_t>(network) * net.table.size),
        stride_(stride),
        chunk_(chunk),
        rate_(rate) {}

  // z_l = W_l h_{l-1} + b_l into z [hidden, width, R], the last one into y; y null: not that one.
  // Where the net normalises, z holds c_l.
  SOFTMPC_DEVICE void forward(const float* input, float* z, float* y) const {
    for (int l = 0; l < net_.hidden; ++l) {
      layer(l, l == 0 ? input : block_of(z, l - 1), block_of(z, l));
      if (!net_.normalises) continue;
      const float r = norm(l, block_of(z, l)).forward([](int, float) {});
      if (warp() == 0) rate_[place(l, lane())] = r;
      sync_block();
    }
    if (y) layer(net_.hidden, block_of(z, net_.hidden - 1), y);
  }

  /// dL/d(input) from dL/dy in dz[0]; both dz are overwritten.
  SOFTMPC_DEVICE void backward(float* z, float* const (&dz)[2], float* input_slope) const {
    for (int l = net_.hidden; l > 0; --l) {
      float* const to = dz[(net_.hidden - l + 1) % 2];
      back(l, dz[(net_.hidden - l) % 2], net_.normalises ? nullptr : block_of(z, l - 1), to);
      if (!net_.normalises) continue;
      norm(l - 1, block_of(z, l - 1))
          .backward(to + place(0, lane()), rate_[place(l - 1, lane())], [](int, float, float) {});
      sync_block();
    }
    back(0, dz[net_.hidden % 2], nullptr, input_slope);
  }

 private:
  template <class T>
  SOFTMPC_DEVICE T* block_of(T* z, int l) const {
    return z + static_cast<std::size_t>(l) * net_.width * stride_;
  }
  SOFTMPC_DEVICE std::size_t place(int unit, int row) const {
    return static_cast<std::size_t>(unit) * stride_ + chunk_ * kTrainRows + row;
  }

  SOFTMPC_DEVICE NormRows norm(int l, float* z) const {
    return {z + place(0, lane()), stride_, net_.width, parameters_ + net_.table.norm_scale[l],
            parameters_ + net_.table.norm_shift[l]};
  }

  SOFTMPC_DEVICE void layer(int l, const float* from, float* to) const {
    const int in = net_.inputs(l), out = net_.outputs(l);
    const float* bias = parameters_ + net_.table.bias[l];
    for (int unit0 = 0; unit0 < out; unit0 += kTrainSlice) {
      float sum[4][4] = {};
      for (int k0 = 0; k0 < in; k0 += kTrainTile) {
        const int count = in - k0 < kTrainTile ? in - k0 : kTrainTile;
        if (k0 > 0) sync_block();
        // one tile serves all slices
        if (unit0 == 0 || in > kTrainTile) load_inputs(l, from + place(k0, 0), k0, count);
        load_turned(parameters_ + net_.table.weight[l], in, out, unit0, k0, count, m_.weight);
        arrived();
        accumulate(m_, count, sum);
      }
      reduce(
          m_, sum,
          [&](int unit, int, float total) {
            return unit0 + unit < out ? total + bias[unit0 + unit] : 0.0f;
          },
          [&](int unit, int row, float z) {
            if (unit0 + unit < out) to[place(unit0 + unit, row)] = z;
          });
    }
    sync_block();
  }

  /// Inputs of layer l from the k0-th on into the tile: h_{l-1} = silu(z_{l-1}), or silu(n_{l-1})
  /// where the net normalises.
  SOFTMPC_DEVICE void load_inputs(int l, const float* from, int k0, int count) const {
    if (l == 0) {
      load_columns(from, stride_, count, 0, m_.rows);
      return;
    }
    const float* scale = parameters_ + net_.table.norm_scale[l - 1] + k0;
    const float* shift = parameters_ + net_.table.norm_shift[l - 1] + k0;
    each_batched<float, 8>(
        count * kTrainRows,
        [&](int i) {
          const int u = i / kTrainRows;
          const float z = from[static_cast<std::size_t>(u) * stride_ + i % kTrainRows];
          return hd::silu(net_.normalises ? hd::layer_norm(z, scale[u], shift[u]) : z);
        },
        [&](int i, float h) { m_.rows[i / kTrainRows * kRowStride + i % kTrainRows] = h; });
  }

  // dz_{l-1} = silu'(z_{l-1}) (W_l' dz_l); without z, of the input, W_l' dz_l
  SOFTMPC_DEVICE void back(int l, const float* from, const float* z, float* to) const {
    const int in = net_.inputs(l), out = net_.outputs(l);
    for (int unit0 = 0; unit0 < in; unit0 += kTrainSlice) {
      float sum[4][4] = {};
      for (int o0 = 0; o0 < out; o0 += kTrainTile) {
        const int count = out - o0 < kTrainTile ? out - o0 : kTrainTile;
        if (o0 > 0) sync_block();
        if (unit0 == 0 || out > kTrainTile)
          load_columns(from + place(o0, 0), stride_, count, 0, m_.rows);
        load_straight(parameters_ + net_.table.weight[l], in, unit0, o0, count, m_.weight);
        arrived();
        accumulate(m_, count, sum);
      }
      reduce(
          m_, sum,
          [&](int unit, int row, float total) {
            if (unit0 + unit >= in) return 0.0f;
            return z ? total * hd::silu_derivative(z[place(unit0 + unit, row)]) : total;
          },
          [&](int unit, int row, float v) {
            if (unit0 + unit < in) to[place(unit0 + unit, row)] = v;
          });
    }
    sync_block();
  }

  const FlatNet& net_;
  TrainMemory& m_;
  const float* parameters_;
  int stride_, chunk_;
  float* rate_;
};

/// The way forward of one block's rows. Calls end with a barrier.
class PolicyForward {
 public:
  SOFTMPC_DEVICE explicit PolicyForward(const PolicyRollout& rollout) : r_(rollout) {}

  /// Columns of step t.
  SOFTMPC_DEVICE int chunk(int t) const { return t * r_.chunks() + block(); }
  SOFTMPC_DEVICE int row(int i) const { return block() * kTrainRows + i % kTrainRows; }
  SOFTMPC_DEVICE float* alive(int t) const {
    return r_.alive + static_cast<std::size_t>(chunk(t)) * kTrainRows;
  }
  template <class Body>
  SOFTMPC_DEVICE void each(int components, int t, const Body& body) const {
    each_entry(components, r_.stride, chunk(t), body);
  }
  SOFTMPC_DEVICE ChunkNet policy(int t) const { return {r_.policy, 0, r_.stride, chunk(t)}; }
  SOFTMPC_DEVICE ChunkNet member(int network, int t) const {
    return {r_.members, network, r_.stride, chunk(t), r_.model_rate};
  }
  SOFTMPC_DEVICE float action(int i, std::size_t at) const {
    return hd::from_unit(r_.unit[at], r_.low[i], r_.high[i]);
  }

  SOFTMPC_DEVICE void start() const {
    each(r_.nx, 0, [&](int i, std::size_t at) {
      const int n = row(static_cast<int>(at % kTrainRows));
      r_.state[at] = n < r_.rows ? r_.start[static_cast<std::size_t>(n) * r_.nx + i] : 0.0f;
    });
    each(1, 0, [&](int, std::size_t at) {
      r_.alive[at] = row(static_cast<int>(at % kTrainRows)) < r_.rows ? 1.0f : 0.0f;
    });
    sync_block();
  }

  // a_t = mu(x_t)
  SOFTMPC_DEVICE void act(int t) const {
    each(r_.nx, t, [&](int i, std::size_t at) {
      r_.policy_input[at] = standardised(r_.policy, i, r_.state[at], t, at);
    });
    sync_block();
    policy(t).forward(r_.policy_input, r_.policy_z, r_.unit);
    each(r_.nu, t, [&](int, std::size_t at) { r_.unit[at] = hd::tanh(r_.unit[at]); });
    sync_block();
  }

  /// [x_t, a_t] as `net` takes them.
  SOFTMPC_DEVICE void ask(const FlatNet& net, int t) const {
    each(r_.nx + r_.nu, t, [&](int c, std::size_t at) {
      const int i = c - r_.nx;
      const float value =
          i < 0 ? r_.state[at] : action(i, at - static_cast<std::size_t>(r_.nx) * r_.stride);
      r_.model_input[at] = standardised(net, c, value, t, at);
    });
    sync_block();
  }

  // x_{t+1} = x_t + f_m(x_t, a_t)
  SOFTMPC_DEVICE void advance(int t, int network) const {
    ask(r_.members, t);
    member(network, t).forward(r_.model_input, r_.model_z, r_.model_output);
    const std::size_t next = static_cast<std::size_t>(r_.chunks()) * kTrainRows;
    each(r_.nx, t, [&](int i, std::size_t at) {
      r_.state[at + next] =
          r_.state[at] + r_.members.output_mean[i] + r_.members.output_std[i] * r_.model_output[at];
    });
    each(1, t, [&](int, std::size_t at) { r_.alive[at + next] = r_.alive[at]; });
    sync_block();
  }

 private:
  /// Rows that do not count ask the nets at 0: a state that overflowed after its end must not make
  /// NaN of a gradient that is 0.
  SOFTMPC_DEVICE float standardised(const FlatNet& net, int c, float value, int t,
                                    std::size_t at) const {
    const bool counts = alive(t)[at % kTrainRows] > 0;
    return counts ? (value - net.input_mean[c]) * net.input_scale[c] : 0.0f;
  }

  const PolicyRollout& r_;
};

/// Blocks: a chunk of problems each.
SOFTMPC_KERNEL void propose_plans(const ProposalJob& job) {
  const PolicyRollout& r = job.rollout;
  const PolicyForward forward(r);
  const int plan = (r.horizon + 1) * r.nu;
  forward.start();
  for (int t = 0; t <= r.horizon; ++t) {
    forward.act(t);
    forward.each(r.nu, t, [&](int i, std::size_t at) {
      const int b = forward.row(static_cast<int>(at % kTrainRows));
      if (b < r.rows)
        job.plan[static_cast<std::size_t>(r.rows + b) * plan + t * r.nu + i] =
            forward.action(i, at) - r.neutral[i];
    });
    if (t < r.horizon)
      forward.advance(t, hd::draw_member(job.header->seed, job.header->solve, 0, t, r.stack));
  }
  const int first = block() * kTrainRows,
            end = r.rows < first + kTrainRows ? r.rows : first + kTrainRows;
  for (int i = first * plan + thread(); i < end * plan; i += kTrainThreads)
    job.plan[i] = job.given[i];
  for (int i = first * r.nx + thread(); i < end * r.nx; i += kTrainThreads)
    job.observation[i] = job.observation[r.rows * r.nx + i] = r.start[i];
}

/// A column of a block of numbers, for rules.
struct ColumnView {
  const float* first;
  int stride;
  SOFTMPC_DEVICE float operator[](int i) const {
    return first[static_cast<std::size_t>(i) * stride];
  }
};

/// v_t = mu(x_t) - n of one row.
struct Departure {
  const PolicyForward& forward;
  const float* neutral;
  std::size_t row;
  int stride;
  SOFTMPC_DEVICE float operator[](int i) const {
    return forward.action(i, row + static_cast<std::size_t>(i) * stride) - neutral[i];
  }
};

/// `Rules`: termination (DeviceRules), where it is not learned.
template <class Rules>
class PolicyGradient {
 public:
  SOFTMPC_DEVICE explicit PolicyGradient(const PolicyGradientJob& job)
      : job_(job), r_(job.rollout), forward_(job.rollout) {}

  SOFTMPC_DEVICE void forward() const {
    forward_.start();
    for (int t = 0;; ++t) {
      forward_.act(t);
      if (t == r_.horizon) break;
      forward_.advance(t, member_of(t));
      if (job_.handle_terminations) end_episodes(t);
    }
  }

  // y_H = min over target critics Q(x_H, a_H); y_t by hd::expanded_target
  SOFTMPC_DEVICE void imagine() const {
    least_target_value();
    for (int t = r_.horizon - 1; t >= 0; --t) {
      const std::size_t next = static_cast<std::size_t>(r_.chunks()) * kTrainRows;
      forward_.each(1, t, [&](int, std::size_t at) {
        const std::size_t raw = static_cast<std::size_t>(r_.nx) * r_.stride + at;
        const float reward =
            r_.members.output_mean[r_.nx] + r_.members.output_std[r_.nx] * r_.model_output[raw];
        float& y = job_.imagined.value[single(t, at)];
        y = hd::expanded_target(reward, job_.imagined.gamma, r_.alive[at + next] > 0, y,
                                price(at + next), job_.imagined.end_cost);
        if (t < job_.imagined.steps) job_.imagined.goal[at] = y;
      });
      sync_block();
      if (t < job_.imagined.steps) give_inputs(t);
    }
  }

  SOFTMPC_DEVICE void backward() const {
    const int horizon = r_.horizon;
    back_through_critic();
    for (int t = horizon; t >= 0; --t) {
      if (t < horizon) back_through_model(t);
      add_price(t);
      back_through_policy(t);
    }
  }

 private:
  SOFTMPC_DEVICE int member_of(int t) const {
    const TrainCounters& c = *job_.counters;
    return hd::draw_policy_member(c.seed, static_cast<std::uint32_t>(c.critic_steps + 1), t,
                                  r_.stack);
  }
  /// Of entry `at` of step t: its place in the blocks that hold one step.
  SOFTMPC_DEVICE std::size_t single(int t, std::size_t at) const {
    return at - static_cast<std::size_t>(t) * r_.chunks() * kTrainRows;
  }
  // -1/N gamma^t alive_t
  SOFTMPC_DEVICE float weight(int t, std::size_t at) const {
    return -job_.discount[t] * forward_.alive(t)[at % kTrainRows] / static_cast<float>(r_.rows);
  }

  // alive_{t+1} = alive_t (1 - terminated(x_{t+1}))
  SOFTMPC_DEVICE void end_episodes(int t) const {
    const Rules rules = make_rules<Rules>(job_.rule_parameters);
    const int logit = r_.nx + job_.learned_reward;
    forward_.each(1, t + 1, [&](int, std::size_t at) {
      const std::size_t before = at - static_cast<std::size_t>(r_.chunks()) * kTrainRows;
      const bool ends =
          job_.learned_termination
              ? r_.model_output[static_cast<std::size_t>(logit) * r_.stride + before] > 0
              : rules_terminated(rules, ColumnView{r_.state + at, r_.stride});
      if (ends) r_.alive[at] = 0;
    });
    sync_block();
  }

  /// dL/d[x_t, a_t] of a net's inputs, from dL/d(input); x's is added where `more`.
  SOFTMPC_DEVICE void take_slope(const FlatNet& net, int t, bool more) const {
    forward_.each(r_.nx + r_.nu, t, [&](int c, std::size_t at) {
      const float slope = job_.model_slope[at] * net.input_scale[c];
      const std::size_t to = single(t, at);
      if (c >= r_.nx)
        job_.da[to - static_cast<std::size_t>(r_.nx) * r_.stride] = slope;
      else
        job_.dx[to] = more ? job_.dx[to] + slope : slope;
    });
    sync_block();
  }

  SOFTMPC_DEVICE void least_target_value() const {
    const int t = r_.horizon;
    const ImaginedSteps& imagined = job_.imagined;
    forward_.ask(imagined.target, t);
    for (int c = 0; c < imagined.critics; ++c) {
      const ChunkNet critic(imagined.target, c, r_.stride, forward_.chunk(t), r_.model_rate);
      critic.forward(r_.model_input, r_.model_z, job_.dz[0]);
      forward_.each(1, t, [&](int, std::size_t at) {
        float& y = imagined.value[single(t, at)];
        const float q = job_.dz[0][at];
        y = c == 0 || q < y ? q : y;
      });
      sync_block();
    }
  }

  /// (x_t, mu(x_t)) as rows of the critics' batch.
  SOFTMPC_DEVICE void give_inputs(int t) const {
    forward_.ask(job_.critic, t);
    forward_.each(r_.nx + r_.nu, t, [&](int c, std::size_t at) {
      const std::size_t from = static_cast<std::size_t>(c) * r_.stride;
      job_.imagined.input[static_cast<std::size_t>(c) * job_.imagined.stride + at - from] =
          r_.model_input[at];
    });
    sync_block();
  }

  // -1/N gamma^H alive_H dQ/d(x_H, a_H)
  SOFTMPC_DEVICE void back_through_critic() const {
    const int t = r_.horizon;
    const ChunkNet critic(job_.critic, 0, r_.stride, forward_.chunk(t), r_.model_rate);
    forward_.ask(job_.critic, t);
    critic.forward(r_.model_input, r_.model_z, nullptr);
    forward_.each(1, t, [&](int, std::size_t at) { job_.dz[0][at] = weight(t, at); });
    sync_block();
    critic.backward(r_.model_z, job_.dz, job_.model_slope);
    take_slope(job_.critic, t, false);
  }

  /// From dL/dx_{t+1} and -1/N gamma^t alive_t dr_t to dL/dx_t and dL/da_t.
  SOFTMPC_DEVICE void back_through_model(int t) const {
    forward_.each(r_.members.out, t, [&](int c, std::size_t at) {
      float slope = 0;
      if (c < r_.nx)
        slope = job_.dx[single(t, at)];
      else if (job_.learned_reward && c == r_.nx)
        slope = weight(t, at);
      job_.dz[0][at] = r_.members.output_std[c] * slope;
    });
    sync_block();
    forward_.member(member_of(t), t).backward(r_.model_z, job_.dz, job_.model_slope);
    take_slope(r_.members, t, true);
  }

  // d/dv_i (lambda/2 v' Sigma^-1 v)
  SOFTMPC_DEVICE float price_slope(int i, const Departure& v) const {
    const float charged =
        job_.inverse ? hd::charged(hd::Covariance{nullptr, job_.inverse, r_.nu}, i, v) : v[i];
    return hd::price_slope(job_.temperature, 1, charged, job_.inverse_variance[i]);
  }
  // lambda/2 v' Sigma^-1 v of the row at column `at`: half of v times its slope
  SOFTMPC_DEVICE float price(std::size_t at) const {
    if (job_.temperature == 0) return 0;
    const Departure v = {forward_, r_.neutral, at, r_.stride};
    float sum = 0;
    for (int i = 0; i < r_.nu; ++i) sum += 0.5f * v[i] * price_slope(i, v);
    return sum;
  }

  // 1/N alive_t d/da (lambda/2 gamma^t v' Sigma^-1 v), v = a_t - n
  SOFTMPC_DEVICE void add_price(int t) const {
    if (job_.temperature == 0) return;
    forward_.each(r_.nu, t, [&](int i, std::size_t at) {
      const Departure v = {forward_, r_.neutral, at - static_cast<std::size_t>(i) * r_.stride,
                           r_.stride};
      job_.da[single(t, at)] -= weight(t, at) * price_slope(i, v);
    });
    sync_block();
  }

  /// From dL/da_t to dL/dz_t, and by mu's own dependence on x_t to dL/dx_t.
  SOFTMPC_DEVICE void back_through_policy(int t) const {
    forward_.each(r_.nu, t, [&](int i, std::size_t at) {
      const float slope =
          job_.da[single(t, at)] * hd::from_unit_slope(r_.unit[at], r_.low[i], r_.high[i]);
      job_.slope[at] = job_.dz[0][at] = slope;
    });
    sync_block();
    if (t == 0) return;
    forward_.policy(t).backward(r_.policy_z, job_.dz, job_.model_slope);
    forward_.each(r_.nx, t, [&](int i, std::size_t at) {
      job_.dx[single(t, at)] += job_.model_slope[at] * r_.policy.input_scale[i];
    });
    sync_block();
  }

  const PolicyGradientJob& job_;
  const PolicyRollout& r_;
  PolicyForward forward_;
};

/// Blocks: a chunk of the batch each. Before the critics' step: the rollouts, for the critics.
template <class Rules>
SOFTMPC_KERNEL void policy_imagine(const PolicyGradientJob& job) {
  const PolicyGradient<Rules> rollout(job);
  rollout.forward();
  rollout.imagine();
}

/// Behind it: the gradient, of the rollouts that policy_imagine has left where there was one.
template <class Rules>
SOFTMPC_KERNEL void policy_gradient(const PolicyGradientJob& job) {
  const PolicyGradient<Rules> rollout(job);
  if (job.imagined.steps == 0) rollout.forward();
  rollout.backward();
}

}  // namespace softmpc::cuda
