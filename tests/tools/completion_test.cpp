// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc completion and softmpc man: what shells complete, and that shells and man take
// what the program prints.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "program.h"

namespace softmpc::test {
namespace {

using Words = std::vector<std::string>;

std::string printed(const Words& arguments) {
  const Result result = run(arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return result.out;
}

bool installed(const std::string& program) {
  return std::system(("command -v " + program + " > /dev/null 2>&1").c_str()) == 0;
}

/// Exit code of a shell's command; what it says goes to `out`.
int shell(const std::string& command, const std::string& out) {
  return std::system((command + " > '" + out + "' 2>&1").c_str());
}

class Completion : public testing::Test {
 protected:
  void SetUp() override { write_file(script_, printed({"completion", "bash"})); }

  /// What bash offers for the last of these words.
  Words offered(const Words& words) {
    std::string line = "source '" + script_ + "'\nCOMP_WORDS=(";
    for (const std::string& word : words) line += " '" + word + "'";
    line += ")\nCOMP_CWORD=" + std::to_string(words.size() - 1) +
            "\n_softmpc\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    write_file(folder_.file("ask.sh"), line);
    const std::string out = folder_.file("out");
    EXPECT_EQ(shell("cd '" + folder_.path() + "' && bash --norc ask.sh", out), 0);
    Words result = lines_of(read_file(out));
    std::erase(result, "");
    return result;
  }
  /// Keys of train --help-settings with a = behind.
  static Words settings(const std::string& section) {
    Words keys;
    const auto list = nlohmann::json::parse(printed({"train", "--help-settings", "--json"}));
    for (const auto& setting : list.at("settings")) {
      const auto key = setting.at("key").get<std::string>();
      if (key.starts_with(section)) keys.push_back(key + "=");
    }
    return keys;
  }

  Folder folder_;
  std::string script_ = folder_.file("softmpc.bash");
};

TEST_F(Completion, Subcommands) {
  EXPECT_EQ(offered({"softmpc", "tr"}), Words{"train"});
  const Words all = offered({"softmpc", ""});
  for (const char* name : {"tasks", "train", "eval", "explain", "bench", "completion", "man"})
    EXPECT_EQ(std::ranges::count(all, name), 1) << name;
  EXPECT_EQ(offered({"softmpc", "bench", ""}),
            (Words{"plan", "scaling", "train", "update", "diff-drive", "loop", "soak"}));
  EXPECT_EQ(offered({"softmpc", "man", "ex"}), Words{"explain"});
  EXPECT_EQ(offered({"softmpc", "completion", ""}), (Words{"bash", "zsh", "fish"}));
}

TEST_F(Completion, Options) {
  EXPECT_EQ(offered({"softmpc", "train", "--see"}), (Words{"--seed", "--seeds"}));
  EXPECT_EQ(offered({"softmpc", "bench", "plan", "--ro"}), Words{"--rollouts"});
  EXPECT_EQ(offered({"softmpc", "--ver"}), Words{"--version"});
  EXPECT_EQ(offered({"softmpc", "tasks", "--see"}), Words{});
}

TEST_F(Completion, TasksAndPresets) {
  Words tasks;
  const auto list = nlohmann::json::parse(printed({"tasks", "--json"})).at("tasks");
  for (const auto& task : list) tasks.push_back(task.at("name"));
  EXPECT_GT(tasks.size(), 10U);
  EXPECT_EQ(offered({"softmpc", "train", ""}), tasks);
  EXPECT_EQ(offered({"softmpc", "bench", "train", "Hop"}), Words{"Hopper"});
  EXPECT_EQ(offered({"softmpc", "bench", "update", "--task", "Hop"}), Words{"Hopper"});
  EXPECT_EQ(offered({"softmpc", "train", "Hopper", "--preset", ""}),
            (Words{"default", "paper-gaussian", "paper-uniform"}));
  EXPECT_EQ(offered({"softmpc", "eval", "run", "--device", "c"}), (Words{"cpu", "cuda"}));
  EXPECT_EQ(offered({"softmpc", "train", "--seed", ""}), Words{});
}

TEST_F(Completion, Settings) {
  const Words keys = settings("planner.");
  EXPECT_GT(keys.size(), 10U);
  EXPECT_EQ(offered({"softmpc", "train", "lq", "--set", "planner."}), keys);
  EXPECT_EQ(offered({"softmpc", "bench", "train", "--set", "planner.ro"}),
            Words{"planner.rollouts="});
}

TEST_F(Completion, Files) {
  write_file(folder_.file("my state.txt"), "");
  EXPECT_EQ(offered({"softmpc", "plan", "run", "--state", "my"}), Words{"my state.txt"});
  EXPECT_EQ(offered({"softmpc", "eval", "my"}), Words{"my state.txt"});
  EXPECT_EQ(offered({"softmpc", "verify", "my"}), Words{"my state.txt"});
}

TEST_F(Completion, EveryShellTakesItsScript) {
  EXPECT_EQ(shell("bash -n '" + script_ + "'", folder_.file("said")), 0);
  EXPECT_EQ(read_file(folder_.file("said")), "");
  int missing = 0;
  for (const std::string name : {"zsh", "fish"}) {
    if (!installed(name)) {
      std::printf("%s is not installed here: its script is not looked at\n", name.c_str());
      ++missing;
      continue;
    }
    const std::string file = folder_.file("softmpc." + name);
    write_file(file, printed({"completion", name}));
    EXPECT_EQ(shell(name + " -n '" + file + "'", folder_.file("said")), 0) << name;
    EXPECT_EQ(read_file(folder_.file("said")), "") << name;
  }
  if (missing == 2) GTEST_SKIP() << "neither zsh nor fish is installed";
}

TEST_F(Completion, FishOffersTheSame) {
  if (!installed("fish")) GTEST_SKIP() << "fish is not installed";
  const std::string file = folder_.file("softmpc.fish"), out = folder_.file("out");
  write_file(file, printed({"completion", "fish"}));
  const auto first_words = [&](const std::string& line) {
    EXPECT_EQ(shell("HOME='" + folder_.path() + "' fish -N -c 'source " + file +
                        "; complete -C \"" + line + "\"'",
                    out),
              0);
    Words words;
    for (const std::string& entry : lines_of(read_file(out)))
      words.push_back(entry.substr(0, entry.find('\t')));
    return words;
  };
  EXPECT_EQ(first_words("softmpc tr"), Words{"train"});
  EXPECT_EQ(first_words("softmpc train Hop"), Words{"Hopper"});
  EXPECT_EQ(first_words("softmpc bench so"), Words{"soak"});
  EXPECT_EQ(first_words("softmpc train --set planner.roll"), Words{"planner.rollouts="});
}

TEST_F(Completion, WrongRequestsAreNamed) {
  expect_error(run({"completion", "csh"}), 2, {"csh", "bash, zsh, fish"});
  expect_error(run({"completion"}), 2, {"SHELL"});
  EXPECT_NE(printed({"completion", "--help"}).find("bash-completion/completions"),
            std::string::npos);
  expect_error(run({"man", "trian"}), 2, {"trian", "nearest is 'train'"});
  expect_error(run({"man", "train", "more"}), 2, {"softmpc train", "no subcommands"});
  expect_error(run({"man", "--out", "/dev/null/x"}), 1, {"/dev/null/x"});
  expect_error(run({"man", "train", "--out", folder_.path()}), 2, {"--out"});
}

TEST_F(Completion, ManPagesHoldEveryOption) {
  const std::string man = folder_.file("man1");
  EXPECT_EQ(printed({"man", "--out", man}), "");
  std::size_t pages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(man)) {
    ++pages;
    if (!installed("groff")) continue;
    const std::string said = folder_.file("said");
    EXPECT_EQ(shell("groff -man -ww -z '" + entry.path().string() + "'", said), 0);
    EXPECT_EQ(read_file(said), "") << entry.path();
  }
  EXPECT_EQ(pages, 1 + offered({"softmpc", ""}).size() + offered({"softmpc", "bench", ""}).size());
  const std::string page = read_file(man + "/softmpc-train.1");
  EXPECT_EQ(page, printed({"man", "train"}));
  for (std::string option : offered({"softmpc", "train", "--"})) {
    for (std::size_t at = 0; (at = option.find('-', at)) != std::string::npos; at += 2)
      option.replace(at, 1, "\\-");
    EXPECT_NE(page.find("\\fB" + option + "\\fR"), std::string::npos) << option;
  }
  EXPECT_NE(page.find("[\\fITASK\\fR]"), std::string::npos);
  if (!installed("groff")) GTEST_SKIP() << "groff is not installed: pages were not formatted";
}

}  // namespace
}  // namespace softmpc::test
