// SPDX-License-Identifier: Apache-2.0
#include "report/page_data.h"

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "program/console.h"
#include "report/picture.h"

namespace softmpc::tools::report {
namespace {

using Json = nlohmann::ordered_json;

/// Of five digits where not exact; null where not finite.
Json as_json(double value, bool exact) {
  if (!std::isfinite(value)) return nullptr;
  return exact ? value : std::strtod(text("%.5g", value).c_str(), nullptr);
}

Json as_json(const std::vector<double>& values, const std::vector<std::size_t>& points, bool exact,
             double unit = 1) {
  Json list = Json::array();
  for (const std::size_t i : points) list.push_back(as_json(values[i] / unit, exact));
  return list;
}

Json seed_line(const Curve& curve, const SeedLine& line, const std::vector<std::size_t>& points,
               const Figure& figure, double unit) {
  Json result = {{"name", line.label}};
  if (points.size() == curve.steps.size()) {
    result["values"] = as_json(line.values, points, figure.wide);
    return result;
  }
  const auto own = picture_points({&line.values}, kMostPoints / 2);  // its own peaks
  result["steps"] = as_json(curve.steps, own, true);
  if (figure.wide) result["time"] = as_json(curve.seconds, own, false, unit);
  result["values"] = as_json(line.values, own, figure.wide);
  return result;
}

Json as_json(const Figure& figure, const Curve& curve, int colour, double unit) {
  const auto points = picture_points({&curve.median, &curve.low, &curve.high}, kMostPoints);
  Json lines = Json::array();
  for (const SeedLine& line : curve.lines)
    lines.push_back(seed_line(curve, line, points, figure, unit));
  Json result = {{"name", curve.name},
                 {"colour", colour % kColours},
                 {"baseline", curve.baseline},
                 {"steps", as_json(curve.steps, points, true)},
                 {"median", as_json(curve.median, points, figure.wide)},
                 {"low", as_json(curve.low, points, figure.wide)},
                 {"high", as_json(curve.high, points, figure.wide)},
                 {"lines", lines}};
  if (figure.wide) result["time"] = as_json(curve.seconds, points, false, unit);
  return result;
}

Json as_json(const std::string& task, const Figure& figure) {
  const TimeUnit unit = time_unit(longest_time(figure));
  const auto [low, high] = vertical_range(figure);
  Json curves = Json::array();
  for (std::size_t i = 0; i < figure.curves.size(); ++i)
    curves.push_back(as_json(figure, figure.curves[i], figure.colours[i], unit.seconds));
  return {{"task", task},          {"key", figure.key},
          {"title", figure.title}, {"logarithmic", figure.logarithmic},
          {"unit", unit.name},     {"range", {as_json(low, false), as_json(high, false)}},
          {"curves", curves}};
}

Json as_json(const std::string& task, const Row& row) {
  Json result = {{"task", task},
                 {"group", row.group},
                 {"step", row.step},
                 {"evaluated", row.evaluated},
                 {"seeds", row.values.size()},
                 {"median", row.median},
                 {"low", row.low},
                 {"high", row.high},
                 {"mean", row.mean},
                 {"interquartile_mean", row.interquartile},
                 {"interval", nullptr},
                 {"worst", row.worst},
                 {"worst_seed", row.worst_seed}};
  if (row.interval) result["interval"] = {row.interval->first, row.interval->second};
  return result;
}

}  // namespace

StudyResults results_of(Study study) {
  StudyResults results{.study = std::move(study)};
  const Study& s = results.study;
  results.returns = returns_of(s);
  for (std::size_t i = 0; i < s.groups.size(); ++i)
    for (Row& row : table_of(s.groups[i].name, results.returns.groups[i]))
      results.table.push_back(std::move(row));
  for (const Baseline& baseline : s.baselines)
    for (Row& row : table_of(baseline.name, baseline_series(baseline)))
      results.table.push_back(std::move(row));
  const auto append = [&](std::vector<Figure> figures) {
    for (Figure& figure : figures) results.figures.push_back(std::move(figure));
    return results.figures.size();
  };
  results.return_figures = append(return_figures(s, results.returns));
  results.value_figures = append(value_figures(s)) - results.return_figures;
  append(learning_figures(s));
  return results;
}

std::string page_data(const std::vector<StudyResults>& studies) {
  Json table = Json::array(), figures = Json::array();
  for (const StudyResults& results : studies) {
    for (const Row& row : results.table) table.push_back(as_json(results.study.task, row));
    for (const Figure& figure : results.figures)
      figures.push_back(as_json(results.study.task, figure));
  }
  const std::string dumped = Json{{"table", table}, {"figures", figures}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  for (const char c : dumped) safe += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return safe;
}

}  // namespace softmpc::tools::report
