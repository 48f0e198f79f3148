// SPDX-License-Identifier: Apache-2.0
#include "report/words.h"

#include <cmath>

#include "program/console.h"

namespace softmpc::tools::report {

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number < 0 ? -number : number);
  for (std::ptrdiff_t i = std::ssize(digits) - 3; i > 0; i -= 3)
    digits.insert(static_cast<std::size_t>(i), ",");
  return (number < 0 ? "\u2212" : "") + digits;
}

std::string number(double value) {
  if (!std::isfinite(value)) return "\u2013";
  const double size = std::abs(value);
  if (size >= 999.5 && size < 1e15) return grouped(std::llround(value));
  std::string shown = text(size >= 99.95 ? "%.1f" : size >= 9.995 ? "%.2f" : "%.3g", size);
  return (value < 0 ? "\u2212" : "") + shown;
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

}  // namespace softmpc::tools::report
