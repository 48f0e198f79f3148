// SPDX-License-Identifier: Apache-2.0
// A trained controller in one safetensors file: what the trainer writes is what the robot loads.
//
// Tensors (float32): members.weight1 [E, out, in], members.bias1 [E, out], ... for each layer, and
// members.{input,output}_{mean,std}; the same for critics and, where there is one, policy.
// Metadata: format_version, task, dt, and as JSON sizes, bounds, outputs, normalisation, config,
// provenance; checksum is "crc32c:" and eight hex digits over the rest (how: src/bundle.cpp).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/network.h"

namespace softmpc {

struct Bundle {
  std::string task;  ///< name in the task registry, or the user's own
  int nx = 0, nu = 0;
  std::vector<float> action_low, action_high;  ///< [nu]
  double dt = 0;                               ///< seconds per control step
  NetWeights members;                          ///< stack of E dynamics models; may be absent
                                               ///< (stack 0) if model.source is environment
  MemberOutputs outputs;
  NetWeights critics;  ///< stack of critics
  std::optional<NetWeights> policy;
  Config config;           ///< all settings of the run; the planner's are used
  std::string provenance;  ///< JSON object: version, seed, step, ...
};

/// Writes atomically (aside, fsync, rename). Throws Error naming path and cause.
void save_bundle(const Bundle& bundle, const std::string& path);
/// Throws Error naming the file and what is wrong with it: missing, truncated, checksum, shapes.
Bundle load_bundle(const std::string& path);

}  // namespace softmpc
