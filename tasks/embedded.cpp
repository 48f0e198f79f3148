// SPDX-License-Identifier: Apache-2.0
// Lookup in the list that the build made.
#include "embedded.h"

#include <optional>
#include <string>

#include "amalgamate.h"
#include "softmpc/error.h"
#include "task_files.h"

namespace softmpc::tasks {
namespace {

std::optional<std::string_view> find_text(std::string_view path) {
  for (const softmpc::detail::EmbeddedFile& file : task_files()) {
    if (path == file.name) return file.text;
  }
  return std::nullopt;
}

}  // namespace

std::string_view embedded_text(std::string_view path) {
  if (const auto text = find_text(path)) return *text;
  throw Error("no file '" + std::string(path) + "' is built into the library");
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

std::string embedded_rules(std::string_view path) { return rules_text(embedded_text(path)); }

}  // namespace softmpc::tasks
