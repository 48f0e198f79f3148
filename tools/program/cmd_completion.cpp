// SPDX-License-Identifier: Apache-2.0
// softmpc completion and softmpc man: what shells and man know of the program.
#include <filesystem>
#include <fstream>
#include <memory>

#include "nearest.h"
#include "program/command.h"
#include "program/command_tree.h"
#include "program/completion_script.h"
#include "program/console.h"
#include "program/man_page.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

int run_completion(const CLI::App& program, const std::string& shell) {
  const TreeCommand root = command_tree(program);
  if (shell == "bash")
    write_out(bash_completion(root));
  else if (shell == "zsh")
    write_out(zsh_completion(root));
  else if (shell == "fish")
    write_out(fish_completion(root));
  else
    throw UsageError("SHELL: '" + shell + "' must be one of bash, zsh, fish");
  return 0;
}

struct ManOptions {
  std::vector<std::string> command;
  std::string out;
};

void write_page(const std::filesystem::path& file, const std::string& page) {
  std::ofstream out(file);
  if (!(out << page).flush()) throw Error(file.string() + ": cannot be written");
}

const TreeCommand& find_command(const TreeCommand& root, const std::vector<std::string>& words) {
  const TreeCommand* at = &root;
  for (const std::string& word : words) {
    std::vector<std::string> known;
    const TreeCommand* next = nullptr;
    for (const TreeCommand& below : at->below) {
      known.push_back(below.name());
      if (below.name() == word) next = &below;
    }
    if (known.empty())
      throw UsageError("'" + at->path + "' has no subcommands, so no '" + word + "'");
    if (next == nullptr)
      throw UsageError("unknown subcommand '" + at->path + " " + word + "'; nearest is '" +
                       nearest_name(word, known) + "'");
    at = next;
  }
  return *at;
}

int run_man(const CLI::App& program, const ManOptions& options) {
  const TreeCommand root = command_tree(program);
  const TreeCommand& command = find_command(root, options.command);
  if (options.out.empty()) {
    write_out(man_page(command, root));
    return 0;
  }
  if (!options.command.empty()) throw UsageError("--out: writes all pages, name no subcommand");
  std::error_code fault;
  std::filesystem::create_directories(options.out, fault);
  if (fault) throw Error(options.out + ": " + fault.message());
  for (const TreeCommand* one : flat(root))
    write_page(std::filesystem::path(options.out) / (man_name(*one) + ".1"), man_page(*one, root));
  return 0;
}

}  // namespace

Run add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  add_text(app, "SHELL", *shell, "", "bash, zsh or fish")->required();
  app.footer(
      "Where the script goes (an installed softmpc has brought it):\n"
      "  bash  softmpc completion bash > ~/.local/share/bash-completion/completions/softmpc\n"
      "  zsh   softmpc completion zsh > ~/.zfunc/_softmpc    with fpath+=~/.zfunc before compinit\n"
      "  fish  softmpc completion fish > ~/.config/fish/completions/softmpc.fish\n"
      "For this shell alone: source <(softmpc completion bash), softmpc completion fish | source");
  return [&app, shell] { return run_completion(*app.get_parent(), *shell); };
}

Run add_man(CLI::App& app) {
  auto options = std::make_shared<ManOptions>();
  app.add_option("SUBCOMMAND", options->command, "whose page to print, softmpc's if not given");
  add_text(app, "--out", options->out, "DIR", "write all pages into this folder, as NAME.1");
  app.footer(
      "Examples:\n"
      "  softmpc man bench plan | man -l -\n"
      "  softmpc man --out ~/.local/share/man/man1      then: man softmpc-train");
  return [&app, options] { return run_man(*app.get_parent(), *options); };
}

}  // namespace softmpc::tools
