// SPDX-License-Identifier: Apache-2.0
// What the kernels of training read and write. Shapes are values here, not constants of a
// specialisation: one binary serves every task, and the members and the critics share a launch.
// Blocks of a batch are columns [components, R]: R rows of the batch, whole chunks of kTrainRows,
// the rows behind the batch zero.
#pragma once

#include <cstddef>
#include <cstdint>

#include "job.h"
#include "parameter_table.h"
#include "softmpc/hd/adam.h"
#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

inline constexpr int kTrainThreads = 256;
inline constexpr int kTrainRows = 32;   // rows of a batch that a block takes at a time
inline constexpr int kTrainSlice = 16;  // units of a layer that a block computes
inline constexpr int kTrainTile = 256;  // entries of a sum that a block takes at a time

SOFTMPC_HD constexpr int parts_of(int count, int size) { return (count + size - 1) / size; }

/// softmpc::Loss as numbers.
inline constexpr int kLossMse = 0, kLossHuber = 1, kLossGaussian = 2;

/// Counters that decide the draws; as on the host, which keeps its own.
struct TrainCounters {
  std::uint64_t seed;
  std::uint64_t draws;  ///< replay batches drawn
  std::int64_t slots;   ///< of the replay that a batch is drawn from
  std::uint32_t solves;
  std::uint32_t reserved;
  std::int64_t critic_steps, model_steps, policy_steps;  ///< updates so far
};

/// Sums over updates, as softmpc::UpdateSums, and the worst status of their target plans.
struct TrainSums {
  double critic_loss, model_loss, q, target;
  std::int64_t critic_updates, model_updates;
  std::uint32_t status, reserved;
};

/// One stack of networks in training. Layer l = 0 .. hidden.
struct TrainStack {
  int networks, in, width, hidden, out;
  int rows, stride;  ///< batch N, and R
  ParameterTable table;
  // parameters and moments [networks, table.size], target null where there is none
  float *parameters, *mean, *variance, *target;
  const hd::AdamStep* step;
  const int* move_target;  ///< whether this step moves the targets
  float tau;
  // activations
  const float* input;  ///< [in, R]
  float *z, *h, *dz;   ///< [hidden, networks, width, R]
  float* y;            ///< [networks, out, R]
  // LayerNorm of the hidden layers, null without: z becomes c (hd/layer_norm.h)
  float* rate;       ///< r [hidden, networks, R]
  float* norm_sums;  ///< of one layer: gradients of scale and shift [networks, chunks, 2, width]
  // loss: members
  int loss;
  int regressed;    ///< outputs that are regressed, the first ones
  int termination;  ///< 1: the next output is a logit
  float huber_delta;
  double scale, termination_scale;  ///< of loss and gradient
  const float* goal;                ///< [regressed, R]
  const float* terminated;          ///< [R]
  // loss: critics
  const ProblemResult* results;  ///< [critics, N] of the target plans; null: members
  int critics;
  const float* reward;  ///< [R]
  double gamma;
  float end_cost;  ///< c of a transition that terminates
  // rows that a policy's rollouts add to the critics' batch, from column first_imagined on
  int first_imagined, imagined;        ///< imagined 0: none
  const float *imagined_goal, *alive;  ///< [imagined]; a row counts where alive is 1
  double imagined_scale;
  const float* slope;  ///< [out, R] dL/dy where it is given; null: it is of the losses above
  // out, per network: loss (of critics its sum), sums of outputs and of goals
  double *loss_sum, *q_sum, *goal_sum;

  SOFTMPC_HD constexpr int inputs(int l) const { return l == 0 ? in : width; }
  SOFTMPC_HD constexpr int outputs(int l) const { return l == hidden ? out : width; }
  /// Where the parameters of a network start.
  SOFTMPC_HD constexpr std::size_t base(int network) const {
    return static_cast<std::size_t>(network) * table.size;
  }
  SOFTMPC_HD constexpr int chunks() const { return stride / kTrainRows; }
  SOFTMPC_HD constexpr bool normalises() const { return rate != nullptr; }
  /// Offset of the rates of one layer and network.
  SOFTMPC_HD constexpr std::size_t rates_of(int layer, int network) const {
    return (static_cast<std::size_t>(layer) * networks + network) * stride;
  }
  /// Offset of the sums of one network and chunk.
  SOFTMPC_HD constexpr std::size_t norm_sums_of(int network, int chunk) const {
    return (static_cast<std::size_t>(network) * chunks() + chunk) * 2 * width;
  }
  /// Offset of a hidden block of one network.
  SOFTMPC_HD constexpr std::size_t block_of(int layer, int network) const {
    return (static_cast<std::size_t>(layer) * networks + network) * width * stride;
  }
};

