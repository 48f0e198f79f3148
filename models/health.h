// SPDX-License-Identifier: Apache-2.0
// What is wrong with a run, by what its "train" line says.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace softmpc {

/// Sentences "NAME: what was seen and what may help", none where all is well; models/README.md
/// lists names and limits. `updates`: of the critic, before the nets that the line judges. What a
/// young critic says is not held against it.
std::vector<std::string> warnings_of(const std::map<std::string, double>& values,
                                     std::int64_t updates);

}  // namespace softmpc
