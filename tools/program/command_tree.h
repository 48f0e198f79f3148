// SPDX-License-Identifier: Apache-2.0
// The subcommands and options of the program as data, for completion scripts and man pages.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace softmpc::tools {

/// What can stand where a value is wanted.
enum class Values {
  none,
  unknown,
  files,
  tasks,
  presets,
  settings,
  devices,
  precisions,
  paths,
  shells,
  commands
};

struct TreeOption {
  std::vector<std::string> names;  // "-h", "--help"; of a positional its one name, "TASK"
  std::string type;                // "FILE"; empty: a flag, or a positional
  std::string help;
  bool required = false, repeated = false;
  Values values = Values::none;
};

struct TreeCommand {
  std::string path;  // "softmpc bench plan"
  std::string summary, footer;
  std::vector<TreeOption> options, positionals;
  std::vector<TreeCommand> below;

  std::string name() const { return path.substr(path.rfind(' ') + 1); }
};

/// Of a program whose subcommands have all been added.
TreeCommand command_tree(const CLI::App& program);
/// The command and all below it, parents first.
std::vector<const TreeCommand*> flat(const TreeCommand& root);
/// Words that `values` stands for, settings with a = behind; none for files and unknown.
std::vector<std::string> words_for(Values values, const TreeCommand& root);

}  // namespace softmpc::tools
