// SPDX-License-Identifier: Apache-2.0
// Rollouts of analytic models. A step without networks is so short that waiting decides: what needs
// no state before it is computed for many steps at once. A block takes Sizes::slots neighbours of
// the flattened (problem, rollout) index through Sizes::chunk steps at a time: all threads draw
// actions, one thread a rollout integrates, all threads ask for rewards. The terminal value is a
// formula, or a critic that all threads evaluate in the end. A rollout's bits depend neither on
// slots and chunk nor on the block it lies in. Method: DESIGN section 1.
#pragma once

#include "analytic_memory.h"
#include "intrinsics.h"
#include "job.h"
#include "make_rules.h"
#include "nets.cuh"
#include "network_index.cuh"
#include "plain_engine.cuh"
#include "softmpc/hd/covariance.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"

namespace softmpc::cuda {

/// In the place of a formula's `Value`: the terminal value is the job's critic, in float32.
/// `slots`: asking_slots().
template <int slots>
struct CriticValue {
  static constexpr int kAsking = slots;
};

/// `Rules`, `Dynamics`, `Value`: DeviceRules of reward, dynamics and terminal value. `room`:
/// room_for(nx and nu).
template <class Sizes, class Rules, class Dynamics, class Value, int room>
class AnalyticRollout {
 public:
  SOFTMPC_DEVICE explicit AnalyticRollout(const RolloutJob& job)
      : job_(job),
        m_(Sizes{}, shared_memory()),
        rules_(make_rules<Rules>(job.rule_parameters)),
        dynamics_(make_rules<Dynamics>(job.dynamics_parameters)),
        value_(make_rules<Value>(job.value_parameters)),
        slot_(thread() % Sizes::slots),
        at_(static_cast<std::int64_t>(block()) * Sizes::slots + slot_) {
    const std::int64_t total = static_cast<std::int64_t>(job.problems) * Sizes::rollouts;
    present_ = at_ < total;
    const std::int64_t at = present_ ? at_ : total - 1;  // behind the end: repeats the last
    problem_ = static_cast<int>(at / Sizes::rollouts);
    rollout_ = static_cast<int>(at % Sizes::rollouts);
    seed_ = job.header->seed;
    solve_ = job.header->solve;
    id_ = job.problem_id[problem_];
  }

  SOFTMPC_DEVICE void run() {
    start();
    for (int first = 0; first <= Sizes::horizon; first += Sizes::chunk) {
      const int left = Sizes::horizon + 1 - first;
      const int actions = left < Sizes::chunk ? left : Sizes::chunk;
      // the last action is the terminal value's
      const int steps = left <= Sizes::chunk ? actions - 1 : actions;
      if (first > 0) sync_block();
      act(first, actions);
      sync_block();
      if (warp() == 0) integrate(first, steps, actions);
      if (warp() == 1) sum_prior(actions);
      sync_block();
      judge(first, steps);
      sync_block();
      if (warp() == 1) account(steps);
    }
    if constexpr (kByCritic) ask_critic();
    if (warp() == 1) finish();
  }

 private:
  static constexpr int kThreads = kAnalyticThreads;
  static constexpr bool kByCritic = requires { Value::kAsking; };
  // a thread keeps its slot from item to item, and the integrators are one warp
  static_assert(kThreads % kMostSlots == 0 && kMostSlots <= 32);

  /// This thread's lane is that of a rollout, of the block's first lanes.
  SOFTMPC_DEVICE static bool owns() { return lane() < Sizes::slots; }

  // x_0 = observation, zeros if it is not finite (the update says so)
  SOFTMPC_DEVICE void start() {
    if (warp() != 0 || !owns()) return;
    const float* x0 = job_.observation + static_cast<std::size_t>(problem_) * Sizes::nx;
    bool finite = true;
    for (int i = 0; i < Sizes::nx; ++i) finite &= x0[i] - x0[i] == 0.0f;
    for (int i = 0; i < Sizes::nx; ++i) m_.state[i * m_.states + slot_] = finite ? x0[i] : 0.0f;
  }

  /// eps of action block b at step t, times sigma
  SOFTMPC_DEVICE void noise(int t, int b, float (&eps)[4]) const {
    if (Sizes::fixed_noise) {
      const std::size_t rollout = static_cast<std::size_t>(problem_) * Sizes::rollouts + rollout_;
      const float* from =
          job_.fixed_noise + (rollout * (Sizes::horizon + 1) + t) * Sizes::nu + 4 * b;
      for (int j = 0; j < 4; ++j) eps[j] = 4 * b + j < Sizes::nu ? from[j] : 0.0f;
      return;
    }
    hd::normal_block(seed_, solve_, hd::draw_word(hd::Stream::noise, job_.iteration, t, b), id_,
                     static_cast<std::uint32_t>(rollout_), eps);
    for (int j = 0; j < 4; ++j)
      eps[j] = 4 * b + j < Sizes::nu ? job_.sigma[4 * b + j] * eps[j] : 0.0f;
  }

