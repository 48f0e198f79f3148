// SPDX-License-Identifier: Apache-2.0
// Tests of what explain says of plans: a trained controller with one fault planted at a time, each
// named first at nearly all states that the sound one visits; and nothing of that one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "control/engine.h"
#include "diagnosis.h"
#include "program.h"
#include "softmpc/controller.h"
#include "softmpc/task.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;
using State = std::vector<float>;
using Change = std::function<void(Bundle&)>;

/// States of three episodes, every third of 24 steps.
std::vector<State> visited(const Bundle& bundle, const RewardModel& reward, const Task& task) {
  Controller controller(bundle, &reward, {});
  const auto environment = task.make_environment({});
  std::vector<State> result;
  std::vector<double> x(static_cast<std::size_t>(bundle.nx));
  for (int episode = 0; episode < 3; ++episode) {
    environment->reset(1000 + episode, x);
    controller.reset();
    for (int t = 0; t < 24; ++t) {
      const State state(x.begin(), x.end());
      if (t % 3 == 0) result.push_back(state);
      environment->step(controller.plan(state).action, x);
    }
  }
  return result;
}

/// A plan and what is said of it.
struct Said {
  Explanation e;
  std::vector<Finding> all, wrong;

  const Finding& rule(const std::string& name) const {
    return *std::ranges::find_if(all, [&](const Finding& f) { return f.name == name; });
  }
  std::string first() const { return wrong.empty() ? "nothing" : wrong.front().name; }
};

class Findings : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string run = folder().file("run");
    const Result trained =
        softmpc::test::run({"train", "lq", "--steps", "2000", "--out", run, "--quiet", "--threads",
                            "1", "--set", "model.width=64", "--set", "critic.width=64"});
    ASSERT_EQ(trained.code, 0) << trained.err;
    sound() = load_bundle(run + "/model.safetensors");
    reward() = task().make_reward({});
    states() = visited(sound(), *reward(), task());
    for (const State& state : states()) of_sound().push_back(say(sound(), state));
  }
  static void TearDownTestSuite() {
    of_sound().clear();
    reward().reset();
    folder_.reset();
  }
  static Folder& folder() {
    if (!folder_) folder_ = std::make_unique<Folder>();
    return *folder_;
  }
  static const Task& task() { return find_task("lq"); }
  static Bundle& sound() {
    static Bundle bundle;
    return bundle;
  }
  static std::unique_ptr<RewardModel>& reward() {
    static std::unique_ptr<RewardModel> model;
    return model;
  }
  static std::vector<State>& states() {
    static std::vector<State> list;
    return list;
  }

  /// What is said of the sound controller at states().
  static std::vector<Said>& of_sound() {
    static std::vector<Said> list;
    return list;
  }

  /// Of the first plan from the state, as softmpc explain makes it.
  static Said say(const Bundle& bundle, const State& state) {
    const Engine engine(bundle, reward().get(), {});
    const Planner& planner = *engine.planner;
    std::vector<float> plan(planner.plan_size());
    planner.draw({1, 0}, kEpisodePlan, plan);
    planner.shift(plan);
    Said said;
    said.e = explain(engine.config, planner.shape(), engine.models,
                     {.key = {1, 0},
                      .problem_id = 0,
                      .observation = state,
                      .plan = plan,
                      .done = {},
                      .low = {},
                      .high = {},
                      .parameters = {}});
    const DiagnosisInput input{state, engine.state_low, engine.state_high};
    said.all = judge(engine.config, planner.shape(), engine.models, said.e, input);
    said.wrong = diagnose(engine.config, planner.shape(), engine.models, said.e, input);
    return said;
  }
  /// Plants a fault, expects it to be named first at nine of ten states, and has `check` look at
  /// the number, beside the sound controller's at the same state.
  void expect_first(const char* name, const Change& plant,
                    const std::function<void(const Said&, const Said&)>& check) {
    SCOPED_TRACE(name);
    Bundle faulty = sound();
    plant(faulty);
    std::size_t first = 0;
    for (std::size_t i = 0; i < states().size(); ++i) {
      const Said said = say(faulty, states()[i]);
      if (said.first() != name) continue;
      ++first;
      check(said, of_sound()[i]);
      EXPECT_NE(said.wrong.front().text, "");
    }
    std::printf("%-18s named first at %zu of %zu states\n", name, first, states().size());
    EXPECT_GE(static_cast<double>(first), 0.9 * static_cast<double>(states().size()));
  }

 private:
  static inline std::unique_ptr<Folder> folder_;
};

