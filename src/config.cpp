// SPDX-License-Identifier: Apache-2.0
// Settings from and to JSON, their listing and their rules; all by the list in config_fields.h.
#include "softmpc/config.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "config_fields.h"
#include "config_rules.h"
#include "nearest.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order of the list

// ---- text ----

/// One line for a message: control characters become spaces, long text is cut.
std::string one_line(std::string text) {
  constexpr std::size_t kLongest = 80;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shown(const Json& value) { return one_line(dump(value)); }

template <class T>
std::string range_text(T low, T high) {
  return dump(Json(low)) + ".." + dump(Json(high));
}

// 0..1 and 1e-09..1e+09 read better than JSON's 0.0..1.0 and 1e-09..1000000000.0.
std::string range_text(double low, double high) {
  char text[64];
  std::snprintf(text, sizeof(text), "%g..%g", low, high);
  return text;
}

template <class T>
std::string names(const fields::OneOf<T>& rule) {
  std::string text;
  for (const auto& choice : rule.choices) {
    if (!text.empty()) text += ", ";
    text += choice.name;
  }
  return text;
}

// ---- one set of overloads per rule: what it is called, reading, checking, writing ----
//
// read() returns an empty text, or what is wrong with the value. check() is for values that did not
// come from JSON.

template <class T>
std::string type_text(const fields::Whole<T>&) {
  return "integer";
}
std::string type_text(const fields::Real&) { return "number"; }
std::string type_text(const fields::RealList&) { return "number or list of numbers"; }
std::string type_text(const fields::RealMatrix&) { return "list of rows of numbers"; }
std::string type_text(const fields::Flag&) { return "true or false"; }
template <class T>
std::string type_text(const fields::OneOf<T>& rule) {
  return "one of " + names(rule);
}

template <class T>
std::string rule_text(const fields::Whole<T>& rule) {
  return range_text(rule.low, rule.high);
}
std::string rule_text(const fields::Real& rule) { return range_text(rule.low, rule.high); }
std::string rule_text(const fields::RealList& rule) {
  return range_text(rule.low, rule.high) + " each";
}
std::string rule_text(const fields::RealMatrix& rule) {
  return range_text(rule.low, rule.high) + " each";
}
std::string rule_text(const fields::Flag&) { return "true, false"; }
template <class T>
std::string rule_text(const fields::OneOf<T>& rule) {
  return names(rule);
}

template <class T>
std::string out_of_range(const Json& value, const T& rule) {
  return shown(value) + " is out of range " + rule_text(rule);
}

template <class Rule>
std::string wrong_type(const Json& value, const Rule& rule) {
  return shown(value) + " is not of type " + type_text(rule) + " (" + rule_text(rule) + ")";
}

template <class T>
std::string read(const Json& value, const fields::Whole<T>& rule, T& field) {
  if (value.is_number_float()) {
    // 5e4 is a whole number too; beyond 2^53 a float no longer says which.
    const double x = value.get<double>();
    if (x != std::floor(x)) return wrong_type(value, rule);
    if (std::abs(x) > 9007199254740992.0) return out_of_range(value, rule);
    return read(Json(static_cast<std::int64_t>(x)), rule, field);
  }
  if (!value.is_number_integer()) return wrong_type(value, rule);
  const bool fits = value.is_number_unsigned() ? std::in_range<T>(value.get<std::uint64_t>())
                                               : std::in_range<T>(value.get<std::int64_t>());
  const T x = fits ? value.get<T>() : T{};
  if (!fits || x < rule.low || x > rule.high) return out_of_range(value, rule);
  field = x;
  return {};
}

std::string read(const Json& value, const fields::Real& rule, double& field) {
  if (!value.is_number()) return wrong_type(value, rule);
  const double x = value.get<double>();
  if (!(x >= rule.low && x <= rule.high)) return out_of_range(value, rule);
  field = x;
  return {};
}

std::string read(const Json& value, const fields::RealList& rule, std::vector<double>& field) {
  const Json list = value.is_array() ? value : Json::array({value});
  if (list.size() < rule.shortest || list.size() > rule.longest) {
    return "a list of " + std::to_string(list.size()) + " numbers, and not of " +
           range_text(rule.shortest, rule.longest);
  }
  std::vector<double> numbers;
  for (const Json& item : list) {
    double x = 0;
    if (!item.is_number()) return wrong_type(value, rule);
    const std::string problem = read(item, fields::Real{rule.low, rule.high}, x);
    if (!problem.empty()) return problem;
    numbers.push_back(x);
  }
  field = std::move(numbers);
  return {};
}

std::string read(const Json& value, const fields::RealMatrix& rule,
                 std::vector<std::vector<double>>& field) {
  if (!value.is_array()) return wrong_type(value, rule);
  std::vector<std::vector<double>> rows;
  for (const Json& item : value) {
    if (!item.is_array()) return wrong_type(value, rule);
    if (item.size() != value.size() || item.size() > rule.longest)
      return "row " + std::to_string(rows.size()) + " of " + std::to_string(value.size()) +
             " has " + std::to_string(item.size()) + " numbers; a square of at most " +
             std::to_string(rule.longest) + " rows is needed";
    const std::string problem =
        read(item, fields::RealList{rule.low, rule.high, rule.longest}, rows.emplace_back());
    if (!problem.empty()) return problem;
  }
  field = std::move(rows);
  return {};
}

std::string read(const Json& value, const fields::Flag& rule, bool& field) {
  if (!value.is_boolean()) return wrong_type(value, rule);
  field = value.get<bool>();
  return {};
}

template <class T, class Field>
std::string read(const Json& value, const fields::OneOf<T>& rule, Field& field) {
  std::vector<std::string> known;
  for (const auto& choice : rule.choices) {
    if (value.is_string() && value.get_ref<const std::string&>() == choice.name) {
      field = choice.value;
      return {};
    }
    known.emplace_back(choice.name);
  }
  std::string text = shown(value) + " is not one of " + names(rule);
  if (value.is_string()) {
    text += "; nearest is " + nearest_name(value.get_ref<const std::string&>(), known);
  }
  return text;
}

template <class T>
Json write(const T& field, const fields::Whole<T>&) {
  return field;
}
Json write(double field, const fields::Real&) { return field; }
Json write(const std::vector<double>& field, const fields::RealList&) {
  return field.size() == 1 ? Json(field[0]) : Json(field);
}
Json write(const std::vector<std::vector<double>>& field, const fields::RealMatrix&) {
  return field;
}
Json write(bool field, const fields::Flag&) { return field; }
template <class T, class Field>
Json write(const Field& field, const fields::OneOf<T>& rule) {
  for (const auto& choice : rule.choices) {
    if (field == choice.value) return choice.name;
  }
  // Not in the list: check() refuses it; here it must be shown.
  if constexpr (std::is_enum_v<Field>) {
    return "value " + std::to_string(static_cast<int>(field));
  } else {
    return field;
  }
}

/// The first number of a field that is NaN or infinite; null if there is none.
template <class Field>
const double* not_finite(const Field&) {
  return nullptr;
}
const double* not_finite(const double& x) { return std::isfinite(x) ? nullptr : &x; }
template <class T>
const double* not_finite(const std::vector<T>& list) {
  for (const T& item : list)
    if (const double* x = not_finite(item)) return x;
  return nullptr;
}

/// NaN and infinity have no JSON, all else is checked as if it had been read.
template <class Rule, class Field>
std::string check(const Field& field, const Rule& rule) {
  if (const double* x = not_finite(field))
    return std::to_string(*x) + " is out of range " + rule_text(rule);
  Field ignored = field;
  return read(write(field, rule), rule, ignored);
}

// ---- whole configurations ----

std::string full_key(const char* section, const char* key) {
  return std::string(section) + "." + key;
}

std::vector<std::string> known_keys() {
  std::vector<std::string> keys;
  const Config config;
  fields::visit_config(config, [&](const char* section, const char* key, const auto&, const auto&,
                                   const char*) { keys.push_back(full_key(section, key)); });
  return keys;
}

bool is_section(const std::string& name) {
  for (const std::string& key : known_keys()) {
    if (key.compare(0, name.size() + 1, name + ".") == 0) return true;
  }
  return false;
}

[[noreturn]] void unknown_key(const std::string& key, const std::string& suffix) {
  const std::vector<std::string> known = known_keys();
  std::string nearest = nearest_name(key, known);
  if (key.find('.') == std::string::npos) {
    // Without its section, "rollout" is meant for "rollouts" and not for "model.loss".
    std::vector<std::string> short_keys;
    short_keys.reserve(known.size());
    for (const std::string& name : known) short_keys.push_back(name.substr(name.find('.') + 1));
    const std::string last = nearest_name(key, short_keys);
    const auto at = std::find(short_keys.begin(), short_keys.end(), last) - short_keys.begin();
    nearest = known[static_cast<std::size_t>(at)];
  }
  throw UsageError("unknown setting " + one_line(key) + "; nearest is " + nearest + suffix);
}

struct Assignment {
  std::string key;
  const Json* value;
};

/// Nested and dotted keys as one list of (full key, value).
void flatten(const Json& object, const std::string& prefix, const std::string& suffix,
             std::vector<Assignment>& out) {
  for (const auto& item : object.items()) {
    const std::string key = prefix.empty() ? item.key() : prefix + "." + item.key();
    const Json& value = item.value();
    if (prefix.empty() && is_section(key)) {
      if (!value.is_object()) {
        throw UsageError(key + ": " + shown(value) + " is not an object of settings" + suffix);
      }
      flatten(value, key, suffix, out);
    } else if (prefix.empty() && value.is_object() && !value.empty()) {
      flatten(value, key, suffix, out);  // an unknown section: its keys are named in the error
    } else {
      for (const Assignment& other : out) {
        if (other.key == key) throw UsageError(one_line(key) + ": is given twice" + suffix);
      }
      out.push_back({key, &value});
    }
  }
}

void assign(Config& config, const std::string& wanted, const Json& value,
            const std::string& suffix) {
  bool found = false;
  fields::visit_config(config, [&](const char* section, const char* key, auto& field,
                                   const auto& rule, const char*) {
    if (found || full_key(section, key) != wanted) return;
    found = true;
    const std::string problem = read(value, rule, field);
    if (!problem.empty()) throw UsageError(wanted + ": " + problem + suffix);
  });
  if (!found) unknown_key(wanted, suffix);
}

/// nlohmann's text without its "[json.exception.parse_error.101] " head.
std::string json_error(const std::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return one_line(end == std::string::npos ? text : text.substr(end + 2));
}

}  // namespace