  /// A column of the actions.
  struct Column {
    float* data;
    int stride;
    SOFTMPC_DEVICE float& operator[](int i) const { return data[i * stride]; }
  };

  /// Of a full Sigma all noise of an item is drawn before its actions, whose place it takes.
  /// Returns its discounted eps' Sigma^-1 eps.
  SOFTMPC_DEVICE float correlate(int t, int item) {
    const Column column{m_.action + item, m_.items};
    for (int b = 0; 4 * b < Sizes::nu; ++b) {
      float z[4];
      noise(t, b, z);
      SOFTMPC_UNROLL
      for (int j = 0; j < 4; ++j)
        if (4 * b + j < Sizes::nu) column[4 * b + j] = z[j];
    }
    float square;
    hd::finish_noise(hd::Covariance{job_.factor, job_.inverse, Sizes::nu},
                     Sizes::uniform_prior != 0, Sizes::fixed_noise != 0, column, square);
    return job_.discount[t] * square;
  }

  // v_t = n + u_t + eps_t, a_t = clip(v_t), and what the step adds to the prior sum of S
  SOFTMPC_DEVICE void act(int first, int actions) {
    for (int item = thread(); item < actions * Sizes::slots; item += kThreads) {
      const int t = first + item / Sizes::slots;
      const std::size_t plan =
          (static_cast<std::size_t>(problem_) * (Sizes::horizon + 1) + t) * Sizes::nu;
      float prior = Sizes::correlated ? correlate(t, item) : 0.0f;
      bool inside = true;
      SOFTMPC_UNROLL
      for (int b = 0; b < room / 4; ++b) {
        if (4 * b >= Sizes::nu) break;
        float u[4], cost_u[4], eps[4];  // the plan is on its way while noise is drawn
        SOFTMPC_UNROLL
        for (int j = 0; j < 4; ++j) {
          u[j] = 4 * b + j < Sizes::nu ? job_.plan[plan + 4 * b + j] : 0.0f;
          cost_u[j] = 4 * b + j < Sizes::nu ? job_.cost_plan[plan + 4 * b + j] : 0.0f;
        }
        if (!Sizes::correlated) noise(t, b, eps);
        SOFTMPC_UNROLL
        for (int j = 0; j < 4; ++j) {
          const int i = 4 * b + j;
          if (i >= Sizes::nu) break;
          if (Sizes::correlated) eps[j] = m_.action[i * m_.items + item];
          const hd::Acted acted =
              hd::act(Sizes::uniform_prior != 0, job_.neutral[i], u[j], cost_u[j], eps[j],
                      job_.low[i], job_.high[i], job_.discount[t], job_.inverse_variance[i]);
          m_.action[i * m_.items + item] = acted.action;
          prior += acted.prior_term;
          inside &= acted.inside;
        }
      }
      m_.term[item] = prior;
      m_.flag[item] = inside ? 1 : 0;
    }
  }

  SOFTMPC_DEVICE static void read(const float* from, int stride, int size, float (&to)[room]) {
    SOFTMPC_UNROLL
    for (int i = 0; i < room; ++i)
      if (i < size) to[i] = from[i * stride];
  }

  // x_{t+1} = f(x_t, a_t), one after the other; then Q(x_H, a_H) of a formula
  SOFTMPC_DEVICE void integrate(int first, int steps, int actions) {
    if (!owns()) return;
    float x[room], a[room], next[room];
    // a chunk before this one was a whole one
    read(m_.state + (first > 0 ? m_.items : 0) + slot_, m_.states, Sizes::nx, x);
    if (first > 0) keep(x, slot_);
#pragma GCC unroll 4
    for (int s = 0; s < steps; ++s) {
      const int item = s * Sizes::slots + slot_;
      read(m_.action + item, m_.items, Sizes::nu, a);
      dynamics_.step(x, a, next);
      SOFTMPC_UNROLL
      for (int i = 0; i < room; ++i)
        if (i < Sizes::nx) x[i] = next[i];
      keep(x, item + Sizes::slots);
    }
    if constexpr (!kByCritic) {
      if (steps == actions) return;
      read(m_.action + steps * Sizes::slots + slot_, m_.items, Sizes::nu, a);
      m_.value[slot_] = value_.value(x, a);
    }
  }

