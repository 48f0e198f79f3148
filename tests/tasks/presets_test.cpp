// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/presets.cpp: what the presets say.
#include "golden.h"
#include "softmpc/config.h"
#include "softmpc/task.h"

namespace softmpc::tasks {
namespace {

nlohmann::json settings(const std::string& preset, const std::string& task = "Hopper") {
  return nlohmann::json::parse(preset_text(preset, task));
}

TEST(Presets, HoldThePublishedValues) {
  const nlohmann::json gaussian = settings("paper-gaussian"), uniform = settings("paper-uniform");
  EXPECT_EQ(gaussian["planner"]["rollouts"], 200);
  EXPECT_EQ(gaussian["targets"]["rollouts"], 20);
  EXPECT_EQ(gaussian["planner"]["variance"], nlohmann::json::array({0.1}));
  EXPECT_EQ(gaussian["planner"]["temperature"], 0.1);
  EXPECT_EQ(gaussian["planner"]["prior"], "gaussian");
  EXPECT_EQ(uniform["planner"]["rollouts"], 600);
  EXPECT_EQ(uniform["targets"]["rollouts"], 60);
  EXPECT_EQ(uniform["planner"]["variance"], nlohmann::json::array({0.05}));
  EXPECT_EQ(uniform["planner"]["temperature"], 0.15);
  EXPECT_EQ(uniform["planner"]["prior"], "uniform");
  for (const nlohmann::json& both : {gaussian, uniform}) {
    EXPECT_EQ(both["planner"]["horizon"], 4);
    EXPECT_EQ(both["planner"]["gamma"], 0.99);
    EXPECT_EQ(both["planner"]["iterations"], 1);
    EXPECT_EQ(both["planner"]["member_draw"], "per_step");
    EXPECT_EQ(both["planner"]["handle_terminations"], false);
    EXPECT_EQ(both["targets"]["warm_start"], true);
    EXPECT_EQ(both["model"]["members"], both["planner"]["horizon"]);
    for (const char* net : {"model", "critic"}) {
      EXPECT_EQ(both[net]["width"], 256);
      EXPECT_EQ(both[net]["layers"], 2);
      EXPECT_EQ(both[net]["learning_rate"], 3e-4);
      EXPECT_EQ(both[net]["batch_size"], 32);
    }
    EXPECT_EQ(both["critic"]["tau"], 0.005);
    EXPECT_EQ(both["critic"]["target_interval"], 2);
    EXPECT_EQ(both["environment"]["positions"], true);
  }
}

TEST(Presets, ExistForEveryTask) {
  EXPECT_EQ(preset_names(),
            (std::vector<std::string>{"default", "paper-gaussian", "paper-uniform"}));
  for (const std::string& preset : preset_names()) {
    for (const std::string& task : task_names()) {
      EXPECT_TRUE(settings(preset, task).is_object()) << preset << " " << task;
    }
  }
}

TEST(Presets, AreSettingsThatTheLibraryKnows) {
  for (const std::string& preset : preset_names()) {
    for (const std::string& task : task_names()) {
      Config config;
      apply_settings(config, preset_text(preset, task), preset);
      validate(config);
      if (preset.starts_with("paper"))  // a member for each step
        EXPECT_EQ(config.model.members, config.planner.horizon);
    }
  }
}

// handle_terminations is refused where nothing terminates, and needed where something does.
TEST(Presets, DefaultFitsWhatTheTaskHas) {
  for (const std::string& name : task_names()) {
    Config config;
    apply_settings(config, preset_text("default", name), "default");
    const TaskSpec spec =
        find_task(name).spec({config.environment.positions, config.environment.time_limit});
    EXPECT_EQ(config.planner.handle_terminations, spec.has_termination) << name;
  }
}

TEST(Presets, DefaultFitsModelsHarderThanThePaper) {
  const nlohmann::json ours = settings("default"), paper = settings("paper-gaussian");
  for (const char* key : {"updates_per_step", "batch_size", "learning_rate"})
    EXPECT_GT(ours["model"][key].get<double>(), paper["model"][key].get<double>()) << key;
  EXPECT_EQ(ours["model"]["normalisation"], "running");
}

TEST(Presets, NameTheNearest) {
  EXPECT_EQ(message_of([] { preset_text("paper-gausian", "Hopper"); }),
            "unknown preset 'paper-gausian', nearest is 'paper-gaussian'");
  EXPECT_NE(message_of([] { preset_text("default", "Hoper"); }).find("unknown task 'Hoper'"),
            std::string::npos);
}

}  // namespace
}  // namespace softmpc::tasks
