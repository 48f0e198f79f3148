// SPDX-License-Identifier: Apache-2.0
// Rollouts in tiles: a block takes `slots` neighbours of the flattened (problem, rollout) index
// through all steps and the terminal value; states stay in shared memory, noise is drawn where it
// is used and nothing but costs is written. A rollout's bits depend on its inputs alone, not on the
// tile it lies in. Method: DESIGN section 1.
#pragma once

#include "intrinsics.h"
#include "job.h"
#include "mma_engine.cuh"
#include "nets.cuh"
#include "plain_engine.cuh"
#include "softmpc/hd/covariance.h"
#include "softmpc/hd/math.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "tile_memory.h"

namespace softmpc::cuda {

/// The member of a step where one serves all rollouts.
template <class Sizes>
SOFTMPC_DEVICE int step_member(const RolloutJob& job, int t) {
  if (Sizes::members == 1) return 0;
  if (Sizes::fixed_noise && job.fixed_member != nullptr) return job.fixed_member[t];
  return hd::draw_member(job.header->seed, job.header->solve, job.iteration, t, Sizes::members);
}

/// `Rules`: reward and termination (DeviceRules). `critic_operands`: Operands of the critic.
template <class Sizes, class Rules, class Engine, int slots, Operands net_operands,
          Operands critic_operands>
class TileRollout {
 public:
  template <class... EngineExtra>
  SOFTMPC_DEVICE TileRollout(const RolloutJob& job, const TileMemory& memory,
                             const EngineExtra&... extra)
      : job_(job),
        m_(memory),
        rules_(make_rules<Rules>(job.rule_parameters)),
        engine_(memory.engine, memory.engine_words, most_outputs(Sizes{}), extra...),
        first_(static_cast<std::int64_t>(Engine::tile()) * slots),
        total_(static_cast<std::int64_t>(job.problems) * Sizes::rollouts) {}

  SOFTMPC_DEVICE void run() {
    start();
    SOFTMPC_KEEP_LOOP  // instructions are to stay in their cache
        for (int t = 0; t < Sizes::horizon; ++t) {
      // a policy is evaluated in between
      if (!Sizes::policy_residual && same_member())
        engine_.template prefetch<Sizes::dynamics_width>(
            job_.dynamics, dynamics_shape(Sizes{}, net_operands, Engine::kOrder), member_of(t));
      act(t);
      step(t);
      account(t);
    }
    if (!Sizes::policy_residual)
      engine_.template prefetch<Sizes::critic_width>(
          job_.critic, critic_shape(Sizes{}, critic_operands, Engine::kOrder), job_.critic_index);
    act(Sizes::horizon);
    finish();
  }

 private:
  static constexpr int kThreads = Engine::kThreads;
  static constexpr int kPasses = slots / Engine::kGroup;  // groups of a pass over the networks

  // x_0 = observation, zeros if it is not finite (the update says so); J = 0
  SOFTMPC_DEVICE void start() {
    for (int r = Engine::index(); r < slots; r += kThreads) {
      std::int64_t at = first_ + r;
      if (at >= total_) at = total_ - 1;  // behind the end: repeats the last, is not written
      const int problem = static_cast<int>(at / Sizes::rollouts);
      m_.problem[r] = problem;
      m_.rollout[r] = static_cast<int>(at % Sizes::rollouts);
      m_.j[r] = m_.prior[r] = 0;
      m_.alive[r] = m_.valid[r] = 1;
      const float* x0 = job_.observation + static_cast<std::size_t>(problem) * Sizes::nx;
      bool finite = true;
      for (int i = 0; i < Sizes::nx; ++i) finite &= x0[i] - x0[i] == 0.0f;
      for (int i = 0; i < Sizes::nx; ++i) m_.x[r * m_.x_stride + i] = finite ? x0[i] : 0.0f;
    }
    Engine::sync();
  }

