// SPDX-License-Identifier: Apache-2.0
// The list: a line a kernel.
#include "runtime/fixed_kernels.h"

#include "kernels/engine_bytes.h"
#include "runtime/cubin.h"
#include "runtime/kernel_text.h"

namespace softmpc::cuda {
namespace {

KernelSource kernel(const char* call, const char* header, const char* job,
                    const KernelConstants& constants = {}) {
  return {.call = call, .header = header, .job = job, .constants = constants};
}

// A plan of the default settings, on a task of Hopper's size whose reward and end are learned.
constexpr KernelConstants kHopper = {.nx = 12,
                                     .nu = 3,
                                     .rollouts = 200,
                                     .horizon = 4,
                                     .members = 4,
                                     .particles = 1,
                                     .dynamics_layers = 2,
                                     .critic_layers = 2,
                                     .policy_layers = 0,
                                     .dynamics_norm = 0,
                                     .critic_norm = 0,
                                     .policy_norm = 0,
                                     .dynamics_outputs = 14,
                                     .uniform_prior = 0,
                                     .policy_residual = 0,
                                     .member_draw = 0,
                                     .handle_terminations = 1,
                                     .learned_reward = 1,
                                     .learned_termination = 1,
                                     .fixed_noise = 0,
                                     .correlated = 0,
                                     .slots = 0,
                                     .chunk = 0,
                                     .dynamics_width = 256,
                                     .critic_width = 256,
                                     .policy_width = 256};

// As bench case d: several blocks weigh a problem's rollouts.
constexpr KernelConstants many_rollouts() {
  KernelConstants constants = kHopper;
  constants.rollouts = 8192;
  constants.horizon = 32;
  return constants;
}

KernelSource with_threads(KernelSource source, int threads) {
  source.threads = threads;
  return source;
}

KernelSource two_a_processor(KernelSource source) {
  source.blocks_per_processor = 2;
  return source;
}

/// One that serves every task, called by its name alone.
FixedKernel of_no_sizes(const char* name, const char* header, const char* job, int registers,
                        int to_integer = 0) {
  return {name, kernel(name, header, job), {80, 90}, registers, 0, to_integer};
}

}  // namespace

const std::vector<FixedKernel>& fixed_kernels() {
  static const std::vector<FixedKernel> kernels = {
      // name, {call, header, job, constants}, capabilities, registers, static shared bytes,
      // conversions to integers: a rollout has none, as all its sizes are constants
      of_no_sizes("probe_draws", "probe.cuh", "DrawJob", 32),
      {"pack_f16", kernel("pack_weights<Number::f16>", "pack.cuh", "PackJob"), {80, 90}, 48, 0, 17},
      of_no_sizes("train_forward", "train_layer.cuh", "TrainJob", 128, 2),
      of_no_sizes("train_backward", "train_layer.cuh", "TrainJob", 168, 117),
      of_no_sizes("train_norm_forward", "train_norm.cuh", "TrainJob", 64, 1),
      of_no_sizes("train_norm_backward", "train_norm.cuh", "TrainJob", 64, 1),
      of_no_sizes("train_act", "train_replay.cuh", "ActJob", 64, 1),
      of_no_sizes("train_sample", "train_replay.cuh", "SampleJob", 64, 3),
      of_no_sizes("train_finish", "train_replay.cuh", "FinishJob", 64),
      // those of policy_rollout.cuh are compiled where they are first used: 1.2 MB in each
      // program for what training alone needs
      of_no_sizes("merge_parts", "merge.cuh", "MergeJob", 64),
      {"update",
       kernel("update_plans<Sizes>", "update.cuh", "RolloutJob", kHopper),
       {80, 90},
       64,
       0},
      {"update_segments",
       kernel("update_plans<Sizes>", "update.cuh", "RolloutJob", many_rollouts()),
       {80, 90},
       64,
       0,
       8},
      {"tile_16",
       kernel("rollout_tile<Sizes, Rules, 16, Number::f16, Operands::edges, Operands::split>",
              "rollout_tile.cuh", "RolloutJob", kHopper),
       {80, 90},
       200,
       0},
      {"cluster_16",
       kernel("rollout_cluster<Sizes, Rules, 16, Number::f16, Operands::edges, Operands::split>",
              "rollout_cluster.cuh", "RolloutJob", kHopper),
       {90},
       160,
       0},
      {"tile_64",
       kernel("rollout_tile<Sizes, Rules, 64, Number::f16, Operands::edges, Operands::split>",
              "rollout_tile.cuh", "RolloutJob", kHopper),
       {80, 90},
       200,
       0},
      {"wgmma",
       with_threads(kernel("rollout_wgmma<Sizes, Rules, 16, Number::f16, Operands::edges, "
                           "Operands::split>",
                           "rollout_wgmma.cuh", "RolloutJob", kHopper),
                    kWgmmaThreads),
       {90},
       168,  // its two warpgroups that compute raise it to 240
       0},
      {"plain",
       two_a_processor(
           kernel("rollout_plain<Sizes, Rules, 16>", "rollout_tile.cuh", "RolloutJob", kHopper)),
       {80, 90},
       128,
       0},
  };
  return kernels;
}

std::string budget_error(const FixedKernel& kernel, std::string_view cubin) {
  const CubinFacts facts = read_cubin(cubin, kKernelName);
  const auto over = [&](const char* what, int value, int limit) {
    return kernel.name + ": " + what + " " + std::to_string(value) + ", at most " +
           std::to_string(limit) + " are allowed";
  };
  if (facts.registers > kernel.max_registers)
    return over("registers a thread", facts.registers, kernel.max_registers);
  if (facts.frame_bytes > 0)
    return over("bytes of local memory (spilled registers or local arrays)", facts.frame_bytes, 0);
  if (facts.static_shared > kernel.max_static_shared)
    return over("bytes of static shared memory", facts.static_shared, kernel.max_static_shared);
  if (facts.to_integer() > kernel.max_to_integer)
    return over("conversions to integers (divisions by what is no constant)", facts.to_integer(),
                kernel.max_to_integer);
  return "";
}

}  // namespace softmpc::cuda
