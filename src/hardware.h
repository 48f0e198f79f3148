// SPDX-License-Identifier: Apache-2.0
// What machine this is, for config.json and benchmarks.
#pragma once

#include <string>

namespace softmpc {

struct Hardware {
  std::string cpu;              ///< model name as the system gives it
  int cores = 0;                ///< logical cores that this process may use
  std::string instruction_set;  ///< widest that the processor has: avx512, avx2, neon or baseline
};

Hardware this_machine();

}  // namespace softmpc
