// SPDX-License-Identifier: Apache-2.0
#include "rules_text.h"

#include <optional>

#include "amalgamate.h"
#include "rule_files.h"
#include "softmpc/error.h"

namespace softmpc::tasks {
namespace {

std::optional<std::string_view> find_text(std::string_view path) {
  for (const softmpc::detail::EmbeddedFile& file : rule_files()) {
    if (path == file.name) return file.text;
  }
  return std::nullopt;
}

}  // namespace

std::string_view rules_header(std::string_view path) {
  if (const auto text = find_text(path)) return *text;
  throw Error("no rules '" + std::string(path) + "' are built into the library");
}

std::string rules_text(std::string_view header) {
  constexpr std::string_view room = "tasks/";
  const auto find = [&](const std::string& path) {
    return path.starts_with(room) ? find_text(std::string_view(path).substr(room.size()))
                                  : std::nullopt;
  };
  Amalgamation text(find);
  text.add_text(header, "tasks/task/rules.h");  // its "../rules.h" is tasks/rules.h
  return text.text();
}

}  // namespace softmpc::tasks
