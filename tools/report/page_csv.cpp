// SPDX-License-Identifier: Apache-2.0
// Writes what a page shows as CSV, for other programs.
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>

#include "io/atomic_file.h"
#include "program/console.h"
#include "report/page_data.h"
#include "softmpc/error.h"

namespace softmpc::tools::report {
namespace {

/// A field in quotes where it needs them.
std::string field(const std::string& words) {
  if (words.find_first_of(",\"\n\r") == std::string::npos) return words;
  std::string quoted = "\"";
  for (const char c : words) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

/// The shortest text that reads back as this number; empty where not finite.
std::string field(double value) {
  std::array<char, 32> digits{};
  if (!std::isfinite(value)) return "";
  return {digits.data(), std::to_chars(digits.begin(), digits.end(), value).ptr};
}

std::string curve_rows(const Curve& curve) {
  std::string rows;
  for (std::size_t i = 0; i < curve.steps.size(); ++i) {
    const std::string begin = field(curve.name) + ',' + text("%.0f", curve.steps[i]) + ',' +
                              field(curve.seconds[i]) + ',';
    rows += begin + ',' + std::to_string(curve.seeds[i]) + ',' + field(curve.median[i]) + ',' +
            field(curve.low[i]) + ',' + field(curve.high[i]) + '\n';
    for (const SeedLine& line : curve.lines)
      if (std::isfinite(line.values[i]))
        rows += begin + field(line.label) + ",1," + field(line.values[i]) + ",,\n";
  }
  return rows;
}

std::string table_rows(const StudyResults& results) {
  std::string rows;
  for (const Row& row : results.table) {
    rows += field(results.study.task) + ',' + field(row.group) + ',' + std::to_string(row.step) +
            ',' + std::to_string(row.evaluated) + ',' + std::to_string(row.values.size());
    for (const double value : {row.median, row.low, row.high, row.mean, row.interquartile,
                               row.interval ? row.interval->first : NAN,
                               row.interval ? row.interval->second : NAN, row.worst})
      rows += ',' + field(value);
    rows += ',' + field(row.worst_seed) + '\n';
  }
  return rows;
}

std::string file_name(const std::string& words) {
  std::string name;
  for (const char c : words)
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.'
                ? c
                : '-';
  return name;
}

}  // namespace

void write_csv(const std::string& folder, const std::vector<StudyResults>& studies) {
  std::error_code fault;
  std::filesystem::create_directory(folder, fault);
  if (fault || !std::filesystem::is_directory(folder, fault))
    throw Error(folder +
                ": cannot create the folder of --csv: " + (fault ? fault.message() : "is a file"));
  std::string table =
      "task,group,step,evaluated_at,seeds,median,q20,q80,mean,interquartile_mean,interval_low,"
      "interval_high,worst,worst_seed\n";
  std::set<std::string> used;
  for (const StudyResults& results : studies) {
    table += table_rows(results);
    for (const Figure& figure : results.figures) {
      const std::string wanted = file_name(results.study.task + '-' + figure.key);
      std::string name = wanted;
      for (int i = 2; !used.insert(name).second; ++i) name = wanted + '-' + std::to_string(i);
      std::string rows = "group,step,seconds,seed,seeds,value,q20,q80\n";
      for (const Curve& curve : figure.curves) rows += curve_rows(curve);
      write_file_atomically(folder + '/' + name + ".csv", rows);
    }
  }
  write_file_atomically(folder + "/table.csv", table);
}

}  // namespace softmpc::tools::report
