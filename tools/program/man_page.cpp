// SPDX-License-Identifier: Apache-2.0
#include "program/man_page.h"

#include <algorithm>
#include <sstream>

namespace softmpc::tools {
namespace {

/// Text that roff prints as it is: no control line, no escape, minus signs that can be copied.
std::string roff(const std::string& text) {
  std::string result;
  bool start = true;
  for (const char c : text) {
    if (start && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\')
      result += "\\e";
    else if (c == '-')
      result += "\\-";
    else
      result += c;
    start = c == '\n';
  }
  return result;
}

std::string bold(const std::string& text) { return "\\fB" + roff(text) + "\\fR"; }
std::string italic(const std::string& text) { return "\\fI" + roff(text) + "\\fR"; }

/// "--preset P", or of a positional "[TASK]", as in a synopsis.
std::string positional_usage(const TreeOption& p) {
  const std::string name = italic(p.names.front()) + (p.repeated ? "..." : "");
  return p.required ? name : "[" + name + "]";
}

std::string entry(const std::string& head, const std::string& text) {
  return ".TP\n" + head + "\n" + roff(text) + "\n";
}

std::string option_head(const TreeOption& option) {
  std::string head;
  for (const std::string& name : option.names) head += (head.empty() ? "" : ", ") + bold(name);
  if (!option.type.empty()) head += " " + italic(option.type);
  return head + (option.required ? " (required)" : "");
}

/// As it stands, lines kept.
std::string kept(const std::string& text) { return ".nf\n" + roff(text) + "\n.fi\n"; }

}  // namespace

std::string man_name(const TreeCommand& command) {
  std::string name = command.path;
  std::ranges::replace(name, ' ', '-');
  return name;
}

std::string man_page(const TreeCommand& command, const TreeCommand& root) {
  std::string title = man_name(command);
  std::ranges::transform(title, title.begin(), [](unsigned char c) { return std::toupper(c); });
  const std::string summary = command.summary.substr(0, command.summary.find('\n'));
  std::string page = ".TH " + roff(title) +
                     " 1 \"\" \"softmpc " SOFTMPC_VERSION "\" \"softmpc\"\n" + ".SH NAME\n" +
                     roff(man_name(command)) + " \\- " + roff(summary) + "\n" + ".SH SYNOPSIS\n" +
                     bold(command.path) + " [options]";
  for (const TreeOption& p : command.positionals) page += " " + positional_usage(p);
  page += command.below.empty() ? "\n" : " " + italic("SUBCOMMAND") + "\n";
  if (!command.below.empty()) page += ".SH SUBCOMMANDS\n";
  for (const TreeCommand& below : command.below) page += entry(bold(below.name()), below.summary);
  if (!command.positionals.empty()) page += ".SH ARGUMENTS\n";
  for (const TreeOption& p : command.positionals) page += entry(italic(p.names.front()), p.help);
  page += ".SH OPTIONS\n";
  for (const TreeOption& option : command.options) page += entry(option_head(option), option.help);
  if (!command.footer.empty()) page += ".SH NOTES\n" + kept(command.footer);
  std::string also;
  for (const TreeCommand* other : flat(root)) {
    const bool near =
        other == &root || command.path == root.path || other->path.starts_with(command.path + " ");
    if (other == &command || !near) continue;
    also += ".BR " + roff(man_name(*other)) + " (1)\n";
  }
  return also.empty() ? page : page + ".SH SEE ALSO\n" + also;
}

}  // namespace softmpc::tools
