// SPDX-License-Identifier: Apache-2.0
// Tests that a machine without a device, or a build without CUDA, says so in one sentence.
#include <gtest/gtest.h>

#include "softmpc/cuda.h"
#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc::cuda {
namespace {

TEST(Absent, IsOneSentence) {
  const std::string why = unavailable();
  if (why.empty()) GTEST_SKIP() << "this machine has a device";
  EXPECT_EQ(why.find('\n'), std::string::npos);
  EXPECT_EQ(test::error_of<Error>([] { open_device(); }), why);
  if (SOFTMPC_TEST_WITH_CUDA) {
    EXPECT_EQ(why.find("this build"), std::string::npos) << why;
  } else {
    EXPECT_EQ(why,
              "this build of softmpc has no CUDA: build it with a CUDA toolkit of 12.0 or later "
              "(-DSOFTMPC_WITH_CUDA=ON)");
  }
}

}  // namespace
}  // namespace softmpc::cuda
