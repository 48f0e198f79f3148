// SPDX-License-Identifier: Apache-2.0
// Curves over seeds, and the numbers of the table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/groups.h"
#include "report/seed_statistics.h"

namespace softmpc::tools::report {

/// One seed's numbers, from which its value at any step follows.
struct Series {
  std::string label{};
  std::vector<Point> points{};    ///< by step
  std::int64_t valid_for = 1;     ///< steps that a point stands for, from its own on
  std::int64_t last_step = 0;     ///< of the run: it has no value behind
  const TrainRun* run = nullptr;  ///< for the clock; null for baselines

  /// The latest point at or before a step: never an earlier, better one. Empty where that point is
  /// too old or not finite, or the run did not get so far.
  std::optional<Point> at(std::int64_t step) const;
};

std::vector<Series> evaluation_series(const Group& group);
/// Training: the median over each seed's latest ten episodes, every `interval` steps.
std::vector<Series> training_series(const Group& group, std::int64_t interval);
/// A value of the train lines; empty where no run has it.
std::vector<Series> value_series(const Group& group, const std::string& value);
std::vector<Series> baseline_series(const Baseline& baseline);
/// value "a" plus value "b" of the same train line.
std::vector<Series> sum_series(const Group& group, const std::string& a, const std::string& b);

struct SeedLine {
  std::string label{};
  std::vector<double> values{};  ///< [n], NaN: none
};

/// Median and 20-80 band over the seeds that have a value at each step.
struct Curve {
  std::string name{};
  bool baseline = false;
  std::vector<double> steps{}, seconds{};       ///< [n]; seconds: what the seeds took from step
                                                ///< to step at the median, added up; NaN if unknown
  std::vector<double> median{}, low{}, high{};  ///< [n]
  std::vector<int> seeds{};                     ///< [n]
  std::vector<SeedLine> lines{};                ///< one a seed

  bool empty() const { return steps.empty(); }
};
Curve curve_of(const std::string& name, const std::vector<Series>& series);

/// Positions of at most about `most` points which keep the first, the last and in each stretch
/// between the least and the greatest of each of these lines, so that no peak is lost.
std::vector<std::size_t> picture_points(const std::vector<const std::vector<double>*>& lines,
                                        std::size_t most);

/// A line of the table.
struct Row {
  std::string group{};
  bool baseline = false;
  std::int64_t step = 0;
  std::int64_t evaluated = 0;    ///< the oldest step that a value is from
  std::vector<double> values{};  ///< one a seed
  double median = 0, low = 0, high = 0, mean = 0, interquartile = 0, worst = 0;
  std::optional<Range> interval{};
  std::string worst_seed{};
};
/// At 5, 10, 20, 30, 50, 100, 200, 300, 500 thousand and a million steps, as far as the runs got,
/// and at their last value.
std::vector<Row> table_of(const std::string& name, const std::vector<Series>& series);

/// The returns that a study is judged by: evaluations if every run has them, else training.
struct Returns {
  bool evaluated = false;
  std::int64_t interval = 0;  ///< of the training curve
  std::vector<std::vector<Series>> groups{};
};
Returns returns_of(const Study& study);

}  // namespace softmpc::tools::report
