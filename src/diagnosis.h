// SPDX-License-Identifier: Apache-2.0
// What is wrong with a plan, in words: rules that each judge one number of its explanation.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "explain.h"

namespace softmpc {

/// What one rule says of a plan.
struct Finding {
  const char* name;     // "temperature_small"
  double value;         // what the rule measures, relative; NaN: there is nothing to measure
  double threshold;     // beyond which it complains
  bool wrong;           // whether it does
  const char* setting;  // that would change it; "": none
  std::string text;     // a sentence with the numbers; empty unless wrong
};

/// What the explanation does not hold.
struct DiagnosisInput {
  std::span<const float> observation;            // [nx]
  std::span<const float> state_low, state_high;  // [nx], as in Bundle; empty: not known
};

/// All rules, worst first: causes stand before what follows from them. Calls the members of
/// `models`, and throws what a user's model throws.
std::vector<Finding> judge(const PlannerConfig& config, const ProblemShape& shape,
                           const Models& models, const Explanation& e, const DiagnosisInput& input);
/// Of these the complaints.
std::vector<Finding> diagnose(const PlannerConfig& config, const ProblemShape& shape,
                              const Models& models, const Explanation& e,
                              const DiagnosisInput& input);

}  // namespace softmpc
