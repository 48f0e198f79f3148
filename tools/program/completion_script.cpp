// SPDX-License-Identifier: Apache-2.0
#include "program/completion_script.h"

#include <map>

namespace softmpc::tools {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string result;
  for (const std::string& word : words) result += (result.empty() ? "" : between) + word;
  return result;
}

/// In single quotes, inside of which a quote is `escaped`.
std::string quoted(const std::string& text, const char* escaped) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string(escaped) : std::string(1, c);
  return result + "'";
}

/// The first sentence of a help text, on one line.
std::string short_help(const std::string& help) {
  std::string result = help.substr(0, help.find_first_of(";\n"));
  return result.size() > 70 ? result.substr(0, result.rfind(' ', 67)) + " ..." : result;
}

/// Of bash and zsh: sets `node` to the command of the words before the one to complete.
std::string node_cases(const TreeCommand& root, const char* indent) {
  std::vector<std::string> nodes;
  for (const TreeCommand* command : flat(root))
    if (command != &root) nodes.push_back('"' + command->path + '"');
  return std::string("case \"$node $word\" in\n") + indent + "  " + joined(nodes, "|") +
         ") node+=\" $word\" ;;\n" + indent + "esac\n";
}

/// Of bash and zsh: `before the case`, one arm for the options of a kind of value.
std::string value_cases(const TreeCommand& root, const std::map<Values, std::string>& completers,
                        const char* indent) {
  std::map<Values, std::vector<std::string>> patterns;
  for (const TreeCommand* command : flat(root))
    for (const TreeOption& option : command->options)
      if (option.values != Values::none)
        for (const std::string& name : option.names)
          patterns[option.values].push_back('"' + command->path + ' ' + name + '"');
  std::string result;
  for (const auto& [values, words] : patterns)
    result += indent + joined(words, "|") + ") " + completers.at(values) + " ;;\n";
  return result;
}

/// What completes each kind of value: `words` calls `call` with them, files are `files`.
std::map<Values, std::string> completers(const TreeCommand& root, const std::string& call,
                                         const std::string& settings, const std::string& files) {
  std::map<Values, std::string> result = {{Values::unknown, "return"}, {Values::files, files}};
  for (const Values values : {Values::tasks, Values::presets, Values::devices, Values::precisions,
                              Values::paths, Values::shells, Values::commands})
    result[values] = call + " " + joined(words_for(values, root), " ");
  result[Values::settings] = settings + " " + joined(words_for(Values::settings, root), " ");
  return result;
}

constexpr const char* kBashHead =
    R"(# bash completion of softmpc, printed by: softmpc completion bash
_softmpc_words() { COMPREPLY=($(compgen -W "$*" -- "$current")); }
_softmpc_settings() {
  _softmpc_words "$@"
  compopt -o nospace 2>/dev/null  # a value follows
}
_softmpc_files() {
  compopt -o filenames 2>/dev/null
  local IFS=$'\n'
  COMPREPLY=($(compgen -f -- "$current"))
}
_softmpc() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} node=softmpc word
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    )";

constexpr const char* kZshHead = R"(#compdef softmpc
# zsh completion of softmpc, printed by: softmpc completion zsh
_softmpc() {
  local current=${words[CURRENT]} previous=${words[CURRENT-1]} node=softmpc word
  local -a list
  for word in "${(@)words[2,CURRENT-1]}"; do
    )";

constexpr const char* kFishHead =
    R"(# fish completion of softmpc, printed by: softmpc completion fish
function __softmpc_at
    set -l node softmpc
    set -l given (commandline -opc)
    set -e given[1]
    for word in $given
        contains -- "$node $word" $__softmpc_nodes; and set node "$node $word"
    end
    test "$node" = "$argv[1]"
end
)";

}  // namespace

