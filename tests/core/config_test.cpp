// SPDX-License-Identifier: Apache-2.0
// Tests for src/config.cpp and its list, src/config_fields.h.
#include "softmpc/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc {
namespace {

using test::error_of;

std::string set_error(const std::string& assignment) {
  Config config;
  const std::string text = error_of<UsageError>([&] { apply_setting(config, assignment); });
  EXPECT_EQ(config, Config{}) << assignment;
  return text;
}

std::string apply_error(const std::string& json) {
  Config config;
  const std::string text = error_of<UsageError>([&] { apply_settings(config, json, "x.json"); });
  EXPECT_EQ(config, Config{}) << json;
  return text;
}

/// Another valid JSON value for a setting, by what the list says of it.
nlohmann::json another_value(const SettingInfo& info) {
  const nlohmann::json value = nlohmann::json::parse(info.value);
  if (info.type == "true or false") return !value.get<bool>();
  if (info.type.rfind("one of ", 0) == 0) {
    const std::string names = info.rule;
    const std::size_t at = names.rfind(", ");
    const std::string last = names.substr(at + 2), first = names.substr(0, names.find(','));
    return value == last ? first : last;
  }
  if (info.type == "integer") return value.get<std::int64_t>() + 1;
  if (info.type == "list of rows of numbers") return nlohmann::json::parse("[[0.5]]");
  if (value.is_array()) return nlohmann::json::array({0.5, 0.25});
  return value == 0.0 ? 0.5 : value.get<double>() / 2;  // 0: taken from elsewhere
}

TEST(Config, DefaultsAreValidAndRoundTrip) {
  Config config;
  EXPECT_NO_THROW(validate(config));
  Config read;
  read.planner.rollouts = 7;
  apply_settings(read, to_json(config), "");
  EXPECT_EQ(read, config);
}

TEST(Config, EverySettingIsReadWrittenAndCompared) {
  for (const SettingInfo& info : setting_list()) {
    Config config;
    apply_settings(config, nlohmann::json{{info.key, another_value(info)}}.dump(), "");
    EXPECT_FALSE(config == Config{}) << info.key;
    Config read;
    apply_settings(read, to_json(config), "");
    EXPECT_EQ(read, config) << info.key;
  }
}

// A field that the list forgets would be lost on a round trip: compare the sizes of what JSON holds
// with the number of fields that the structs have.
TEST(Config, TheListHasEveryField) {
  std::map<std::string, int> count;
  std::set<std::string> keys;
  for (const SettingInfo& info : setting_list()) {
    ++count[info.key.substr(0, info.key.find('.'))];
    EXPECT_TRUE(keys.insert(info.key).second) << info.key;
    EXPECT_FALSE(info.help.empty() || info.rule.empty() || info.type.empty()) << info.key;
  }
  [[maybe_unused]] const auto [p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15,
                               p16] = PlannerConfig{};
  [[maybe_unused]] const auto [t1, t2, t3, t4, t5, t6, t7] = TargetsConfig{};
  [[maybe_unused]] const auto [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13] =
      ModelConfig{};
  [[maybe_unused]] const auto [c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13] =
      CriticConfig{};
  [[maybe_unused]] const auto [q1, q2, q3, q4, q5, q6, q7] = PolicyConfig{};
  [[maybe_unused]] const auto [r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15,
                               r16, r17, r18] = TrainerConfig{};
  [[maybe_unused]] const auto [e1, e2, e3, e4] = EnvironmentConfig{};
  const std::map<std::string, int> fields = {{"planner", 16},   {"targets", 7}, {"model", 13},
                                             {"critic", 13},    {"policy", 7},  {"trainer", 18},
                                             {"environment", 4}};
  EXPECT_EQ(count, fields);  // the bindings above do not compile with another number
}

TEST(Config, ReadsNestedAndDottedKeys) {
  Config config;
  apply_settings(config, R"({"planner": {"rollouts": 300}, "planner.horizon": 8,
                             "trainer.device": "auto"})",
                 "");
  EXPECT_EQ(config.planner.rollouts, 300);
  EXPECT_EQ(config.planner.horizon, 8);
  EXPECT_EQ(config.trainer.device, Device::automatic);
}

