// SPDX-License-Identifier: Apache-2.0
// Repeats a recorded plan with the recorded noise.
#pragma once

#include <memory>

#include "softmpc/config.h"
#include "softmpc/cuda.h"
#include "verify/verify_report.h"

namespace softmpc::tools {

/// What repeats a plan. Float32 is held to the file's tolerances; 16 bit to a budget of its own, in
/// the median over the problems of a file and their iterations: total variation between the
/// rollouts' weights and the recorded ones at most 0.02, value within 0.05 %, in float16; 0.05 and
/// 0.4 % in bfloat16, which rounds eight times as coarsely.
struct VerifyTarget {
  Precision precision = Precision::float32;
  std::shared_ptr<cuda::Device> device;  ///< null: the CPU
  cuda::Path path = cuda::Path::automatic;
};

/// `document` is a file of "kind": "plan". Throws Error naming file and key where it is malformed.
VerifyReport verify_plan(const JsonNode& document, const VerifyTarget& target);

}  // namespace softmpc::tools
