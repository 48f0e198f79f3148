// SPDX-License-Identifier: Apache-2.0
#include "program/command_tree.h"

#include <algorithm>

#include "config_fields.h"
#include "softmpc/config.h"
#include "softmpc/task.h"

namespace softmpc::tools {
namespace {

struct Wanted {
  const char* word;  // an option's name, or the name of what stands there
  Values values;
};

// What is not here is a number or a word of the user's own.
constexpr Wanted kWanted[] = {
    {"--set", Values::settings},   {"--preset", Values::presets},
    {"--device", Values::devices}, {"--precision", Values::precisions},
    {"--path", Values::paths},     {"TASK", Values::tasks},
    {"SHELL", Values::shells},     {"SUBCOMMAND", Values::commands},
    {"RUN", Values::files},        {"BUNDLE", Values::files},
    {"B...", Values::files},       {"FILE", Values::files},
    {"FILE|-", Values::files},     {"DIR", Values::files},
    {"FILE[:MiB]", Values::files}, {"FILE.html", Values::files},
    {"FOLDER", Values::files},
};

Values wanted(const std::string& name, const std::string& type) {
  for (const Wanted& w : kWanted)
    if (name == w.word || type == w.word) return w.values;
  return Values::unknown;
}

template <class T, std::size_t n>
std::vector<std::string> names_of(const fields::Choice<T> (&choices)[n]) {
  std::vector<std::string> names;
  for (const auto& choice : choices) names.emplace_back(choice.name);
  return names;
}

TreeOption describe(const CLI::Option& option) {
  TreeOption result;
  for (const std::string& name : option.get_snames()) result.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) result.names.push_back("--" + name);
  const bool positional = result.names.empty();
  if (positional) result.names.push_back(option.get_name(true));
  const bool flag = option.get_items_expected_max() == 0;
  if (!flag && !positional) result.type = option.get_type_name();
  result.help = option.get_description();
  result.required = option.get_required();
  result.repeated = option.get_expected_max() > 1;
  if (!flag) result.values = wanted(result.names.back(), result.type);
  return result;
}

TreeCommand describe(const CLI::App& app, const std::string& path) {
  TreeCommand result{path, app.get_description(), app.get_footer(), {}, {}, {}};
  for (const CLI::Option* option : app.get_options({})) {
    const bool positional = option->get_lnames().empty() && option->get_snames().empty();
    (positional ? result.positionals : result.options).push_back(describe(*option));
  }
  for (const CLI::App* sub : app.get_subcommands({}))
    result.below.push_back(describe(*sub, path + " " + sub->get_name()));
  return result;
}

}  // namespace

TreeCommand command_tree(const CLI::App& program) { return describe(program, "softmpc"); }

std::vector<const TreeCommand*> flat(const TreeCommand& root) {
  std::vector<const TreeCommand*> result = {&root};
  for (const TreeCommand& command : root.below)
    std::ranges::copy(flat(command), std::back_inserter(result));
  return result;
}

std::vector<std::string> words_for(Values values, const TreeCommand& root) {
  std::vector<std::string> words;
  switch (values) {
    case Values::tasks:
      return task_names();
    case Values::presets:
      return preset_names();
    case Values::settings:
      for (const SettingInfo& setting : setting_list()) words.push_back(setting.key + "=");
      return words;
    case Values::devices:
      return names_of(fields::kDevice);
    case Values::precisions:
      return names_of(fields::kPrecision);
    case Values::paths:
      return {"auto", "tile", "cluster", "wgmma", "plain"};
    case Values::shells:
      return {"bash", "zsh", "fish"};
    case Values::commands:
      for (const TreeCommand& command : root.below) words.push_back(command.name());
      return words;
    case Values::none:
    case Values::unknown:
    case Values::files:
      break;
  }
  return words;
}

}  // namespace softmpc::tools
