// SPDX-License-Identifier: Apache-2.0
// What machine this is, for config.json and benchmarks; and how much memory it gives.
#pragma once

#include <cstdint>
#include <string>

namespace softmpc {

struct Hardware {
  std::string cpu;              ///< model name as the system gives it
  int cores = 0;                ///< logical cores that this process may use
  std::string instruction_set;  ///< widest that the processor has: avx512, avx2, neon or baseline
};

Hardware this_machine();

/// Memory that this process can have, and what sets the limit: "the machine has".
struct MemoryLimit {
  std::uint64_t bytes = 0;
  std::string set_by;
};
/// The least of physical memory, the container's share (cgroup) and what `ulimit -v` and `ulimit
/// -d` leave.
MemoryLimit memory_limit();

/// Before an allocation that settings make large. Throws Error "WHAT need 12.6 GB, the machine has
/// 8.0 GB: REMEDY" where `bytes` is more than the limit: the system would rather swap or kill.
void require_memory(std::uint64_t bytes, const std::string& what, const std::string& remedy,
                    const MemoryLimit& limit = memory_limit());

}  // namespace softmpc
