// SPDX-License-Identifier: Apache-2.0
// Tests for check_models(): sound models pass, and each planted fault is found and named.
#include "softmpc/check_models.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "random_models.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc {
namespace {

using testing::Random;
using testing::SmallModels;

constexpr int kNx = 3, kNu = 2;

ProblemShape shape() { return {kNx, kNu, {-1, -1}, {1, 1}}; }

enum class Fault {
  none,
  order,         // the lane's number is part of the result
  past_results,  // the lane behind the block is written
  before_results,
  past_scratch,
  changes_input,
  not_finite,
  forgets_a_lane,
  counts_calls,
  by_thread,
  throws,
  first_step,
  flag_of_two,
  flag_behind,
};

/// All five kinds of calls, with one fault in each.
struct Faulty final : DynamicsModel, RewardModel, TerminalValue, Policy {
  explicit Faulty(Fault f) : fault(f) {}
  Fault fault;
  mutable int calls = 0;
  std::thread::id home = std::this_thread::get_id();

  /// rows[i] = sum of x and a, wrong in the way that is asked for.
  void fill(ConstColumns x, ConstColumns a, int count, Columns out, int rows, void* scratch) const {
    if (fault == Fault::throws) throw std::runtime_error("on purpose");
    if (fault == Fault::past_scratch) static_cast<char*>(scratch)[64] = 1;
    if (fault == Fault::changes_input) const_cast<float*>(x[0])[0] += 1;
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < count; ++j) {
        if (fault == Fault::forgets_a_lane && j == 5) continue;
        out[i][j] = x[0][j] + a[0][j] + static_cast<float>(i);
        if (fault == Fault::order) out[i][j] += static_cast<float>(j);
        if (fault == Fault::not_finite && x[0][j] > 0) out[i][j] = std::nanf("");
        if (fault == Fault::counts_calls) out[i][j] += static_cast<float>(calls);
        if (fault == Fault::by_thread && std::this_thread::get_id() != home) out[i][j] += 1;
      }
      if (fault == Fault::past_results) out[i][count] = 7;
      if (fault == Fault::before_results) out[i][-1] = 7;
    }
    if (fault == Fault::counts_calls) ++calls;
  }

  int members() const override { return 2; }
  std::size_t scratch_bytes(int) const override { return 64; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override {
    fill(x, a, count, out.next, kNx, scratch);
  }
  void first_step(int member, std::span<const LaneRun> runs, ConstColumns x, ConstColumns a,
                  int count, const StepResult& out, void* scratch) const override {
    step(member, x, a, count, out, scratch);
    if (fault == Fault::first_step) out.next[0][runs[1].begin] += 1;
  }
  void reward(ConstColumns x, ConstColumns a, ConstColumns, int count, float* out) const override {
    if (fault == Fault::past_scratch) return fill_sound(x, a, count, out);
    fill(x, a, count, {out, count + 9}, 1, nullptr);
  }
  static void fill_sound(ConstColumns x, ConstColumns a, int count, float* out) {
    for (int j = 0; j < count; ++j) out[j] = x[0][j] + a[0][j];
  }
  bool has_termination() const override { return true; }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    for (int j = 0; j < count; ++j)
      out[j] = next[0][j] > 0 ? (fault == Fault::flag_of_two ? 2 : 1) : 0;
    if (fault == Fault::flag_behind) out[count] = 0;
  }
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out,
                void* scratch) const override {
    fill(x, a, count, {out, count + 9}, 1, scratch);
  }
  void evaluate(ConstColumns x, int count, Columns action, void* scratch) const override {
    fill(x, x, count, action, kNu, scratch);
  }
  DeviceRules device_rules() const override { return {}; }
  bool read_network(NetWeights&) const override { return false; }
};

std::vector<std::string> findings(Fault fault) {
  const Faulty model(fault);
  return check_models({&model, &model, &model, &model}, shape(), 3).findings;
}