TEST(Config, EveryNameOfAChoiceIsKnown) {
  Config c;
  for (const char* text :
       {"planner.prior=uniform", "planner.control_mode=policy_residual",
        "planner.member_draw=per_rollout_step", "planner.precision=auto", "targets.source=policy",
        "model.source=environment", "model.loss=gaussian_nll", "model.reward=never",
        "model.termination=always", "model.normalisation=running", "critic.loss=huber",
        "trainer.pattern=episodic", "trainer.acting=policy", "trainer.device=cuda",
        "planner.proposals=plan_and_policy", "policy.objective=rollout"}) {
    EXPECT_NO_THROW(apply_setting(c, text)) << text;
  }
  EXPECT_EQ(c.planner.prior, Prior::uniform);
  EXPECT_EQ(c.planner.control_mode, ControlMode::policy_residual);
  EXPECT_EQ(c.planner.member_draw, MemberDraw::per_rollout_step);
  EXPECT_EQ(c.targets.source, TargetSource::policy);
  EXPECT_EQ(c.model.source, ModelSource::environment);
  EXPECT_EQ(c.model.loss, Loss::gaussian_nll);
  EXPECT_EQ(c.model.reward, Learned::never);
  EXPECT_EQ(c.model.termination, Learned::always);
  EXPECT_EQ(c.critic.loss, Loss::huber);
  EXPECT_EQ(c.trainer.pattern, Pattern::episodic);
  EXPECT_EQ(c.trainer.acting, Acting::policy);
  EXPECT_EQ(c.planner.proposals, Proposals::plan_and_policy);
  EXPECT_EQ(c.policy.objective, PolicyObjective::rollout);
  for (const char* text :
       {"planner.control_mode=default", "planner.control_mode=\"mean_residual\"",
        "planner.member_draw=per_rollout", "trainer.pattern=model_per_episode"}) {
    EXPECT_NO_THROW(apply_setting(c, text)) << text;
  }
  EXPECT_EQ(c.planner.control_mode, ControlMode::mean_residual);
  EXPECT_EQ(c.planner.precision, Precision::automatic);
  EXPECT_NE(to_json(c).find("\"precision\": \"auto\""), std::string::npos);
}

TEST(Config, TheNeutralActionMayBeAnEmptyList) {
  Config config;
  EXPECT_TRUE(config.planner.neutral.empty());
  apply_setting(config, "planner.neutral=[0, -1.5]");
  EXPECT_EQ(config.planner.neutral, (std::vector<double>{0, -1.5}));
  Config read;
  apply_settings(read, to_json(config), "");
  EXPECT_EQ(read, config);
  apply_setting(config, "planner.neutral=[]");
  apply_settings(read, to_json(config), "");
  EXPECT_EQ(read, Config{});
  EXPECT_NO_THROW(validate(read));
  EXPECT_EQ(set_error("planner.neutral=1e10"),
            "planner.neutral: 10000000000.0 is out of range -1e+09..1e+09");
}

TEST(Config, VarianceIsANumberOrAList) {
  Config config;
  apply_setting(config, "planner.variance=0.25");
  EXPECT_EQ(config.planner.variance, std::vector<double>{0.25});
  apply_setting(config, "planner.variance=[0.1, 0.2]");
  EXPECT_EQ(config.planner.variance, (std::vector<double>{0.1, 0.2}));
  Config read;
  apply_settings(read, to_json(config), "");
  EXPECT_EQ(read, config);
  EXPECT_EQ(set_error("planner.variance=[]"),
            "planner.variance: a list of 0 numbers, and not of 1..1024");
  EXPECT_EQ(set_error("planner.variance=[0.1, 0]"),
            "planner.variance: 0 is out of range 1e-09..1e+09");
  EXPECT_EQ(set_error("planner.variance=[0.1, \"a\"]"),
            "planner.variance: [0.1,\"a\"] is not of type number or list of numbers "
            "(1e-09..1e+09 each)");
  EXPECT_NE(set_error("planner.variance=true"), "(no exception)");
}