std::string bash_completion(const TreeCommand& root) {
  const auto kinds = completers(root, "_softmpc_words", "_softmpc_settings", "_softmpc_files");
  std::string result = kBashHead + node_cases(root, "    ") + "  done\n";
  result += "  case \"$node $previous\" in\n" + value_cases(root, kinds, "    ");
  result += "    *)\n      case \"$node:${current:0:1}\" in\n";
  for (const TreeCommand* command : flat(root)) {
    std::string options;
    for (const TreeOption& option : command->options) options += " " + joined(option.names, " ");
    result += "        \"" + command->path + ":-\") _softmpc_words" + options + " ;;\n";
    std::string rest;
    for (const TreeCommand& below : command->below) rest += " " + below.name();
    if (!rest.empty())
      rest = "_softmpc_words" + rest;
    else if (!command->positionals.empty())
      rest = kinds.at(command->positionals.front().values);
    if (!rest.empty()) result += "        \"" + command->path + ":\"*) " + rest + " ;;\n";
  }
  return result + "      esac ;;\n  esac\n}\ncomplete -F _softmpc softmpc\n";
}

std::string zsh_completion(const TreeCommand& root) {
  const auto kinds = completers(root, "compadd --", "compadd -S '' --", "_files");
  const auto described = [](const std::string& word, const std::string& help) {
    return ' ' + quoted(word + ':' + short_help(help), "'\\''");
  };
  std::string result = kZshHead + node_cases(root, "    ") + "  done\n";
  result += "  case \"$node $previous\" in\n" + value_cases(root, kinds, "    ");
  result += "    *)\n      case \"$node:${current[1]}\" in\n";
  for (const TreeCommand* command : flat(root)) {
    std::string options, below;
    for (const TreeOption& option : command->options)
      for (const std::string& name : option.names) options += described(name, option.help);
    result +=
        "        \"" + command->path + ":-\") list=(" + options + "); _describe option list ;;\n";
    for (const TreeCommand& sub : command->below) below += described(sub.name(), sub.summary);
    std::string rest;
    if (!below.empty())
      rest = "list=(" + below + "); _describe command list";
    else if (!command->positionals.empty())
      rest = kinds.at(command->positionals.front().values);
    if (!rest.empty()) result += "        \"" + command->path + ":\"*) " + rest + " ;;\n";
  }
  return result + "      esac ;;\n  esac\n}\n" +
         "# as a file of $fpath this is the function's body, else it has to be announced\n"
         "if [[ ${funcstack[1]} == _softmpc ]]; then _softmpc \"$@\"; else compdef _softmpc "
         "softmpc; "
         "fi\n";
}

std::string fish_completion(const TreeCommand& root) {
  const auto quote = [](const std::string& text) { return quoted(text, "\\'"); };
  std::vector<std::string> nodes;
  for (const TreeCommand* command : flat(root)) nodes.push_back(quote(command->path));
  std::string result = kFishHead + std::string("set -g __softmpc_nodes ") + joined(nodes, " ") +
                       "\ncomplete -c softmpc -f\n";
  for (const TreeCommand* command : flat(root)) {
    const std::string line =
        "complete -c softmpc -n " + quote("__softmpc_at '" + command->path + "'");
    for (const TreeCommand& below : command->below)
      result += line + " -a " + below.name() + " -d " + quote(short_help(below.summary)) + '\n';
    const auto values = [&](Values kind) {
      return kind == Values::files     ? std::string(" -F")
             : kind == Values::unknown ? std::string()
                                       : " -a " + quote(joined(words_for(kind, root), " "));
    };
    for (const TreeOption& option : command->options) {
      result += line;
      for (const std::string& name : option.names)
        result += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (option.values != Values::none) result += " -r" + values(option.values);
      result += " -d " + quote(short_help(option.help)) + '\n';
    }
    if (command->below.empty() && !command->positionals.empty())
      result += line + values(command->positionals.front().values) + '\n';
  }
  return result;
}

}  // namespace softmpc::tools
