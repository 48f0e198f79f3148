// SPDX-License-Identifier: Apache-2.0
// Tries models of one's own (model.h) before a planner does: what a planner relies on and no
// compiler sees. Once, in a test of the models:
//
//   for (const std::string& finding : softmpc::check_models({&dynamics, &reward}, shape,
//   1).findings)
//     std::puts(finding.c_str());
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "softmpc/model.h"
#include "softmpc/planner.h"

namespace softmpc {

struct ModelReport {
  /// One line each, "MODEL, CALL: what was found, in which lane, and the rule".
  std::vector<std::string> findings;
  bool passed() const { return findings.empty(); }
};

/// On random lanes, states of about 1 and actions inside the bounds: a model gives finite numbers
/// and all of them; the same bits at another place, in blocks of other lengths and strides, when
/// called again and from several threads; in first_step() what step() gives; and writes nothing but
/// the lanes of its results and scratch_bytes(). Models that are null are not looked at.
///
/// With `device`, which may be that of a test, plans of the models on a CUDA device are compared
/// with plans on the CPU, and so their device_rules() with their C++; that needs all of dynamics,
/// reward and value. Throws UsageError on a shape of no size or without bounds.
ModelReport check_models(const Models& models, const ProblemShape& shape, std::uint64_t seed,
                         const cuda::DeviceOptions* device = nullptr);

}  // namespace softmpc