TEST(Config, CovarianceIsASquareOfRows) {
  Config config;
  EXPECT_TRUE(config.planner.covariance.empty());
  apply_setting(config, "planner.covariance=[[0.1, -0.05], [-0.05, 0.2]]");
  EXPECT_EQ(config.planner.covariance,
            (std::vector<std::vector<double>>{{0.1, -0.05}, {-0.05, 0.2}}));
  Config read;
  apply_settings(read, to_json(config), "");
  EXPECT_EQ(read, config);
  EXPECT_NO_THROW(validate(read));
  apply_setting(config, "planner.covariance=[]");
  EXPECT_EQ(config, Config{});
  for (const char* wrong : {"0.1", "[0.1]", "[[1, 0], 0]", "true", "x"})
    EXPECT_NE(
        set_error(std::string("planner.covariance=") + wrong).find("not of type list of rows"),
        std::string::npos)
        << wrong;
  EXPECT_EQ(set_error("planner.covariance=[[\"a\"]]"),
            "planner.covariance: [\"a\"] is not of type number or list of numbers "
            "(-1e+09..1e+09 each)");
  EXPECT_EQ(
      set_error("planner.covariance=[[1, 0], [1]]"),
      "planner.covariance: row 1 of 2 has 1 numbers; a square of at most 1024 rows is needed");
  EXPECT_EQ(set_error("planner.covariance=[[1e10]]"),
            "planner.covariance: 10000000000.0 is out of range -1e+09..1e+09");
  Config c;
  c.planner.covariance = {{NAN}};
  EXPECT_EQ(error_of<UsageError>([&] { validate(c); }),
            "planner.covariance: nan is out of range -1e+09..1e+09 each");
}

TEST(Config, KeepsAllBitsOfNumbers) {
  Config config;
  apply_setting(config, "trainer.seed=18446744073709551615");
  apply_setting(config, "planner.temperature=0.1000000000000000055");
  EXPECT_EQ(config.trainer.seed, std::numeric_limits<std::uint64_t>::max());
  config.planner.gamma = 0.1 + 0.2;
  Config read;
  apply_settings(read, to_json(config), "");
  EXPECT_EQ(read, config);
  EXPECT_EQ(set_error("trainer.seed=18446744073709551616"),
            "trainer.seed: 1.8446744073709552e+19 is out of range 0..18446744073709551615");
}

TEST(Config, WholeNumbersMayBeWrittenAsFloats) {
  Config config;
  apply_setting(config, "trainer.steps=1e6");
  EXPECT_EQ(config.trainer.steps, 1000000);
  EXPECT_EQ(set_error("trainer.steps=1.5"),
            "trainer.steps: 1.5 is not of type integer (1..1000000000000)");
}

TEST(Config, OutOfRangeNamesKeyValueAndRange) {
  EXPECT_EQ(set_error("planner.rollouts=0"), "planner.rollouts: 0 is out of range 1..1048576");
  EXPECT_EQ(set_error("planner.rollouts=-3"), "planner.rollouts: -3 is out of range 1..1048576");
  EXPECT_EQ(set_error("planner.rollouts=99999999999"),
            "planner.rollouts: 99999999999 is out of range 1..1048576");
  EXPECT_EQ(set_error("trainer.seed=-1"),
            "trainer.seed: -1 is out of range 0..18446744073709551615");
  EXPECT_EQ(set_error("planner.gamma=1.01"), "planner.gamma: 1.01 is out of range 0.001..1");
  EXPECT_EQ(set_error("planner.gamma=1e999"), "planner.gamma: 1e999 is too large for a number");
  EXPECT_EQ(apply_error(R"({"planner": {"rollouts": 0}})"),
            "planner.rollouts: 0 is out of range 1..1048576 (in x.json)");
}