double deviation(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / n);
}

void scale(std::span<float> values, float by) {
  for (float& v : values) v *= by;
}

void scale_variance(Bundle& b, double by) {
  for (double& v : b.planner.variance) v *= by;
}

/// The bounds of training are -10..10, where a hundred times the variance fits.
void narrow(Bundle& b) {
  b.action_low = {-1};
  b.action_high = {1};
}

/// Q becomes this many times as large.
void scale_critic(Bundle& b, float by) {
  const int last = b.critics.layers() - 1;
  scale(b.critics.weight(last), by);
  scale(b.critics.bias(last), by);
  scale(b.critics.normalisation.output_mean, by);
  scale(b.critics.normalisation.output_std, by);
}

TEST_F(Findings, ASoundControllerIsToldNothing) {
  Bundle narrowed = sound();
  narrow(narrowed);
  for (const Bundle& bundle : {sound(), narrowed}) {
    const auto clean = std::ranges::count_if(
        states(), [&](const State& x) { return say(bundle, x).wrong.empty(); });
    std::printf("nothing to complain about at %td of %zu states\n", clean, states().size());
    EXPECT_GE(static_cast<double>(clean), 0.9 * static_cast<double>(states().size()));
  }
}

TEST_F(Findings, Temperature) {
  // the rollouts stay what they are, so that the numbers follow lambda alone
  const auto by = [](const char* name, double factor) {
    return [=](const Said& said, const Said& good) {
      EXPECT_NEAR(said.rule(name).value, factor * good.rule(name).value,
                  1e-6 * std::abs(said.rule(name).value));
    };
  };
  expect_first(
      "temperature_small", [](Bundle& b) { b.planner.temperature *= 0.01; },
      by("temperature_small", 100));
  expect_first(
      "temperature_large", [](Bundle& b) { b.planner.temperature *= 100; },
      by("temperature_large", 0.01));
}

void narrow_and_wide(Bundle& b) {
  narrow(b);
  scale_variance(b, 100);
}

TEST_F(Findings, Variance) {
  expect_first("actions_clipped", narrow_and_wide, [](const Said& said, const Said&) {
    // deviation 3.16: of entries about any plan inside of -1..1 this share or more
    EXPECT_GE(said.rule("actions_clipped").value, 0.7);
    EXPECT_LE(said.rule("actions_clipped").value, 1.0);
  });
  expect_first(
      "rollouts_invalid",
      [](Bundle& b) {
        narrow(b);
        b.planner.prior = Prior::uniform;
        scale_variance(b, 10);
      },
      [](const Said& said, const Said&) {
        EXPECT_EQ(said.rule("rollouts_invalid").value, said.e.valid_share);
        EXPECT_LT(said.e.valid_share, 0.1);
      });
}

TEST_F(Findings, Horizon) {
  expect_first(
      "horizon_short", [](Bundle& b) { b.planner.horizon = 1; },
      [](const Said& said, const Said&) {
        EXPECT_EQ(said.rule("horizon_short").value, 0);
        EXPECT_NE(said.wrong.front().text.find("planner.horizon is 1"), std::string::npos);
      });
}

TEST_F(Findings, TerminalValue) {
  expect_first(
      "terminal_silent", [](Bundle& b) { scale_critic(b, 0); },
      [](const Said& said, const Said& good) {
        EXPECT_EQ(said.rule("terminal_silent").value, 0);
        EXPECT_GT(good.rule("terminal_silent").value, 0.05);
      });
  expect_first(
      "terminal_alone", [](Bundle& b) { scale_critic(b, 1000); },
      [](const Said& said, const Said&) {
        std::vector<double> gain, rewards;
        for (const ExplainedRollout& r : said.e.rollouts) {
          gain.push_back(r.gain);
          double sum = 0, discount = 1;
          for (const float reward : r.reward) sum += discount * reward, discount *= 0.99;
          rewards.push_back(sum);
        }
        const double ratio = deviation(gain) / deviation(rewards);
        EXPECT_NEAR(said.rule("terminal_alone").value, ratio, 1e-4 * ratio);
      });
}