/// A line that begins with `call` and says `what`.
bool has(const std::vector<std::string>& lines, const std::string& call, const std::string& what) {
  bool found = false;
  for (const std::string& line : lines) {
    EXPECT_EQ(line.find('\n'), std::string::npos);
    found |= line.starts_with(call) && line.find(what) != std::string::npos;
  }
  return found;
}

TEST(CheckModels, SoundModelsPass) {
  EXPECT_EQ(findings(Fault::none), std::vector<std::string>());
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  for (const int width : {3, 16, 40}) {
    const SmallModels nets(random, 4, 2, 3, width, true);
    EXPECT_EQ(check_models(nets.models(), nets.shape(1), seed).findings,
              std::vector<std::string>());
  }
  // which predict reward and termination
  const MlpDynamics all(testing::random_weights(random, 2, NetSpec::mlp({6, 16, 6}), 0.7), 4, 2,
                        {.reward = true, .termination = true});
  EXPECT_TRUE(check_models({.dynamics = &all}, {4, 2, {-1, -1}, {1, 1}}, seed).passed());
}

TEST(CheckModels, FaultsOfAnyCallAreFound) {
  const struct {
    Fault fault;
    const char* text;
  } kinds[] = {{Fault::order, "must be the same at another place of a block"},
               {Fault::past_results, "lanes of its results"},
               {Fault::before_results, "lanes of its results"},
               {Fault::changes_input, "changes its inputs"},
               {Fault::not_finite, "is nan, must be finite"},
               {Fault::forgets_a_lane, "of lane 5 is not written"},
               {Fault::counts_calls, "must be the same when called again"},
               {Fault::by_thread, "must be the same beside other threads"},
               {Fault::throws, "throws 'on purpose'"}};
  for (const auto& kind : kinds)
    for (const char* call : {"dynamics, step of member 0: ", "dynamics, step of member 1: ",
                             "reward, reward: ", "value, evaluate: ", "policy, evaluate: "})
      EXPECT_TRUE(has(findings(kind.fault), call, kind.text)) << call << kind.text;
}

TEST(CheckModels, FaultsOfOneKindOfCallAreFound) {
  for (const char* call : {"dynamics, step of member 1: ", "value, ", "policy, "})
    EXPECT_TRUE(has(findings(Fault::past_scratch), call, "beyond its 64 bytes of scratch")) << call;
  EXPECT_TRUE(has(findings(Fault::first_step),
                  "dynamics, first_step of member 1: ", "must be the same as step() gives"));
  EXPECT_TRUE(has(findings(Fault::flag_of_two), "reward, terminated: ", "is 2, must be 0 or 1"));
  EXPECT_TRUE(has(findings(Fault::flag_behind), "reward, terminated: ", "lanes of its results"));
  EXPECT_EQ(findings(Fault::flag_of_two).size(), 1u);
}

TEST(CheckModels, OnlyAShapeIsRefused) {
  const Faulty model(Fault::none);
  const auto refused = [&](ProblemShape s) {
    return test::error_of<UsageError>([&] { check_models({&model, &model}, s, 1); });
  };
  EXPECT_EQ(refused({0, 2, {-1, -1}, {1, 1}}),
            "check_models: the shape has nx 0, nu 2, must be positive");
  EXPECT_EQ(refused({3, 2, {-1}, {1, 1}}), "check_models: the shape has 1 and 2 bounds, nu is 2");
  EXPECT_EQ(refused({3, 1, {1}, {-1}}),
            "check_models: the bounds of action 0 are 1.000000..-1.000000, must not be crossed");
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(check_models({&model}, {3, 2, {-kInfinity, 0}, {kInfinity, kInfinity}}, 1).passed());
  EXPECT_TRUE(check_models({}, shape(), 1).passed());
}

// Without a device, or for models without a text, the comparison says why there is none.
TEST(CheckModels, ADeviceThatCannotPlanIsAFinding) {
  const Faulty model(Fault::none);
  const cuda::DeviceOptions device;
  const auto report = check_models({&model, &model, &model}, shape(), 1, &device);
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_TRUE(has(report.findings, "device_rules: ", " "));
}

}  // namespace
}  // namespace softmpc
