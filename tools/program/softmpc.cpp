// SPDX-License-Identifier: Apache-2.0
// The program: table of subcommands, exit codes, one-line errors.
#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "nearest.h"
#include "program/command.h"
#include "program/console.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr Command kCommands[] = {
    {"tasks", "list the tasks: sizes, bounds, presets, best known returns", add_tasks},
    {"train", "train a controller; writes a run folder that can be resumed", add_train},
    {"eval", "play episodes with a trained controller, no exploration noise", add_eval},
    {"plan", "plan from given states with a trained controller", add_plan},
    {"explain", "what is wrong with a plan, in words, and the rollouts that it was made of",
     add_explain},
    {"report", "one page of runs: curves over seeds, tables, settings, what went wrong",
     add_report},
    {"verify", "replay recorded trajectories and plans, and compare", add_verify},
    {"kernels", "compile a controller's GPU kernels ahead; needs no GPU", add_kernels},
    {"bench", "time plans and training, beside a plain matrix product", add_bench},
    {"completion", "print a script that completes words in bash, zsh or fish", add_completion},
    {"man", "print a man page, of softmpc or of a subcommand", add_man},
};

constexpr const char* kFooter = R"(Examples:
  softmpc tasks                                  what can be learned
  softmpc train InvertedDoublePendulum           learn it; progress, then the run folder
  softmpc eval runs/InvertedDoublePendulum-default-seed1
  softmpc train Hopper --preset paper-uniform --set planner.rollouts=400 --steps 100000
  softmpc train --help-settings                  every key that --set knows

Each subcommand explains itself: softmpc SUBCOMMAND --help

Exit codes:
  0    done
  1    found while running: a file, a value in it, a device, a check that failed
  2    wrong command line, task, preset, key or value
  130  stopped by Ctrl-C (143: by SIGTERM, 129: by a closed terminal); a training run then resumes with --resume
Errors are one line on standard error: softmpc: error: what, where, what would be right.)";

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string result;
  for (const std::string& word : words) result += (result.empty() ? "" : ", ") + word;
  return result;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& known) {
  return "; nearest is '" + nearest_name(word, known) + "'";
}

/// Before CLI11 sees the line: it has no word for an unknown subcommand.
void check_subcommand(int count, char** arguments) {
  const std::vector<std::string> names = command_names();
  if (count < 2) {
    throw UsageError("no subcommand: one of " + joined(names) + "; see softmpc --help");
  }
  const std::string first = arguments[1];
  if (first.starts_with("-") || std::count(names.begin(), names.end(), first) > 0) return;
  throw UsageError("unknown subcommand '" + first + "'" + suggestion(first, names) +
                   "; known are " + joined(names));
}

/// CLI11's errors in our words, with the nearest option for an unknown one.
std::string describe(const CLI::ParseError& error, const CLI::App& app) {
  const CLI::App* used = &app;
  std::string path = "softmpc";
  while (!used->get_subcommands().empty()) {
    used = used->get_subcommands().front();
    path += " " + used->get_name();
  }
  const std::string help = "; see " + path + " --help";
  for (const std::string& word : app.remaining(true)) {
    if (word.size() < 2 || word[0] != '-') continue;
    std::vector<std::string> known;
    for (const CLI::Option* option : used->get_options()) {
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    }
    const std::string name = word.substr(0, word.find('='));
    return "unknown option '" + name + "'" + suggestion(name, known) + help;
  }
  const std::vector<std::string> rest = app.remaining(true);
  std::vector<std::string> below;
  for (const CLI::App* sub : used->get_subcommands({})) below.push_back(sub->get_name());
  if (used != &app && !below.empty() && !rest.empty()) {
    return "unknown subcommand '" + used->get_name() + " " + rest.front() + "'" +
           suggestion(rest.front(), below) + "; known are " + joined(below);
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&error) && !rest.empty()) {
    return "unexpected argument '" + rest.front() + "'" + help;
  }
  const std::string message = one_line(error);
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) && message.ends_with("missing")) {
    return message.substr(0, message.find(':')) + " needs a value" + help;
  }
  return message + help;
}

int run(int count, char** arguments) {
  CLI::App app("softmpc: a sampling-based planner that learns (soft MPCritic, arXiv 2604.01477).\n",
               "softmpc");
  app.set_help_flag("-h,--help", "show this help");
  app.set_version_flag("--version", "softmpc " SOFTMPC_VERSION);
  app.footer(kFooter);
  app.require_subcommand(0, 1);  // else `man train` would be two of them
  std::vector<Run> runs;
  for (const Command& command : kCommands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->set_help_flag("-h,--help", "show this help");
    runs.push_back(command.add(*sub));
  }
  try {
    check_subcommand(count, arguments);
    app.parse(count, arguments);
  } catch (const CLI::CallForVersion& version) {
    write_out(one_line(version) + '\n');
    return 0;
  } catch (const CLI::Success&) {
    write_out(app.help());
    return 0;
  } catch (const CLI::ParseError& error) {
    throw UsageError(describe(error, app));
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (app.got_subcommand(kCommands[i].name)) return runs[i]();
  }
  throw UsageError("no subcommand; see softmpc --help");
}

}  // namespace
}  // namespace softmpc::tools

int main(int count, char** arguments) {
  // A closed pipe and a file-size limit are answers of write(), not reasons to die.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  using namespace softmpc::tools;
  try {
    return run(count, arguments);
  } catch (const softmpc::UsageError& error) {
    print_error(one_line(error));
    return 2;
  } catch (const std::exception& error) {
    print_error(one_line(error));
    return 1;
  } catch (...) {
    print_error("unknown exception");
    return 1;
  }
}
