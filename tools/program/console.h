// SPDX-License-Identifier: Apache-2.0
// What every subcommand prints through: checked output, one-line errors, numbers as text.
#pragma once

#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace softmpc::tools {

/// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

/// Writes to standard output at once. A reader that went away is no error, so that a training run
/// outlives the `head` it was piped into; a full disk is one.
void write_out(std::string_view bytes);
/// Writes what only shows progress: once that fails, no more of it, for a run goes on without.
void show_out(std::string_view bytes);
/// Says on standard error why progress fell silent, if it did.
void report_silence();
bool out_is_terminal();
int terminal_width();

/// `softmpc: error: message` as one line on standard error.
void print_error(std::string_view message);
/// `softmpc: warning: message`, likewise.
void print_warning(std::string_view message);
/// First sentence of an exception: one line, without the backtrace that some libraries append.
std::string one_line(const std::exception& error);

/// The double with the shortest text that reads back as this float: 0.1, not 0.10000000149.
double tidy(float value);
std::vector<double> tidy(std::span<const float> values);
/// "1:02:03", "2:03"; "?" if not finite or absurd.
std::string duration(double seconds);
/// Lines up columns of cells; the first row is the heading.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace softmpc::tools
