// SPDX-License-Identifier: Apache-2.0
// Tests of the command line: exit codes, one-line errors that name the nearest, help, --json.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>

#include "program.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;

struct BadLine {
  std::vector<std::string> arguments;
  int code;
  std::vector<std::string> parts;  ///< of the message
};

void PrintTo(const BadLine& line, std::ostream* stream) {
  *stream << "softmpc";
  for (const std::string& word : line.arguments) *stream << ' ' << word;
}

class BadCommandLine : public testing::TestWithParam<BadLine> {};

TEST_P(BadCommandLine, IsOneLineAndSaysWhatIsRight) {
  const Folder folder;
  std::vector<std::string> arguments = GetParam().arguments;
  if (!arguments.empty() && arguments[0] == "train") {
    arguments.insert(arguments.end(), {"--out", folder.file("run")});
  }
  const Result result = run(arguments);
  expect_error(result, GetParam().code, GetParam().parts);
  EXPECT_EQ(result.out, "");
  EXPECT_FALSE(std::filesystem::exists(folder.file("run"))) << "something was written";
}

const BadLine kBadLines[] = {
    {{}, 2, {"no subcommand", "train", "--help"}},
    {{"tran"}, 2, {"unknown subcommand 'tran'", "nearest is 'train'"}},
    {{"bnech"}, 2, {"unknown subcommand 'bnech'", "bench"}},
    {{"--verson"}, 2, {"unknown option '--verson'", "nearest is '--version'"}},
    {{"tasks", "extra"}, 2, {"unexpected argument 'extra'", "softmpc tasks --help"}},
    {{"train"}, 2, {"no TASK", "softmpc tasks"}},
    {{"train", "Hoper"}, 2, {"'Hoper'", "nearest is 'Hopper'"}},
    {{"train", "Hopper", "--preset", "paper-gausian"}, 2, {"'paper-gausian'", "'paper-gaussian'"}},
    {{"train", "Hopper", "--stpes", "5"}, 2, {"'--stpes'", "'--steps'"}},
    {{"train", "Hopper", "--steps", "many"}, 2, {"--steps", "'many'", "whole number"}},
    {{"train", "Hopper", "--steps", "0"}, 2, {"--steps", "'0'", "from 1"}},
    {{"train", "Hopper", "--seed", "-1"}, 2, {"--seed", "'-1'"}},
    {{"train", "Hopper", "--threads", "1.5"}, 2, {"--threads", "'1.5'"}},
    {{"train", "Hopper", "--seeds", "3"}, 2, {"--seeds", "'3'", "A..B"}},
    {{"train", "Hopper", "--seeds", "3..1"}, 2, {"--seeds", "'3..1'", "A <= B"}},
    {{"train", "Hopper", "--seeds", "1..2", "--seed", "1"}, 2, {"--seed and --seeds"}},
    {{"train", "Hopper", "--jobs", "2"}, 2, {"--jobs needs --seeds"}},
    {{"train", "Hopper", "--set", "planner.rollots=3"}, 2, {"planner.rollots", "planner.rollouts"}},
    {{"train", "Hopper", "--set", "planner.rollouts"}, 2, {"planner.rollouts"}},
    {{"train", "Hopper", "--set", "planner.rollouts=lots"}, 2, {"planner.rollouts", "lots"}},
    {{"train", "Hopper", "--set", "planner.rollouts=0"}, 2, {"planner.rollouts", "0", "1.."}},
    {{"train", "Hopper", "--set", "planner.gamma=2"}, 2, {"planner.gamma", "2", "..1"}},
    {{"train", "Hopper", "--set", "planner.prior=gausian"}, 2, {"planner.prior", "gaussian"}},
    {{"train", "Hopper", "--device", "gpu"}, 2, {"--device", "'gpu'", "cpu, cuda, auto"}},
    {{"eval"}, 2, {"RUN is required"}},
    {{"eval", "runs/none", "--episodes"}, 2, {"--episodes needs a value"}},
    {{"eval", "runs/none", "--episodes", "x"}, 2, {"--episodes", "'x'"}},
    {{"eval", "runs/none"}, 1, {"runs/none", "No such file"}},
    {{"plan", "runs/none", "--state", "-"}, 1, {"runs/none", "No such file"}},
    {{"plan", "runs/none"}, 2, {"--state is required"}},
    {{"verify"}, 2, {"FILE is required"}},
    {{"verify", "--device", "gpu", "a.json"}, 2, {"--device", "'gpu'", "cpu, cuda, auto"}},
    {{"verify", "--precision", "float16", "a.json"}, 2, {"float16", "not for the CPU"}},
    {{"verify", "--precision", "auto", "a.json"}, 2, {"auto", "not for verify"}},
    {{"verify", "--path", "tile", "a.json"}, 2, {"--path", "--device cuda"}},
    {{"bench", "plan", "--path", "tile"}, 2, {"--path", "--device cuda"}},
};

