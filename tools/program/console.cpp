// SPDX-License-Identifier: Apache-2.0
// What every subcommand prints through: checked output, one-line errors, numbers as text.
#include "program/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

#include "softmpc/error.h"

namespace softmpc::tools {

std::string text(const char* format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, format, arguments);
  va_end(arguments);
  std::string result(static_cast<std::size_t>(std::max(size, 0)), '\0');
  std::vsnprintf(result.data(), result.size() + 1, format, again);
  va_end(again);
  return result;
}

void write_out(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EPIPE) {
      return;
    } else if (errno != EINTR) {
      throw Error(std::string("standard output: cannot write: ") + std::strerror(errno));
    }
  }
}

namespace {
std::string silence;  // why progress is no longer shown
}  // namespace

void show_out(std::string_view bytes) {
  if (!silence.empty()) return;
  try {
    write_out(bytes);
  } catch (const Error& error) {
    silence = error.what();
  }
}

void report_silence() {
  if (!silence.empty()) print_warning(silence + "; the run went on without showing its progress");
}

bool out_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }

int terminal_width() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

namespace {

void print_line(std::string line, std::string_view message) {
  line.append(message);
  // a file's name or content may hold anything; the message stays one line
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  line.push_back('\n');
  // nothing can be done where standard error itself is gone
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void print_error(std::string_view message) { print_line("softmpc: error: ", message); }
void print_warning(std::string_view message) { print_line("softmpc: warning: ", message); }

std::string one_line(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) {
    return "out of memory: smaller sizes (rollouts, horizon, replay_capacity, ...) need less";
  }
  std::string message = error.what();
  if (!dynamic_cast<const Error*>(&error)) message = message.substr(0, message.find('\n'));
  while (!message.empty() && message.back() == '\n') message.pop_back();
  std::replace(message.begin(), message.end(), '\n', ' ');
  return message.empty() ? "unknown error" : message;
}

double tidy(float value) {
  if (!std::isfinite(value)) return value;
  std::array<char, 64> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), value).ptr;
  double result = 0;
  std::from_chars(digits.begin(), end, result);
  return result;
}

std::vector<double> tidy(std::span<const float> values) {
  std::vector<double> result;
  for (const float value : values) result.push_back(tidy(value));
  return result;
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e8) return "?";
  const long whole = std::lround(seconds);
  const long hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;
  if (hours > 0) return text("%ld:%02ld:%02ld", hours, minutes, rest);
  return text("%ld:%02ld", minutes, rest);
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> width;
  for (const auto& row : rows) {
    width.resize(std::max(width.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  std::string result;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(width[i] - row[i].size() + 2, ' ');
    }
    result += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return result;
}

}  // namespace softmpc::tools