/// One layer of each stack, forward or backward; stack i has the blocks from first_block[i] on.
struct TrainJob {
  TrainStack stack[2];
  int layer[2];
  int first_block[2];  ///< the second is the grid's size where one stack is absent
};

/// Where the backward pass over the layers ends: the first layer goes along with the second, unless
/// LayerNorm stands between them.
SOFTMPC_HD constexpr int last_backward(const TrainStack& s) { return s.normalises() ? 0 : 1; }

/// Blocks of one layer's forward and backward pass; none of a layer that a stack has not.
SOFTMPC_HD constexpr int forward_blocks(const TrainStack& s, int l) {
  return l > s.hidden ? 0 : s.networks * parts_of(s.outputs(l), kTrainSlice) * s.chunks();
}
SOFTMPC_HD constexpr int backward_blocks(const TrainStack& s, int l) {
  return l < last_backward(s) ? 0 : s.networks * parts_of(s.width, kTrainSlice);
}
/// Blocks of LayerNorm of a hidden layer, forward or backward.
SOFTMPC_HD constexpr int norm_blocks(const TrainStack& s, int l) {
  return s.normalises() && l >= 0 && l < s.hidden ? s.networks * s.chunks() : 0;
}

/// Replay memory, slot by slot.
struct DeviceReplay {
  float* records;  ///< [slots, 2 nx + nu + 2]: x, a, next, reward, terminated
  float* plans;    ///< [slots, plan]
  int nx, nu, plan;
  SOFTMPC_HD constexpr int record() const { return 2 * nx + nu + 2; }
};

/// Sigma of start plans.
struct PlanNoise {
  const float* sigma;   ///< [nu] standard deviations
  const float* factor;  ///< [nu, nu] L of a full Sigma, else null
};

/// Mean and standard deviation of a network's inputs and outputs; input_scale is 1 / std.
struct TrainNorm {
  const float *input_mean, *input_std, *output_mean, *output_std, *input_scale;
};

/// What act() brings for one environment.
struct ActRow {
  std::int64_t slot;         ///< where its last transition goes; -1: there is none
  float reward, terminated;  ///< of it
  std::uint32_t fresh;       ///< 1: an episode starts
  std::uint32_t episode;
};

/// Stores the transitions that arrived, then starts a solve: x, plans, header.
struct ActJob {
  // uploaded
  const std::int64_t* slots;     ///< for TrainCounters
  const ActRow* row;             ///< [N]
  const float *x, *from, *next;  ///< [N, nx]: observation; x and x' of the last transition
  const float* action;           ///< [N, nu] of it
  int environments, acts;        ///< acts 0: stores alone
  DeviceReplay replay;
  TrainCounters* counters;
  PlanNoise noise;
  const float* refined;  ///< [N, plan] of the last solve
  // of the next
  float *observation, *plan;  ///< [N, nx], [N, plan]
  SolveHeader* header;
  TrainSums *sums, *published;  ///< the first is handed over and cleared
};

/// Draws the batches of a round.
struct SampleJob {
  const TrainCounters* counters;
  DeviceReplay replay;
  int warm_start;
  PlanNoise noise;
  // critics; rows 0: none
  int critic_rows, critic_stride, critics, target_interval;
  TrainNorm critic_norm;
  double critic_rate;
  std::int64_t* slot;            ///< [N]
  float *critic_input, *reward;  ///< [in, R], [R]
  float* terminated;             ///< [R]
  float *next, *plan;            ///< [N, nx], [N, target_plan]: the problems of the target plans
  int target_plan;               ///< floats of a target's plan, no more than of a stored one
  float* state;                  ///< [N, nx] x, where a policy starts from it, else null
  SolveHeader* header;           ///< [critics]
  hd::AdamStep* critic_step;
  int* move_target;
  // members; rows 0: none
  int model_rows, model_stride, regressed;
  TrainNorm model_norm;
  double model_rate;
  float *model_input, *goal, *model_terminated;  ///< [in, R], [regressed, R], [R]
  hd::AdamStep* model_step;
  // policy; null: it makes no step
  double policy_rate;
  hd::AdamStep* policy_step;
  int* move_policy_target;
};

/// Ends a round: write-back of plans, sums, counters.
struct FinishJob {
  TrainCounters* counters;
  TrainSums* sums;
  DeviceReplay replay;
  int critic, model, policy;  ///< which were updated
  int rows, critics, write_back;
  const std::int64_t* slot;  ///< [N]
  const float* refined;      ///< [critics, N, target_plan]
  int target_plan;
  const ProblemResult* results;  ///< [critics, N]
  TrainStack critic_stack;
  TrainStack model_stack;
};

}  // namespace softmpc::cuda