INSTANTIATE_TEST_SUITE_P(All, BadCommandLine, testing::ValuesIn(kBadLines));

/// A machine may have a device or not: where not, each command says so, and what needs none.
TEST(CommandLine, AMissingDeviceIsOneSentence) {
  if (run({"bench", "plan", "--device", "cuda", "--plans", "1"}).code == 0)
    GTEST_SKIP() << "there is a CUDA device here";
  const Folder folder;
  const std::vector<std::vector<std::string>> lines = {
      {"train", "Hopper", "--device", "cuda", "--out", folder.file("run")},
      {"eval", "runs/none", "--device", "cuda"},
      {"plan", "runs/none", "--state", "-", "--device", "cuda"},
      {"verify", "--device", "cuda", "a.json"},
      {"bench", "plan", "--device", "cuda"},
      {"bench", "scaling", "--device", "cuda"},
      {"bench", "diff-drive", "--device", "cuda"},
      {"bench", "train", "Hopper", "--device", "cuda"}};
  for (const auto& line : lines) {
    const Result result = run(line);
    expect_error(result, 1, {"--device cuda", "CUDA", "--device cpu and auto need none"});
    EXPECT_EQ(result.out, "");
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("run")));
}

TEST(CommandLine, HelpTeaches) {
  for (const char* command : {"tasks", "train", "eval", "plan", "verify"}) {
    const Result result = run({command, "--help"});
    EXPECT_EQ(result.code, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_NE(result.out.find(std::string("Usage: softmpc ") + command), std::string::npos);
  }
  const Result result = run({"--help"});
  EXPECT_EQ(result.code, 0);
  for (const char* part : {"Examples:", "Exit codes:", "verify", "softmpc SUBCOMMAND --help"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part;
  }
}

TEST(CommandLine, Version) {
  const Result result = run({"--version"});
  EXPECT_EQ(result.code, 0);
  EXPECT_TRUE(result.out.starts_with("softmpc ")) << result.out;
}

TEST(CommandLine, TasksAsJson) {
  const Result result = run({"tasks", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const Json tasks = Json::parse(result.out).at("tasks");
  EXPECT_EQ(tasks.size(), 13u);
  for (const Json& task : tasks) {
    const auto nu = task.at("nu").get<std::size_t>();
    EXPECT_GT(task.at("nx").get<int>(), 0) << task.at("name");
    EXPECT_EQ(task.at("action_low").size(), nu);
    EXPECT_EQ(task.at("action_high").size(), nu);
    EXPECT_EQ(task.at("presets").size(), 3u) << task.at("name");
    EXPECT_TRUE(task.contains("best_return") && task.contains("analytic_reward"));
  }
  const Result table = run({"tasks"});
  for (const Json& task : tasks) {
    EXPECT_NE(table.out.find(task.at("name").get<std::string>()), std::string::npos);
  }
}

TEST(CommandLine, SettingsAreListed) {
  const Result json = run({"train", "--help-settings", "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const Json settings = Json::parse(json.out).at("settings");
  EXPECT_GT(settings.size(), 30u);
  const Result table = run({"train", "--help-settings"});
  for (const Json& setting : settings) {
    EXPECT_NE(table.out.find(setting.at("key").get<std::string>()), std::string::npos);
  }
}

TEST(CommandLine, FullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  ProgramOptions options;
  options.output = "/dev/full";
  expect_error(run({"tasks"}, options), 1, {"standard output", "No space left"});
  expect_error(run({"--help"}, options), 1, {"standard output", "No space left"});
}

}  // namespace
}  // namespace softmpc::test
