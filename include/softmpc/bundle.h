// SPDX-License-Identifier: Apache-2.0
// A trained controller in one safetensors file: what the trainer writes is what the robot loads.
//
// Tensors (float32): members.weight1 [E, out, in], members.bias1 [E, out], ... for each layer, and
// members.{input,output}_{mean,std}; the same for critics and, where there is one, policy.
// Metadata: format_version, task, acting, dt, and as JSON sizes, bounds (null: no bound), outputs,
// normalisation, environment, planner, provenance, and where it is known state_range; checksum is
// "crc32c:" and eight hex digits over the rest (how: src/bundle.cpp).
//
// Versions. A bundle of a higher format_version is refused in one line, an older one still loads
// (version 1 held all settings of the run as `config`; they are provenance now). Within a version:
// provenance is not looked into, so a run may state there whatever it knows. A planner setting that
// this reader does not know would change the plans, so it is refused by name; one that came after
// version 2 is written only where it is used, so that other bundles stay readable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/error.h"
#include "softmpc/network.h"

namespace softmpc {

struct Bundle {
  std::string task;  ///< name in the task registry, or the user's own
  int nx = 0, nu = 0;
  std::vector<float> action_low, action_high;  ///< [nu], as in ProblemShape
  double dt = 0;                               ///< seconds per control step
  EnvironmentConfig environment;               ///< the variant of the task
  Acting acting = Acting::planner;             ///< who acts: the planner, or the policy alone
  /// Stack of E dynamics models; absent (stack 0) where the model was not learned: planned is with
  /// the user's own dynamics, or the task's simulator.
  NetWeights members;
  MemberOutputs outputs;
  NetWeights critics;  ///< stack of critics
  std::optional<NetWeights> policy;
  PlannerConfig planner;
  /// [nx] what training saw of each component, infinite where no net looks at it; empty: not known.
  std::vector<float> state_low, state_high;
  /// JSON object for people: version, seed, step, settings of the run, ...
  std::string provenance;
};

/// A checksum of everything in the bundle, the same for the one that was saved and the one loaded.
std::uint64_t bundle_hash(const Bundle& bundle);

/// Writes atomically (aside, fsync, rename). Throws Error naming path and cause.
void save_bundle(const Bundle& bundle, const std::string& path);
/// What load_bundle() throws of a higher format_version than it reads.
class NewerBundle : public Error {
 public:
  using Error::Error;
};

/// Throws Error naming the file and what is wrong with it: missing, truncated, checksum, shapes.
Bundle load_bundle(const std::string& path);
/// The same from a file's bytes, copied; `name` stands for it in errors.
Bundle load_bundle(std::span<const std::byte> bytes, const std::string& name);

}  // namespace softmpc
