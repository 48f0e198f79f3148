// SPDX-License-Identifier: Apache-2.0
// What is wrong with a run, by what its "train" line says.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "learn/initialisation.h"

namespace softmpc {

struct Warning {
  std::string text;  ///< "NAME: what was seen and what may help"
  Network of;        ///< what is ill
};

/// None where all is well; models/README.md lists names and limits. `updates`: of the critic since
/// its start values, before the nets that the line judges. What a young critic says is not held
/// against it.
std::vector<Warning> warnings_of(const std::map<std::string, double>& values, std::int64_t updates);

}  // namespace softmpc
