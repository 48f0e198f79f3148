// SPDX-License-Identifier: Apache-2.0
// A small controller and what its tests share.
#pragma once

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "core/random_models.h"
#include "softmpc/controller.h"

namespace softmpc::testing {

using std::chrono::milliseconds;
inline constexpr Nanoseconds kStart = milliseconds(5000);
inline constexpr Nanoseconds kStep = milliseconds(100);

/// Nets of random weights, dt 0.1 s, horizon 3.
struct SmallController : ::testing::Test {
  Random random{8};
  SmallModels nets{random, 4, 2, 3, 16};
  Bundle bundle = bundle_of(nets);

  Controller make(ControllerOptions options = {}) const {
    return Controller(bundle, &nets.reward, std::move(options));
  }
  static std::vector<float> observation(int tick) {
    std::vector<float> x(4);
    for (int i = 0; i < 4; ++i) x[i] = 0.3f * std::sin(static_cast<float>(tick * (i + 1)));
    return x;
  }
  static std::vector<float> copy(std::span<const float> values) {
    return {values.begin(), values.end()};
  }
  /// What a tick gave, as bits that can be compared.
  static std::vector<double> numbers(const Plan& p) {
    std::vector<double> out(p.action.begin(), p.action.end());
    out.insert(out.end(), p.sequence.begin(), p.sequence.end());
    out.insert(out.end(), {p.value, p.effective_samples, p.valid_share});
    return out;
  }
  bool in_bounds(std::span<const float> action) const {
    bool inside = true;
    for (int i = 0; i < nets.nu; ++i)
      inside &= action[i] >= nets.low[i] && action[i] <= nets.high[i];
    return inside;
  }
};

/// A model that throws on demand, and otherwise is another.
class MoodyModel final : public DynamicsModel {
 public:
  explicit MoodyModel(const DynamicsModel& model) : model_(model) {}
  bool throws = false;

  int members() const override { return model_.members(); }
  std::size_t scratch_bytes(int count) const override { return model_.scratch_bytes(count); }
  void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override {
    if (throws) throw std::runtime_error("a user's model");
    model_.step(member, x, a, count, out, scratch);
  }

 private:
  const DynamicsModel& model_;
};

}  // namespace softmpc::testing
