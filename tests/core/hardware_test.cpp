// SPDX-License-Identifier: Apache-2.0
// Tests for src/hardware.cpp.
#include "hardware.h"

#include <gtest/gtest.h>

#include <set>

#include "memory_limit.h"
#include "softmpc/error.h"

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

TEST(Hardware, ARequestBeyondMemoryIsOneSentence) {
  const MemoryLimit limit = {8'000'000'000, "the machine has"};
  EXPECT_NO_THROW(require_memory(8'000'000'000, "planner: plans", "less", limit));
  try {
    require_memory(12'600'000'000, "planner: plans", "fewer rollouts need less", limit);
    ADD_FAILURE() << "12.6 GB fit into 8 GB";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "planner: plans need 12.6 GB, the machine has 8.0 GB: fewer rollouts need less");
  }
}

TEST(Hardware, TheLeastLimitOfMemoryCounts) {
  const MemoryLimit limit = memory_limit();
  EXPECT_GT(limit.bytes, 0u);
  EXPECT_FALSE(limit.set_by.empty());
  if (!test::kLimitsWork) GTEST_SKIP() << "a sanitizer lets no address space be limited";
  const auto request = [](std::uint64_t bytes) {
    return test::thrown_with_room_for(64 << 20, [=] { require_memory(bytes, "These", "less"); });
  };
  EXPECT_EQ(request(32 << 20), "nothing thrown");
  EXPECT_TRUE(request(128 << 20).starts_with("These need 0.1 GB, ulimit -v leaves 0.0"))
      << request(128 << 20);
}

}  // namespace
}  // namespace softmpc
