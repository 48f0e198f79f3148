// SPDX-License-Identifier: Apache-2.0
#include "program/state_reader.h"

#include <charconv>
#include <cmath>
#include <sstream>

#include "program/json_reader.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::json;

/// One entry of a state, or an error that names row, entry and rule.
float state_entry(const Json& entry, const std::string& where) {
  if (entry.is_number()) {
    const auto value = static_cast<float>(entry.get<double>());
    if (std::isfinite(value)) return value;
  }
  std::string shown = entry.is_string() ? entry.get<std::string>() : entry.dump();
  if (shown.size() > 40) shown = shown.substr(0, 40) + "...";
  throw Error(where + " is " + shown + ", must be a finite float32 number");
}

std::string source_of(const std::string& path) { return path == "-" ? "standard input" : path; }

/// Words between spaces, newlines and commas; numbers become numbers.
Json words_of(std::string text) {
  for (char& c : text)
    if (c == ',') c = ' ';
  Json words = Json::array();
  std::istringstream stream(text);
  for (std::string word; stream >> word;) {
    const char *begin = word.data() + (word[0] == '+'), *end = word.data() + word.size();
    double value = 0;
    const auto [stop, fault] = std::from_chars(begin, end, value);
    const bool number = fault == std::errc{} && stop == end && std::isfinite(value);
    words.push_back(number ? Json(value) : Json(word));
  }
  return words;
}

}  // namespace

std::vector<std::vector<float>> read_states(const std::string& path, const Bundle& bundle) {
  const std::string source = source_of(path);
  const Json document = parse_json(read_text(path), source);
  const auto nx = static_cast<std::size_t>(bundle.nx);
  const std::string rule = "must be [[...], ...], one state of " + std::to_string(nx) +
                           " numbers (" + bundle.task + ") a row";
  if (!document.is_array()) throw Error(source + ": holds no array, " + rule);
  if (document.empty()) throw Error(source + ": holds no state, " + rule);
  std::vector<std::vector<float>> states;
  for (std::size_t row = 0; row < document.size(); ++row) {
    const std::string where = source + ": row " + std::to_string(row);
    const Json& state = document[row];
    if (!state.is_array()) throw Error(where + " is no array, " + rule);
    if (state.size() != nx) {
      throw Error(where + " has " + std::to_string(state.size()) + " numbers, " + rule);
    }
    states.emplace_back();
    for (std::size_t i = 0; i < nx; ++i) {
      states.back().push_back(state_entry(state[i], where + ", entry " + std::to_string(i)));
    }
  }
  return states;
}

std::vector<float> read_state(const std::string& path, const Bundle& bundle) {
  const std::string source = source_of(path), text = read_text(path);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && (text[first] == '[' || text[first] == '{');
  const Json document = json ? parse_json(text, source) : words_of(text);
  const auto nx = static_cast<std::size_t>(bundle.nx);
  const std::string rule = "must be one state of " + std::to_string(nx) + " numbers (" +
                           bundle.task + "), [...] or with spaces between";
  if (!document.is_array()) throw Error(source + ": holds no array, " + rule);
  if (document.size() != nx)
    throw Error(source + ": has " + std::to_string(document.size()) + " numbers, " + rule);
  std::vector<float> state;
  for (std::size_t i = 0; i < nx; ++i)
    state.push_back(state_entry(document[i], source + ": entry " + std::to_string(i)));
  return state;
}

}  // namespace softmpc::tools
