// SPDX-License-Identifier: Apache-2.0
// Tests for src/hardware.cpp.
#include "hardware.h"

#include <gtest/gtest.h>

#include <set>

namespace softmpc {
namespace {

TEST(Hardware, SaysWhatItRunsOn) {
  const Hardware machine = this_machine();
  EXPECT_FALSE(machine.cpu.empty());
  EXPECT_EQ(machine.cpu.find('\n'), std::string::npos);
  EXPECT_GE(machine.cores, 1);
  const std::set<std::string> known = {"avx512", "avx2", "neon", "baseline"};
  EXPECT_EQ(known.count(machine.instruction_set), 1u) << machine.instruction_set;
}

}  // namespace
}  // namespace softmpc
