// SPDX-License-Identifier: Apache-2.0
// How far the members of an ensemble are from each other where a plan begins.
#pragma once

#include <limits>

#include "diagnosis.h"

namespace softmpc {

struct MemberDistance {
  int farthest = -1;  // the member; -1: there is one alone, or nothing to compare at
  /// From the median of all members, over first steps of rollouts, in lengths of that median step.
  double distance = std::numeric_limits<double>::quiet_NaN();
  double ratio = std::numeric_limits<double>::quiet_NaN();  // to that of the second farthest
};

/// Lengths are root mean squares over components, each in widths of what training saw, or where
/// these are not known in units of its own mean square step.
MemberDistance member_distance(const DynamicsModel& dynamics, const ProblemShape& shape,
                               const Explanation& e, const DiagnosisInput& input);

}  // namespace softmpc
