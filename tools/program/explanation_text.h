// SPDX-License-Identifier: Apache-2.0
// An explanation for people and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "diagnosis.h"

namespace softmpc::tools {

/// The plan, the `top` rollouts with the greatest weights, and totals, in 100 columns.
std::string explanation_text(const PlannerConfig& config, const Explanation& e, int top);
/// Everything; what is not finite is null.
nlohmann::ordered_json explanation_json(const PlannerConfig& config, const ProblemShape& shape,
                                        const Explanation& e);
/// The findings as sentences in 100 columns, or that there is nothing to complain about; `e` is
/// whose they are.
std::string findings_text(std::span<const Finding> findings, const Explanation& e);
nlohmann::ordered_json findings_json(std::span<const Finding> findings);
/// Throws Error that says how far apart they are, if the parts do not make the plan.
void require_agreement(const Explanation& e);

}  // namespace softmpc::tools
