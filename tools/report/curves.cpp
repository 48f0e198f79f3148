// SPDX-License-Identifier: Apache-2.0
#include "report/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "program/statistics.h"

namespace softmpc::tools::report {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kEpisodes = 10;  // as the progress line of `train`
constexpr std::int64_t kTableSteps[] = {5000,   10000,  20000,  30000,  50000,
                                        100000, 200000, 300000, 500000, 1000000};

Series series_of(const TrainRun& run, std::int64_t valid_for) {
  return {run.label, {}, std::max<std::int64_t>(valid_for, 1), run.last_step, &run};
}

/// Every step at which some seed has a point of its own.
std::set<std::int64_t> all_steps(const std::vector<Series>& series) {
  std::set<std::int64_t> steps;
  for (const Series& one : series)
    for (const Point& point : one.points)
      if (std::isfinite(point.value)) steps.insert(point.step);
  return steps;
}

/// What the seeds with a value at `step` took to get there from `before`, at the median.
double median_seconds(const std::vector<Series>& series, std::int64_t before, std::int64_t step) {
  std::vector<double> seconds;
  for (const Series& one : series) {
    if (one.run == nullptr || !one.at(step)) continue;
    const double took = one.run->seconds_at(step) - one.run->seconds_at(before);
    if (std::isfinite(took)) seconds.push_back(took);
  }
  return median(seconds);
}

}  // namespace

std::optional<Point> Series::at(std::int64_t step) const {
  const auto after = std::ranges::upper_bound(points, step, {}, &Point::step);
  if (after == points.begin() || step > last_step) return std::nullopt;
  const Point& point = *(after - 1);
  if (step - point.step >= valid_for || !std::isfinite(point.value)) return std::nullopt;
  return point;
}

std::vector<Series> evaluation_series(const Group& group) {
  std::vector<Series> all;
  for (const TrainRun& run : group.runs) {
    Series& one = all.emplace_back(series_of(run, run.setting("trainer.eval_interval", 1)));
    for (const Evaluation& evaluation : run.evaluations)
      one.points.push_back({evaluation.step, evaluation.mean});
  }
  return all;
}

std::vector<Series> training_series(const Group& group, std::int64_t interval) {
  std::vector<Series> all;
  for (const TrainRun& run : group.runs) {
    Series& one = all.emplace_back(series_of(run, interval));
    std::vector<double> returns;
    std::size_t next = 0;
    for (std::int64_t step = interval; step < run.last_step + interval; step += interval) {
      const std::int64_t at = std::min(step, run.last_step);
      for (; next < run.episodes.size() && run.episodes[next].step <= at; ++next)
        if (std::isfinite(run.episodes[next].value)) returns.push_back(run.episodes[next].value);
      if (returns.empty()) continue;
      const auto latest = static_cast<std::ptrdiff_t>(std::min(kEpisodes, returns.size()));
      one.points.push_back({at, median({returns.end() - latest, returns.end()})});
    }
  }
  return all;
}

std::vector<Series> value_series(const Group& group, const std::string& value) {
  std::vector<Series> all;
  for (const TrainRun& run : group.runs) {
    const auto found = run.train.find(value);
    if (found == run.train.end()) continue;
    all.push_back(series_of(run, run.setting("trainer.log_interval", 1)));
    all.back().points = found->second;
  }
  return all;
}

std::vector<Series> sum_series(const Group& group, const std::string& a, const std::string& b) {
  std::vector<Series> all = value_series(group, a);
  for (Series& one : all) {
    const auto found = one.run->train.find(b);
    std::vector<Point> sums;
    for (const Point& point : one.points) {
      if (found == one.run->train.end()) break;
      const auto other = std::ranges::lower_bound(found->second, point.step, {}, &Point::step);
      if (other != found->second.end() && other->step == point.step)
        sums.push_back({point.step, point.value + other->value});
    }
    one.points = std::move(sums);
  }
  std::erase_if(all, [](const Series& one) { return one.points.empty(); });
  return all;
}

std::vector<Series> baseline_series(const Baseline& baseline) {
  std::vector<Series> all;
  std::int64_t gap = 1;
  for (std::size_t k = 1; k < baseline.steps.size(); ++k)
    gap = std::max(gap, baseline.steps[k] - baseline.steps[k - 1]);
  for (std::size_t i = 0; i < baseline.returns.size(); ++i) {
    Series& one = all.emplace_back(
        Series{"row " + std::to_string(i), {}, gap, baseline.steps.back(), nullptr});
    for (std::size_t k = 0; k < baseline.steps.size(); ++k)
      one.points.push_back({baseline.steps[k], baseline.returns[i][k]});
  }
  return all;
}