std::vector<SettingInfo> setting_list() {
  std::vector<SettingInfo> list;
  const Config config;
  fields::visit_config(config, [&](const char* section, const char* key, const auto& field,
                                   const auto& rule, const char* help) {
    list.push_back(
        {full_key(section, key), type_text(rule), dump(write(field, rule)), rule_text(rule), help});
  });
  return list;
}

void apply_settings(Config& config, std::string_view json, const std::string& where) {
  Json root;
  if (json.find('\0') != std::string_view::npos) {  // nlohmann takes it for the end of the text
    throw UsageError((where.empty() ? "settings" : where) + ": not JSON: it holds a zero byte");
  }
  try {
    root = Json::parse(json.begin(), json.end());
  } catch (const nlohmann::json::exception& error) {
    throw UsageError((where.empty() ? "settings" : where) + ": not JSON: " + json_error(error));
  }
  const std::string suffix = where.empty() ? "" : " (in " + where + ")";
  if (!root.is_object()) {
    throw UsageError(shown(root) + " is not an object of settings" + suffix);
  }
  std::vector<Assignment> assignments;
  flatten(root, "", suffix, assignments);
  Config changed = config;
  for (const Assignment& item : assignments) assign(changed, item.key, *item.value, suffix);
  config = std::move(changed);
}

void apply_setting(Config& config, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw UsageError("'" + one_line(std::string(assignment)) +
                     "' is not of the form key.path=value");
  }
  const std::string key(assignment.substr(0, equals));
  const std::string text(assignment.substr(equals + 1));
  Json value;
  try {
    value = Json::parse(text);
  } catch (const nlohmann::json::out_of_range&) {
    throw UsageError(one_line(key + ": " + text + " is too large for a number"));
  } catch (const nlohmann::json::exception&) {
    value = text;
  }
  Config changed = config;
  assign(changed, key, value, "");
  config = std::move(changed);
}

std::string to_json(const Config& config, int indent) {
  Json root = Json::object();
  fields::visit_config(
      config, [&](const char* section, const char* key, const auto& field, const auto& rule,
                  const char*) { root[section][key] = write(field, rule); });
  return root.dump(indent, ' ', false, Json::error_handler_t::replace);
}

void check_field_rules(const Config& config, const char* lead, const char* trail) {
  fields::visit_config(config, [&](const char* section, const char* key, const auto& field,
                                   const auto& rule, const char*) {
    const std::string problem = check(field, rule);
    if (!problem.empty()) throw UsageError(lead + full_key(section, key) + trail + ": " + problem);
  });
}

}  // namespace softmpc
