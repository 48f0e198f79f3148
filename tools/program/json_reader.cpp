// SPDX-License-Identifier: Apache-2.0
// Reading JSON files of a known layout: every error names the file, the key and the rule.
#include "program/json_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

using nlohmann::json;

/// A value as a message shows it.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, 40) + "...";
  return text;
}

/// Quotes NaN and infinities that stand outside of strings.
std::string quote_non_finite(const std::string& text) {
  static constexpr std::array<std::string_view, 5> kWords = {"-Infinity", "Infinity", "NaN", "nan",
                                                             "inf"};
  std::string result;
  result.reserve(text.size());
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (quoted) {
      result.push_back(text[i]);
      if (text[i] == '\\' && i + 1 < text.size()) result.push_back(text[++i]);
      continue;
    }
    std::string_view word;
    for (const std::string_view candidate : kWords) {
      if (word.empty() && text.compare(i, candidate.size(), candidate) == 0) word = candidate;
    }
    if (word.empty()) {
      result.push_back(text[i]);
    } else {
      result.append("\"").append(word).append("\"");
      i += word.size() - 1;
    }
  }
  return result;
}

/// Line and column of a byte, both from 1.
std::string place(const std::string& text, std::size_t byte) {
  std::size_t line = 1, column = 1;
  for (std::size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    column = text[i] == '\n' ? 1 : column + 1;
    line += text[i] == '\n' ? 1 : 0;
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

/// Appends the elements of a rectangular array, row-major.
template <class T, class Read>
void collect(const JsonNode& node, std::span<const std::size_t> shape, std::vector<T>& out,
             const Read& read) {
  const std::size_t size = node.size();
  if (size != shape.front()) {
    node.fail("has " + std::to_string(size) + " elements, must have " +
              std::to_string(shape.front()));
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (shape.size() > 1) {
      collect(node.at(i), shape.subspan(1), out, read);
    } else {
      out.push_back(read(node.at(i)));
    }
  }
}

}  // namespace

std::string read_text(const std::string& path) {
  const std::string name = path == "-" ? "standard input" : path;
  const int file = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Error(name + ": cannot open: " + std::strerror(errno));
  std::string text;
  std::array<char, 1 << 16> block{};
  ssize_t count = 0;
  while ((count = ::read(file, block.data(), block.size())) != 0) {
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    text.append(block.data(), static_cast<std::size_t>(count));
  }
  const int fault = errno;
  if (path != "-") ::close(file);
  if (count < 0) throw Error(name + ": cannot read: " + std::strerror(fault));
  return text;
}

json parse_json(const std::string& text, const std::string& source) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    throw Error(source + ": is empty, must be a JSON document");
  }
  const std::string clean = quote_non_finite(text);
  try {
    return json::parse(clean);
  } catch (const json::parse_error& error) {
    const bool ended = error.byte >= clean.size();
    throw Error(source + ": not JSON: " +
                (ended ? std::string("the text ends too early (truncated?)")
                       : "unexpected text at " + place(clean, error.byte)));
  } catch (const json::out_of_range&) {
    throw Error(source + ": not JSON: a number is too large");
  }
}

void JsonNode::fail(const std::string& what) const {
  throw Error(source_ + ": " + (key_.empty() ? "the document" : "'" + key_ + "'") + " " + what);
}

JsonNode JsonNode::at(std::string_view key) const {
  if (!value_->is_object()) fail("is " + shown(*value_) + ", must be an object");
  JsonNode child = *this;
  child.key_ += (key_.empty() ? "" : ".") + std::string(key);
  const auto found = value_->find(std::string(key));
  if (found == value_->end()) child.fail("is missing");
  child.value_ = &*found;
  return child;
}

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  if (!value_->is_object()) fail("is " + shown(*value_) + ", must be an object");
  const auto found = value_->find(std::string(key));
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return at(key);
}

JsonNode JsonNode::at(std::size_t index) const {
  if (index >= size()) fail("has no element " + std::to_string(index));
  JsonNode child = *this;
  child.key_ += "[" + std::to_string(index) + "]";
  child.value_ = &(*value_)[index];
  return child;
}

std::size_t JsonNode::size() const {
  if (!value_->is_array()) fail("is " + shown(*value_) + ", must be an array");
  return value_->size();
}

std::string JsonNode::string() const {
  if (!value_->is_string()) fail("is " + shown(*value_) + ", must be a string");
  return value_->get<std::string>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) fail("is " + shown(*value_) + ", must be true or false");
  return value_->get<bool>();
}

double JsonNode::number() const {
  if (!value_->is_number()) fail("is " + shown(*value_) + ", must be a finite number");
  return value_->get<double>();
}

int JsonNode::integer(int low, int high) const {
  const double value = number();
  if (!(value >= low && value <= high) || value != std::floor(value)) {
    fail("is " + shown(*value_) + ", must be a whole number from " + std::to_string(low) + " to " +
         std::to_string(high));
  }
  return static_cast<int>(value);
}

std::vector<double> JsonNode::numbers(std::span<const std::size_t> shape) const {
  std::vector<double> result;
  collect(*this, shape, result, [](const JsonNode& leaf) { return leaf.number(); });
  return result;
}

std::vector<float> JsonNode::floats(std::initializer_list<std::size_t> shape) const {
  std::vector<float> result;
  collect(*this, shape, result, [](const JsonNode& leaf) {
    const auto value = static_cast<float>(leaf.number());
    if (!std::isfinite(value)) leaf.fail("is beyond the range of float32");
    return value;
  });
  return result;
}

std::vector<std::uint8_t> JsonNode::booleans(std::initializer_list<std::size_t> shape) const {
  std::vector<std::uint8_t> result;
  collect(*this, shape, result,
          [](const JsonNode& leaf) { return static_cast<std::uint8_t>(leaf.boolean() ? 1 : 0); });
  return result;
}

}  // namespace softmpc::tools