  SOFTMPC_DEVICE void keep(const float (&x)[room], int at) {
    SOFTMPC_UNROLL
    for (int i = 0; i < room; ++i)
      if (i < Sizes::nx) m_.state[i * m_.states + at] = x[i];
  }

  /// Beside integrate(): the prior sum and validity of a rollout.
  SOFTMPC_DEVICE void sum_prior(int actions) {
    if (!owns()) return;
#pragma GCC unroll 4
    for (int s = 0; s < actions; ++s) {
      const int item = s * Sizes::slots + slot_;
      prior_ += m_.term[item];
      valid_ &= m_.flag[item] != 0;
    }
  }

  // gamma^t r(x_t, a_t, x_{t+1}), and whether x_{t+1} ends the episode
  SOFTMPC_DEVICE void judge(int first, int steps) {
    for (int item = thread(); item < steps * Sizes::slots; item += kThreads) {
      float x[room], a[room], next[room];
      read(m_.state + item, m_.states, Sizes::nx, x);
      read(m_.state + item + Sizes::slots, m_.states, Sizes::nx, next);
      read(m_.action + item, m_.items, Sizes::nu, a);
      float reward = rules_.reward(x, a, next);
      if (Sizes::handle_terminations) {
        m_.flag[item] = rules_terminated(rules_, next) ? 1 : 0;
        if (Sizes::costly_end)
          reward = hd::charged_reward(reward, m_.flag[item] != 0, job_.end_cost);
      }
      m_.term[item] = job_.discount[first + item / Sizes::slots] * reward;
    }
  }

  // J -= gamma^t r_t; after a terminating step nothing counts
  SOFTMPC_DEVICE void account(int steps) {
    if (!owns()) return;
#pragma GCC unroll 16
    for (int s = 0; s < steps; ++s) {
      const int item = s * Sizes::slots + slot_;
      if (alive_) j_ -= m_.term[item];
      if (Sizes::handle_terminations) alive_ &= m_.flag[item] == 0;
    }
  }

  // Q(x_H, a_H) of a critic; all threads, some rollouts at a time
  SOFTMPC_DEVICE void ask_critic() {
    using Engine = PlainEngine<Value::kAsking>;
    static_assert(Engine::kThreads == kThreads);
    Engine engine(m_.engine, plain_widest(Sizes{}));
    const int last = Sizes::horizon % Sizes::chunk * Sizes::slots;  // items of step H
    for (int first = 0; first < Sizes::slots; first += Value::kAsking) {
      engine.template evaluate<Sizes::critic_width>(
          job_.critic, critic_shape(Sizes{}, Operands::single), OneNetwork{job_.critic_index},
          [&](int slot, int c) {
            const int at = last + first + slot;
            return c < Sizes::nx ? m_.state[c * m_.states + at]
                                 : m_.action[(c - Sizes::nx) * m_.items + at];
          },
          [&](int slot, int, float q) { m_.value[first + slot] = q; });
    }
  }

  // J -= gamma^H Q(x_H, a_H); S from J and the prior sum
  SOFTMPC_DEVICE void finish() {
    if (!owns() || !present_) return;
    // a select, not a product: a state that overflowed after its end must not make NaN of it
    const float q = alive_ ? m_.value[slot_] : 0.0f;
    const float j = hd::subtract_reward(j_, job_.discount[Sizes::horizon], q);
    job_.cost[at_] = hd::rollout_cost(Sizes::uniform_prior != 0, j, job_.temperature, prior_);
    job_.valid[at_] = valid_ ? 1 : 0;
  }

  const RolloutJob& job_;
  AnalyticMemory m_;
  Rules rules_;
  Dynamics dynamics_;
  Value value_;
  int slot_;
  std::int64_t at_;  // of this thread's rollout, flattened
  bool present_;
  int problem_, rollout_;
  std::uint64_t seed_;  // of the noise, with what follows
  std::uint32_t solve_, id_;
  // of the rollout; warp 1 keeps them
  float prior_ = 0, j_ = 0;
  bool valid_ = true, alive_ = true;
};

template <class Sizes, class Rules, class Dynamics, class Value, int room>
SOFTMPC_KERNEL void rollout_analytic(const RolloutJob& job) {
  AnalyticRollout<Sizes, Rules, Dynamics, Value, room>(job).run();
}

}  // namespace softmpc::cuda
