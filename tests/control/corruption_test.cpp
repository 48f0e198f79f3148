// SPDX-License-Identifier: Apache-2.0
// Bundles with changed numbers and a checksum that is right: each is refused in a sentence, or
// gives a controller whose plans are plans. A wrong checksum would hide the reader from the test.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "core/temp_folder.h"
#include "io/safetensors.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using namespace testing;

struct Corruption : SmallController {
  test::TempFolder folder;
  const std::string path = folder.file("model.safetensors");
  Random draw{20};

  float strange() {
    const float some[] = {0, -0.0f, 1e-42f, 1e20f, -1e30f, 3e38f, std::nanf(""), INFINITY};
    return draw.coin() ? some[draw.whole(0, 7)]
                       : static_cast<float>(std::pow(10.0, draw.real(-5, 12))) *
                             (draw.coin() ? 1.0f : -1.0f);
  }
  void change_tensor(TensorFile& file) {
    auto tensor = file.tensors.begin();
    std::advance(tensor, draw.whole(0, static_cast<int>(file.tensors.size()) - 1));
    std::vector<std::byte>& bytes = tensor->second.bytes;
    const float value = strange();
    const auto entries = static_cast<int>(bytes.size() / sizeof(float));
    std::memcpy(bytes.data() + sizeof(float) * draw.whole(0, entries - 1), &value, sizeof value);
  }
  /// Another digit, sign or point in one of the texts.
  void change_metadata(TensorFile& file) {
    const char* names[] = {"sizes",       "bounds",      "dt",     "outputs",       "planner",
                           "environment", "state_range", "acting", "format_version"};
    std::string& text = file.metadata[names[draw.whole(0, 8)]];
    for (int tries = 0; tries < 50 && !text.empty(); ++tries) {
      char& c = text[draw.whole(0, static_cast<int>(text.size()) - 1)];
      if (std::strchr("0123456789.-", c) == nullptr) continue;
      c = "0123456789.-e"[draw.whole(0, 12)];
      return;
    }
  }
  /// False where the file was refused.
  bool plans_or_is_refused() {
    try {
      bundle = load_bundle(path);
      // legal, and only long
      if (1.0 * bundle.planner.rollouts * bundle.planner.horizon * bundle.planner.iterations > 1e5)
        return true;
      Controller controller = make();
      for (int tick = 0; tick < 3; ++tick) {
        const auto x = observation(tick);
        const Plan& plan = controller.plan(PlanRequest{.observation = x});
        for (std::size_t i = 0; i < plan.action.size(); ++i) {
          EXPECT_GE(plan.action[i], bundle.action_low[i]);
          EXPECT_LE(plan.action[i], bundle.action_high[i]);
        }
        EXPECT_EQ(plan.from_fallback, !usable(plan.status));
      }
      return true;
    } catch (const Error& error) {
      EXPECT_GT(std::strlen(error.what()), 10u);
      EXPECT_EQ(std::strchr(error.what(), '\n'), nullptr) << error.what();
      return false;
    }
  }
};

TEST_F(Corruption, EveryBundleThatIsTakenPlans) {
  bundle.planner.precision = Precision::float32;
  bundle.state_low.assign(4, -2.0f);
  bundle.state_high.assign(4, 2.0f);
  save_bundle(bundle, path);
  const TensorFile whole = read_safetensors(path);
  int taken = 0, refused = 0;
  for (int run = 0; run < 1000; ++run) {
    TensorFile file = whole;
    for (int k = draw.whole(1, 3); k > 0; --k)
      draw.coin() ? change_tensor(file) : change_metadata(file);
    file.metadata.erase("checksum");
    file.metadata["checksum"] = content_checksum(file);
    write_safetensors(path, file);
    ++(plans_or_is_refused() ? taken : refused);
    ASSERT_FALSE(HasFailure()) << "run " << run;
  }
  EXPECT_GT(taken, 150);
  EXPECT_GT(refused, 150);
}

}  // namespace
}  // namespace softmpc