  /// eps_t ~ N(0, Sigma) into noise [slots, nu], or z of a full Sigma
  SOFTMPC_DEVICE void draw(int t) {
    constexpr int kBlock = 4;
    const int blocks_of_action = (Sizes::nu + kBlock - 1) / kBlock;
    for (int i = Engine::index(); i < slots * blocks_of_action; i += kThreads) {
      const int r = i / blocks_of_action, b = i % blocks_of_action;
      float n[kBlock];
      hd::normal_block(
          job_.header->seed, job_.header->solve,
          hd::draw_word(hd::Stream::noise, job_.iteration, t, b), job_.problem_id[m_.problem[r]],
          hd::sequence_of(static_cast<std::uint32_t>(m_.rollout[r]), Sizes::particles), n);
      SOFTMPC_UNROLL
      for (int j = 0; j < kBlock; ++j) {
        const int c = kBlock * b + j;
        if (c < Sizes::nu) m_.noise[r * Sizes::nu + c] = job_.sigma[c] * n[j];
      }
    }
  }

  SOFTMPC_DEVICE void take_noise(int t) {
    for (int i = Engine::index(); i < slots * Sizes::nu; i += kThreads) {
      const int r = i / Sizes::nu, c = i % Sizes::nu;
      const std::size_t rollout =
          static_cast<std::size_t>(m_.problem[r]) * Sizes::rollouts + m_.rollout[r];
      m_.noise[i] = job_.fixed_noise[(rollout * (Sizes::horizon + 1) + t) * Sizes::nu + c];
    }
  }

  // v_t = n + u_t + eps_t, with a policy mu(x_t) in place of n; a_t = clip(v_t); prior sum of S
  SOFTMPC_DEVICE void act(int t) {
    if (Sizes::fixed_noise)
      take_noise(t);
    else
      draw(t);
    if (Sizes::policy_residual) ask_policy(t);
    Engine::sync();
    for (int r = Engine::index(); r < slots; r += kThreads) {
      const std::size_t at =
          (static_cast<std::size_t>(m_.problem[r]) * (Sizes::horizon + 1) + t) * Sizes::nu;
      float prior = m_.prior[r];
      if (Sizes::correlated) {
        float square;
        hd::finish_noise(hd::Covariance{job_.factor, job_.inverse, Sizes::nu},
                         Sizes::uniform_prior != 0, Sizes::fixed_noise != 0,
                         m_.noise + r * Sizes::nu, square);
        prior += job_.discount[t] * square;
      }
      int valid = m_.valid[r];
      for (int i = 0; i < Sizes::nu; ++i) {
        const hd::Acted acted =
            hd::act(Sizes::uniform_prior != 0,
                    Sizes::policy_residual ? m_.action[r * Sizes::nu + i] : job_.neutral[i],
                    job_.plan[at + i], job_.cost_plan[at + i], m_.noise[r * Sizes::nu + i],
                    job_.low[i], job_.high[i], job_.discount[t], job_.inverse_variance[i]);
        m_.action[r * Sizes::nu + i] = acted.action;
        prior += acted.prior_term;
        valid &= acted.inside ? 1 : 0;
      }
      m_.prior[r] = prior;
      m_.valid[r] = valid;
    }
    Engine::sync();
  }

  // mu(x) = mid + half-range tanh(net(x)), into action
  SOFTMPC_DEVICE void ask_policy(int t) {
    engine_.template evaluate<Sizes::policy_width>(
        job_.policy, policy_shape(Sizes{}, net_operands, Engine::kOrder), OneNetwork{0},
        [&](int slot, int c) { return m_.x[slot * m_.x_stride + c]; },
        [&](int slot, int c, float y) {
          const float mu = hd::from_unit(hd::tanh(y), job_.low[c], job_.high[c]);
          m_.action[slot * Sizes::nu + c] = mu;
          if (t == 0 && m_.rollout[slot] == 0 && first_ + slot < total_ && Engine::writes())
            job_.mu[static_cast<std::size_t>(m_.problem[slot]) * Sizes::nu + c] = mu;
        });
  }

