// SPDX-License-Identifier: Apache-2.0
// A small bundle of a built-in task in a file, and handles of it.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/random_models.h"
#include "core/temp_folder.h"
#include "softmpc/bundle.h"
#include "softmpc/c_api.hpp"

namespace softmpc::testing {

struct CApi : ::testing::Test {
  Random random{8};
  SmallModels nets{random, 12, 3, 2, 16};
  Bundle bundle = bundle_of(nets);
  test::TempFolder folder;
  std::string path = folder.file("model.safetensors");
  std::string error;

  CApi() {
    bundle.task = "Hopper";
    bundle.state_low.assign(12, -3);
    bundle.state_high.assign(12, 3);
    save();
  }
  void save() { save_bundle(bundle, path); }

  using Handle = std::unique_ptr<softmpc_controller, c_api::Close>;

  /// The number of an opening that must fail; its text is in `error`.
  softmpc_result refused(const softmpc_options& options, const std::string& file) {
    char text[1000] = "untouched";
    softmpc_controller* out = reinterpret_cast<softmpc_controller*>(&text);
    const softmpc_result result = softmpc_open(file.c_str(), &options, &out, text, sizeof text);
    EXPECT_EQ(out, nullptr);
    EXPECT_NE(result, SOFTMPC_DONE);
    error = text;
    EXPECT_FALSE(error.empty());
    EXPECT_EQ(error.find('\n'), std::string::npos);
    return result;
  }
  softmpc_result refused(const softmpc_options& options) { return refused(options, path); }

  Handle open(const softmpc_options& options = c_api::default_options()) {
    char text[1000];
    softmpc_controller* out = nullptr;
    EXPECT_EQ(softmpc_open(path.c_str(), &options, &out, text, sizeof text), SOFTMPC_DONE) << text;
    return Handle(out);
  }

  static std::vector<float> observation(int tick) {
    std::vector<float> x(12);
    for (int i = 0; i < 12; ++i) x[i] = 0.3f * std::sin(static_cast<float>(tick * (i + 1)));
    x[1] += 1;  // a hopper that stands
    return x;
  }

  /// A plan with room for all it has.
  struct Full {
    std::vector<float> action = std::vector<float>(3, -9), sequence = std::vector<float>(12, -9),
                       predicted = std::vector<float>(48, -9);
    softmpc_plan_out out = {};
    Full() {
      out.size = sizeof out;
      out.action = action.data();
      out.sequence = sequence.data();
      out.predicted = predicted.data();
    }
  };
  static softmpc_request request(const std::vector<float>& state, std::int64_t time = 0) {
    softmpc_request r = {};
    r.size = sizeof r;
    r.state = state.data();
    r.state_count = state.size();
    r.state_time_ns = time;
    return r;
  }
  static softmpc_status plan(const Handle& handle, const softmpc_request& r, Full& full) {
    const softmpc_status status = softmpc_plan(handle.get(), &r, &full.out);
    if (status != SOFTMPC_STATUS_WRONG_ARGUMENT) {
      EXPECT_EQ(full.out.status, status);
      EXPECT_TRUE(inside(full.action));
    }
    return status;
  }
  static softmpc_status status(const Handle& handle, const std::vector<float>& state,
                               std::int64_t time = 0) {
    Full full;
    return plan(handle, request(state, time), full);
  }
  static bool inside(const std::vector<float>& action) {
    for (const float a : action)
      if (!(a >= -1 && a <= 1.5f)) return false;
    return true;
  }
};

}  // namespace softmpc::testing
