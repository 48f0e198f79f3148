// SPDX-License-Identifier: Apache-2.0
// Rollouts of one tile: a run of lanes over the flattened (problem, rollout) index that goes
// through all steps and the terminal value while it lies in cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/aligned.h"
#include "softmpc/config.h"
#include "softmpc/hd/covariance.h"
#include "softmpc/model.h"
#include "softmpc/planner.h"

namespace softmpc::cpu {

/// What all tiles of one iteration read.
struct RolloutJob {
  const PlannerConfig* config;
  const ProblemShape* shape;
  Models models;
  std::span<const float> parameters;  // of the reward; empty: its own
  SolveKey key;
  int iteration;
  int problems;
  const float* observation;          // [B, nx] finite
  const float* plan;                 // [B, H+1, nu] u
  const float* cost_plan;            // [B, H+1, nu] u, or its residual, in S
  const std::uint32_t* problem_id;   // [B]
  const float* sigma;                // [nu] standard deviations
  const float* inverse_variance;     // [nu]
  const hd::Covariance* covariance;  // null: Sigma is diagonal
  const float* neutral;              // [nu] n
  const float *low, *high;           // [nu]
  const float* discount;             // [H+1] gamma^t
  const int* member;                 // [H] per_step members
  const float* fixed_noise;          // [B, K, H+1, nu] or null
  RolloutTrace* trace;               // null: nothing is kept
  std::size_t trace_lane;            // the first of this iteration there
};

/// Room for one more iteration in the arrays by rollout; returns its first lane.
std::size_t make_room(RolloutTrace& trace, const PlannerConfig& config, const ProblemShape& shape,
                      int problems);

/// Where a tile puts what the plan update needs.
struct RolloutOutput {
  float* noise;         // [H+1, nu, lanes] of this tile
  float* cost;          // [B, K]
  std::uint8_t* valid;  // [B, K]: all v_t inside the box
};

/// Scratch of one worker.
class TileScratch {
 public:
  /// Room for tiles of `lanes` lanes; allocates only when something grew.
  void prepare(const RolloutJob& job, int lanes);
  /// What prepare() allocates for the first time.
  static std::uint64_t bytes(const RolloutJob& job, int lanes);

 private:
  template <bool traced>
  friend class TileRollout;
  /// Calls f(array, entries) for each array.
  template <class F>
  void for_each_array(const RolloutJob& job, int lanes, const F& f);

  AlignedFloats x, next, action, base, grouped;  // column blocks
  AlignedFloats j, prior, alive, reward, value;  // [lanes]
  std::vector<std::uint8_t> terminated;
  std::vector<std::uint32_t> id, rollout, sequence, valid;
  std::vector<int> problem, member, order;
  std::vector<LaneRun> runs;
  AlignedBytes net;
};

/// Rolls out lanes [begin, end) of the flattened index; `lanes` is the tile's padded width.
void roll_out(const RolloutJob& job, int begin, int end, int lanes, TileScratch& scratch,
              const RolloutOutput& out);

}  // namespace softmpc::cpu