  // x_{t+1} = x_t + f_m(x_t, a_t)
  SOFTMPC_DEVICE void step(int t) {
    if (same_member()) {
      predict(OneNetwork{member_of(t)}, [](int slot) { return slot; });
      return;
    }
    if (Sizes::member_draw == kPerRolloutStep || t == 0) group_by_member(t);
    const int passes = (*m_.groups + kPasses - 1) / kPasses;
    for (int pass = 0; pass < passes; ++pass) {
      const short* slot_row = m_.slot_row + pass * slots;
      predict(NetworkTable{m_.group_member + pass * kPasses},
              [=](int slot) { return static_cast<int>(slot_row[slot]); });
    }
  }

  /// One member serves all rollouts of a step.
  SOFTMPC_DEVICE static bool same_member() {
    return Sizes::member_draw == kPerStep || Sizes::members == 1;
  }

  SOFTMPC_DEVICE int member_of(int t) const { return step_member<Sizes>(job_, t); }

  /// One evaluation of the dynamics; `row_of(slot)` is the rollout in a slot, negative if none.
  template <class Index, class RowOf>
  SOFTMPC_DEVICE void predict(const Index& index, const RowOf& row_of) {
    engine_.template evaluate<Sizes::dynamics_width>(
        job_.dynamics, dynamics_shape(Sizes{}, net_operands, Engine::kOrder), index,
        [&](int slot, int c) { return input(row_of(slot), c); },
        [&](int slot, int c, float y) {
          const int r = row_of(slot);
          if (r < 0) return;
          if (c < Sizes::nx)
            m_.next[r * m_.x_stride + c] = m_.x[r * m_.x_stride + c] + y;
          else if (Sizes::learned_reward && c == Sizes::nx)
            m_.reward[r] = y;
          else
            m_.logit[r] = y;
        });
  }

  // [x, a] of a rollout
  SOFTMPC_DEVICE float input(int r, int c) const {
    if (r < 0) return 0.0f;
    return c < Sizes::nx ? m_.x[r * m_.x_stride + c] : m_.action[r * Sizes::nu + c - Sizes::nx];
  }

  /// Sorts the tile's rollouts by member into slots; a member's slots begin a group.
  SOFTMPC_DEVICE void group_by_member(int t) {
    const int draw_step = Sizes::member_draw == kPerRollout ? 0 : t;
    for (int r = Engine::index(); r < slots; r += kThreads) {
      const hd::Philox4 key =
          hd::balanced_key(job_.header->seed, job_.header->solve, job_.iteration, draw_step,
                           job_.problem_id[m_.problem[r]]);
      m_.member[r] = hd::rollout_member(static_cast<std::uint32_t>(m_.rollout[r]),
                                        static_cast<std::uint32_t>(Sizes::rollouts),
                                        Sizes::particles, Sizes::members, key);
    }
    for (int i = Engine::index(); i < slots * Engine::kGroup; i += kThreads) m_.slot_row[i] = -1;
    if (Engine::index() == 0) *m_.groups = 0;
    Engine::sync();
    for (int r = Engine::index(); r < slots; r += kThreads) {
      const int member = m_.member[r];
      int rank = 0, count = 0;  // among the rollouts of this member
      for (int s = 0; s < slots; ++s) {
        count += m_.member[s] == member;
        rank += m_.member[s] == member && s < r;
      }
      m_.rank[r] = rank;
      m_.group_count[r] = rank == 0 ? (count + Engine::kGroup - 1) / Engine::kGroup : 0;
    }
    Engine::sync();
    for (int r = Engine::index(); r < slots; r += kThreads) {
      const int member = m_.member[r], rank = m_.rank[r];
      int group = 0, all = 0;
      for (int s = 0; s < slots; ++s) {
        all += m_.group_count[s];
        if (m_.member[s] < member) group += m_.group_count[s];
      }
      group += rank / Engine::kGroup;
      m_.slot_row[group * Engine::kGroup + rank % Engine::kGroup] = static_cast<short>(r);
      if (rank % Engine::kGroup == 0) m_.group_member[group] = member;
      if (r == 0) *m_.groups = all;
    }
    Engine::sync();
    // idle groups of the last pass repeat a member that is there
    const int groups = *m_.groups;
    for (int g = groups + Engine::index(); g < (groups + kPasses - 1) / kPasses * kPasses;
         g += kThreads)
      m_.group_member[g] = m_.group_member[groups - 1];
    Engine::sync();
  }