Curve curve_of(const std::string& name, const std::vector<Series>& series) {
  Curve curve{.name = name};
  for (const Series& one : series) curve.lines.push_back({one.label, {}});
  std::int64_t before = 0;
  double seconds = 0;
  for (const std::int64_t step : all_steps(series)) {
    std::vector<double> values;
    for (std::size_t i = 0; i < series.size(); ++i) {
      const auto point = series[i].at(step);
      curve.lines[i].values.push_back(point ? point->value : kNan);
      if (point) values.push_back(point->value);
    }
    const auto [low, high] = band(values);
    curve.steps.push_back(static_cast<double>(step));
    seconds += median_seconds(series, before, step);  // seeds that end leave no jump
    before = step;
    curve.seconds.push_back(seconds);
    curve.median.push_back(median(values));
    curve.low.push_back(low);
    curve.high.push_back(high);
    curve.seeds.push_back(static_cast<int>(values.size()));
  }
  return curve;
}

std::vector<std::size_t> picture_points(const std::vector<const std::vector<double>*>& lines,
                                        std::size_t most) {
  const std::size_t n = lines.front()->size();
  std::vector<bool> kept(n, n <= most);
  const std::size_t stretches = std::max<std::size_t>(most / (2 * lines.size()), 1);
  for (std::size_t s = 0; n > most && s < stretches; ++s) {
    const std::size_t begin = s * n / stretches, end = (s + 1) * n / stretches;
    for (const std::vector<double>* line : lines) {
      std::size_t least = end, greatest = end;
      for (std::size_t i = begin; i < end; ++i) {
        if (!std::isfinite((*line)[i])) continue;
        if (least == end || (*line)[i] < (*line)[least]) least = i;
        if (greatest == end || (*line)[i] > (*line)[greatest]) greatest = i;
      }
      if (least < end) kept[least] = kept[greatest] = true;
    }
  }
  std::vector<std::size_t> points;
  for (std::size_t i = 0; i < n; ++i)
    if (kept[i] || i == 0 || i + 1 == n) points.push_back(i);
  return points;
}

namespace {

/// Empty where no seed has a value at that step.
std::optional<Row> row_at(const std::string& name, const std::vector<Series>& series,
                          std::int64_t step) {
  Row row{.group = name, .step = step, .evaluated = step};
  for (const Series& one : series) {
    const auto point = one.at(step);
    if (!point) continue;
    if (row.values.empty() || point->value < row.worst) {
      row.worst = point->value;
      row.worst_seed = one.label;
    }
    row.baseline = one.run == nullptr;
    row.evaluated = std::min(row.evaluated, point->step);
    row.values.push_back(point->value);
  }
  if (row.values.empty()) return std::nullopt;
  row.median = median(row.values);
  std::tie(row.low, row.high) = band(row.values);
  row.mean = mean(row.values);
  row.interquartile = interquartile_mean(row.values);
  row.interval = bootstrap_interval(row.values);
  return row;
}

}  // namespace

std::vector<Row> table_of(const std::string& name, const std::vector<Series>& series) {
  std::vector<Row> rows;
  std::set<std::int64_t> steps(std::begin(kTableSteps), std::end(kTableSteps));
  const std::set<std::int64_t> own = all_steps(series);
  if (!own.empty()) steps.insert(*own.rbegin());
  for (const std::int64_t step : steps)
    if (auto row = row_at(name, series, step)) rows.push_back(std::move(*row));
  return rows;
}

Returns returns_of(const Study& study) {
  Returns returns;
  std::int64_t longest = 1;
  bool evaluated = true;
  for (const Group& group : study.groups) {
    for (const TrainRun& run : group.runs) {
      evaluated = evaluated && !run.evaluations.empty();
      longest = std::max(longest, run.last_step);
    }
  }
  returns.evaluated = evaluated;
  // some hundred points, at 1, 2 or 5 times a power of ten
  for (std::int64_t unit = 1; returns.interval == 0; unit *= 10)
    for (const std::int64_t step : {unit, 2 * unit, 5 * unit})
      if (returns.interval == 0 && step * 100 >= longest) returns.interval = step;
  for (const Group& group : study.groups)
    returns.groups.push_back(returns.evaluated ? evaluation_series(group)
                                               : training_series(group, returns.interval));
  return returns;
}

}  // namespace softmpc::tools::report