TEST(Config, WrongTypeNamesKeyValueAndType) {
  EXPECT_EQ(set_error("planner.rollouts=many"),
            "planner.rollouts: \"many\" is not of type integer (1..1048576)");
  EXPECT_EQ(set_error("planner.rollouts=true"),
            "planner.rollouts: true is not of type integer (1..1048576)");
  EXPECT_EQ(set_error("planner.rollouts="),
            "planner.rollouts: \"\" is not of type integer (1..1048576)");
  EXPECT_EQ(set_error("planner.gamma=nan"),
            "planner.gamma: \"nan\" is not of type number (0.001..1)");
  EXPECT_EQ(set_error("planner.handle_terminations=1"),
            "planner.handle_terminations: 1 is not of type true or false (true, false)");
  EXPECT_EQ(set_error("planner.prior=3"), "planner.prior: 3 is not one of gaussian, uniform");
}

TEST(Config, UnknownNameOfAChoiceNamesTheNearest) {
  EXPECT_EQ(set_error("planner.prior=gausian"),
            "planner.prior: \"gausian\" is not one of gaussian, uniform; nearest is gaussian");
  EXPECT_EQ(set_error("critic.loss=gaussian_nll").substr(0, 54),
            "critic.loss: \"gaussian_nll\" is not one of mse, huber; ");
}

TEST(Config, UnknownKeysNameTheNearest) {
  EXPECT_EQ(set_error("planner.rolouts=3"),
            "unknown setting planner.rolouts; nearest is planner.rollouts");
  EXPECT_EQ(set_error("horizn=3"), "unknown setting horizn; nearest is planner.horizon");
  EXPECT_EQ(apply_error(R"({"planer": {"horizon": 3}})"),
            "unknown setting planer.horizon; nearest is planner.horizon (in x.json)");
  EXPECT_EQ(apply_error(R"({"planner": {"rollouts": {"x": 1}}})"),
            "planner.rollouts: {\"x\":1} is not of type integer (1..1048576) (in x.json)");
  EXPECT_EQ(apply_error(R"({"zzz": {}})").substr(0, 20), "unknown setting zzz;");
}

TEST(Config, RefusesWhatIsNotSettings) {
  EXPECT_EQ(apply_error("[1]"), "[1] is not an object of settings (in x.json)");
  EXPECT_EQ(apply_error(R"({"planner": 3})"),
            "planner: 3 is not an object of settings (in x.json)");
  EXPECT_EQ(apply_error(R"({"planner": {"horizon": 3}, "planner.horizon": 4})"),
            "planner.horizon: is given twice (in x.json)");
  const std::string unfinished = apply_error("{\"planner\": \n{");
  EXPECT_EQ(unfinished.rfind("x.json: not JSON: parse error at line 2", 0), 0u) << unfinished;
  EXPECT_EQ(apply_error("").rfind("x.json: not JSON: ", 0), 0u);
  EXPECT_EQ(apply_error(std::string("{}\0{}", 5)), "x.json: not JSON: it holds a zero byte");
  EXPECT_EQ(set_error("planner.horizon"), "'planner.horizon' is not of the form key.path=value");
  EXPECT_EQ(set_error("=3"), "'=3' is not of the form key.path=value");
}

TEST(Config, ErrorsAreOneLine) {
  for (const std::string& text :
       {set_error("planner.prior=a\nb"), set_error("a\nb=1"), apply_error("{\"a\\nb\": 1}"),
        set_error("planner.rollouts=" + std::string(5000, 'x')),
        set_error("planner.prior=\xff\xfe"), apply_error("{\"\xff\": 1}")}) {
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_LT(text.size(), 300u);
    EXPECT_NE(text.front(), '(') << text;
  }
}

TEST(Config, AFailedChangeChangesNothing) {
  apply_error(R"({"planner": {"rollouts": 5, "horizon": 0}})");  // compares with the default
}

}  // namespace
}  // namespace softmpc
