// SPDX-License-Identifier: Apache-2.0
// Tests for src/nearest.cpp.
#include "nearest.h"

#include <gtest/gtest.h>

#include <vector>

namespace softmpc {
namespace {

const std::vector<std::string> kTasks = {"Hopper", "HalfCheetah", "Humanoid", "HumanoidStandup"};

TEST(Nearest, FindsTheNameWithTheFewestEdits) {
  EXPECT_EQ(nearest_name("Hoper", kTasks), "Hopper");
  EXPECT_EQ(nearest_name("Humanoide", kTasks), "Humanoid");
  EXPECT_EQ(nearest_name("HumanoidStandUp", kTasks), "HumanoidStandup");
}

TEST(Nearest, IgnoresCase) { EXPECT_EQ(nearest_name("halfcheetah", kTasks), "HalfCheetah"); }

TEST(Nearest, TakesTheFirstOfEquals) {
  const std::vector<std::string> known = {"aa", "ab"};
  EXPECT_EQ(nearest_name("ac", known), "aa");
  EXPECT_EQ(nearest_name("", known), "aa");
}

TEST(Nearest, IsEmptyWhenNothingIsKnown) { EXPECT_EQ(nearest_name("x", {}), ""); }

TEST(Nearest, BearsLongInput) {
  EXPECT_FALSE(nearest_name(std::string(1 << 20, 'x'), kTasks).empty());
}

}  // namespace
}  // namespace softmpc
