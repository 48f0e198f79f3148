// SPDX-License-Identifier: Apache-2.0
// One text of a file and what it includes, for compilers that see no files.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace softmpc {

/// Replaces `#include "..."` and `<softmpc/...>` by the file's text, each file once. Other system
/// headers and `#pragma once` are dropped, files that nobody knows stay as they are, and #line
/// keeps the compiler's messages true to the files.
class Amalgamation {
 public:
  /// Text of the file with this normalised path, if there is one.
  using Find = std::function<std::optional<std::string_view>(const std::string& path)>;
  explicit Amalgamation(Find find) : find_(std::move(find)) {}

  /// Adds the file `path`, unless it is there already. Throws Error if nobody knows it.
  void add_file(const std::string& path);
  /// Adds a text that stands for a file `path`: from there its includes are looked for.
  void add_text(std::string_view text, const std::string& path);

  const std::string& text() const { return out_; }

 private:
  bool include(const std::string& path);

  Find find_;
  std::set<std::string> seen_;
  std::string out_;
};

}  // namespace softmpc
