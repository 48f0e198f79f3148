// SPDX-License-Identifier: Apache-2.0
// Line by line; of the preprocessor's language only the includes are understood.
#include "amalgamate.h"

#include <filesystem>

#include "softmpc/error.h"

namespace softmpc {
namespace {

// What follows `word` in a line "# word ...", without blanks around; nothing for other lines.
std::optional<std::string_view> directive(std::string_view line, std::string_view word) {
  const auto skip = [&] {
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  };
  skip();
  if (!line.starts_with('#')) return std::nullopt;
  line.remove_prefix(1);
  skip();
  if (!line.starts_with(word)) return std::nullopt;
  line.remove_prefix(word.size());
  skip();
  return line;
}

std::string line_marker(int number, const std::string& path) {
  return std::string("#line ").append(std::to_string(number)) + " \"" + path + "\"\n";
}

}  // namespace

void Amalgamation::add_file(const std::string& path) {
  if (!include(path)) throw Error("no file '" + path + "' is built into the library");
}

bool Amalgamation::include(const std::string& path) {
  const std::optional<std::string_view> text = find_(path);
  if (!text) return false;
  if (seen_.insert(path).second) add_text(*text, path);
  return true;
}

void Amalgamation::add_text(std::string_view text, const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  out_ += line_marker(1, path);
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);

    const std::optional<std::string_view> name = directive(line, "include");
    const bool ours = name && (name->starts_with('"') || name->starts_with("<softmpc/"));
    if (ours) {
      const std::string file(name->substr(1, name->find_first_of("\">", 1) - 1));
      if (include((folder / file).lexically_normal().string()) || include(file)) {
        out_ += line_marker(number + 1, path);
        continue;
      }
    }
    const bool dropped = (name && !ours) || directive(line, "pragma once");
    if (!dropped) out_ += line;
    out_ += '\n';
  }
}

}  // namespace softmpc