  // J -= gamma^t r_t; after a terminating step nothing counts
  SOFTMPC_DEVICE void account(int t) {
    for (int r = Engine::index(); r < slots; r += kThreads) {
      const float *x = m_.x + r * m_.x_stride, *next = m_.next + r * m_.x_stride;
      float reward =
          Sizes::learned_reward ? m_.reward[r] : rules_.reward(x, m_.action + r * Sizes::nu, next);
      if (Sizes::costly_end)
        reward =
            hd::charged_reward(reward, Sizes::handle_terminations && ends(r, next), job_.end_cost);
      if (m_.alive[r]) m_.j[r] = hd::subtract_reward(m_.j[r], job_.discount[t], reward);
      if (Sizes::handle_terminations && ends(r, next)) m_.alive[r] = 0;
    }
    Engine::sync();
    float* swap = m_.x;
    m_.x = m_.next;
    m_.next = swap;
  }

  SOFTMPC_DEVICE bool ends(int r, const float* next) const {
    if (Sizes::learned_termination) return m_.logit[r] > 0;
    return rules_terminated(rules_, next);
  }

  // J -= gamma^H Q(x_H, a_H); S from J and the prior sum
  SOFTMPC_DEVICE void finish() {
    engine_.template evaluate<Sizes::critic_width>(
        job_.critic, critic_shape(Sizes{}, critic_operands, Engine::kOrder),
        OneNetwork{job_.critic_index}, [&](int slot, int c) { return input(slot, c); },
        [&](int slot, int, float q) { m_.reward[slot] = q; });
    for (int r = Engine::index(); r < slots; r += kThreads) {
      if (first_ + r >= total_ || !Engine::writes()) continue;
      // a select, not a product: a state that overflowed after its end must not make NaN of it
      const float q = m_.alive[r] ? m_.reward[r] : 0.0f;
      const float j = hd::subtract_reward(m_.j[r], job_.discount[Sizes::horizon], q);
      job_.cost[first_ + r] =
          hd::rollout_cost(Sizes::uniform_prior != 0, j, job_.temperature, m_.prior[r]);
      job_.valid[first_ + r] = static_cast<std::uint8_t>(m_.valid[r]);
    }
  }

  const RolloutJob& job_;
  TileMemory m_;
  Rules rules_;
  Engine engine_;
  std::int64_t first_, total_;
};

/// mma.sync: 16-bit numbers, sm_80 and later.
template <class Sizes, class Rules, int slots, Number number, Operands net_operands,
          Operands critic_operands>
SOFTMPC_KERNEL void rollout_tile(const RolloutJob& job) {
  constexpr int kWidest = widest(Sizes::dynamics_width, Sizes::critic_width, Sizes::policy_width);
  using Engine = MmaEngine<slots, kWidest, number>;
  const int words = engine_words(Sizes{}, net_operands, critic_operands);
  TileRollout<Sizes, Rules, Engine, slots, net_operands, critic_operands>(
      job, TileMemory(Sizes{}, slots, Engine::kGroup, words, shared_memory(),
                      mma_engine_bytes(slots, kWidest, words)))
      .run();
}

/// Float32, any width.
template <class Sizes, class Rules, int slots>
SOFTMPC_KERNEL void rollout_plain(const RolloutJob& job) {
  using Engine = PlainEngine<slots>;
  const int most = plain_widest(Sizes{});
  TileRollout<Sizes, Rules, Engine, slots, Operands::single, Operands::single>(
      job, TileMemory(Sizes{}, slots, Engine::kGroup, most, shared_memory(),
                      plain_engine_bytes(slots, most)))
      .run();
}

}  // namespace softmpc::cuda
