// SPDX-License-Identifier: Apache-2.0
// Reading JSON files of a known layout: every error names the file, the key and the rule.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace softmpc::tools {

/// A whole file, or standard input for "-". Throws Error naming it.
std::string read_text(const std::string& path);
/// Throws Error naming `source`, the place and what is not JSON there. NaN and infinities, which
/// JSON lacks but Python writes, become the strings "NaN", "Infinity" and "-Infinity", so that the
/// reader of a value can say which one it is.
nlohmann::json parse_json(const std::string& text, const std::string& source);

/// A value in a JSON document, and where it stands there.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string source)
      : value_(&value), source_(std::move(source)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& source() const { return source_; }  ///< the file
  const std::string& key() const { return key_; }        ///< "episodes[0].qpos0"; empty: the root

  JsonNode at(std::string_view key) const;
  /// Empty where the key is missing or null.
  std::optional<JsonNode> find(std::string_view key) const;
  JsonNode at(std::size_t index) const;
  /// Number of elements of an array.
  std::size_t size() const;

  std::string string() const;
  bool boolean() const;
  double number() const;
  int integer(int low, int high) const;
  /// A rectangular array of exactly this shape, row-major.
  std::vector<double> numbers(std::span<const std::size_t> shape) const;
  std::vector<double> numbers(std::initializer_list<std::size_t> shape) const {
    return numbers(std::span<const std::size_t>(shape.begin(), shape.size()));
  }
  std::vector<float> floats(std::initializer_list<std::size_t> shape) const;
  std::vector<std::uint8_t> booleans(std::initializer_list<std::size_t> shape) const;

  /// Throws Error: file, key, `what`.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const nlohmann::json* value_;
  std::string source_, key_;
};

}  // namespace softmpc::tools