TEST_F(Findings, Members) {
  expect_first(
      "member_off",
      [](Bundle& b) {
        const std::span<float> weights = b.members.weight(b.members.layers() - 1);
        const std::size_t each = weights.size() / b.members.stack;
        scale(weights.subspan(each, each), -3);
      },
      [](const Said& said, const Said& good) {
        EXPECT_NE(said.wrong.front().text.find("member 1 is far"), std::string::npos);
        EXPECT_GT(said.rule("members_disagree").value, 3 * good.rule("members_disagree").value);
      });
  expect_first(
      "members_disagree",
      [](Bundle& b) {  // two that go the other way
        const std::span<float> weights = b.members.weight(b.members.layers() - 1);
        scale(weights.first(weights.size() / 2), -3);
      },
      [](const Said& said, const Said&) { EXPECT_GT(said.rule("members_disagree").value, 1); });
}

TEST_F(Findings, State) {
  const Bundle& b = sound();
  const float width = b.state_high[1] - b.state_low[1];
  for (State state : states()) {
    state[1] = b.state_high[1] + 1.5F * width;
    const Said said = say(b, state);
    ASSERT_EQ(said.first(), "state_outside");
    EXPECT_NEAR(said.wrong.front().value, 1.5, 1e-5);
    EXPECT_NE(said.wrong.front().text.find("entry 1 is"), std::string::npos);
    state[1] = b.state_low[1] - 0.2F * width;
    EXPECT_FALSE(say(b, state).rule("state_outside").wrong);
  }
}

TEST_F(Findings, NotFinite) {
  const auto all = [](const char* what) {
    return [=](const Said& said, const Said&) {
      EXPECT_EQ(said.wrong.front().value, 1);
      EXPECT_NE(said.wrong.front().text.find(what), std::string::npos) << said.wrong.front().text;
    };
  };
  // weights that the reader takes, and sums that overflow
  expect_first(
      "not_finite", [](Bundle& b) { std::ranges::fill(b.critics.weight(1), 1e38F); },
      all("critic"));
  expect_first(
      "not_finite", [](Bundle& b) { std::ranges::fill(b.members.weight(1), 1e38F); },
      all("predicted state"));
  const Said said = say(sound(), {0, std::nanf("")});
  ASSERT_EQ(said.first(), "not_finite");
  EXPECT_NE(said.wrong.front().text.find("the state holds"), std::string::npos);
}

TEST_F(Findings, TheProgramSaysThemFirst) {
  const std::string path = folder().file("faulty.safetensors");
  const auto explained = [&](const Change& plant, const std::vector<std::string>& more) {
    Bundle bundle = sound();
    plant(bundle);
    save_bundle(bundle, path);
    std::vector<std::string> words = {"explain", path, "--state", "-"};
    words.insert(words.end(), more.begin(), more.end());
    ProgramOptions options;
    options.input = "0.5 0.1";
    const Result result = run(words, options);
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  };
  const Change none = [](Bundle&) {}, wide = narrow_and_wide;
  EXPECT_EQ(lines_of(explained(none, {})).front(), "nothing to complain about");
  EXPECT_EQ(Json::parse(explained(none, {"--json"})).at("findings"), Json::array());
  const std::string words = explained(wide, {});
  EXPECT_TRUE(words.starts_with("1. most actions are clipped: ")) << words;
  for (const std::string& line : lines_of(words)) {
    if (!line.starts_with("bundle")) {
      EXPECT_LE(line.size(), 100U) << line;
    }
  }
  const Json finding = Json::parse(explained(wide, {"--json"})).at("findings").at(0);
  EXPECT_EQ(finding.at("name"), "actions_clipped");
  EXPECT_EQ(finding.at("setting"), "planner.variance");
  EXPECT_EQ(finding.at("threshold"), 0.6);
  EXPECT_GT(finding.at("value"), 0.6);
  EXPECT_TRUE(finding.at("text").get<std::string>().starts_with("most actions are clipped"));
  const std::string few = explained([](Bundle& b) { b.planner.rollouts = 4; }, {});
  EXPECT_TRUE(few.starts_with("nothing to complain about, but 4 rollouts are too few")) << few;
}

}  // namespace
}  // namespace softmpc::test
