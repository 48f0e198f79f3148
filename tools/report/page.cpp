// SPDX-License-Identifier: Apache-2.0
#include "report/page.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "page_files.h"
#include "program/console.h"
#include "report/chart_library.h"
#include "report/page_parts.h"
#include "report/words.h"

namespace softmpc::tools::report {
namespace {

// the page may show what it carries and ask for nothing
constexpr const char* kPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "media-src data:";

// of dygraphs, in whose copies the licence asks to stand
constexpr const char* kLicence =
    R"(/* dygraphs 2.2.1, (c) Dan Vanderkam and contributors, MIT licence:
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software
is furnished to do so, subject to the following conditions: The above copyright notice and this permission notice shall be
included in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY
KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY,
WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR
OTHER DEALINGS IN THE SOFTWARE. */
)";

std::string_view embedded(std::string_view name) {
  for (const auto& file : page_files())
    if (name == file.name) return file.text;
  return {};
}

std::string plural(std::size_t count, const std::string& word) {
  return std::to_string(count) + ' ' + word + (count == 1 ? "" : "s");
}

std::string anchor(const std::string& task, const char* part) {
  std::string id;
  for (const char c : task + '-' + part)
    id += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '-';
  return id;
}

std::string headline(const StudyResults& results) {
  std::size_t seeds = 0;
  std::int64_t steps = 0;
  for (const Group& group : results.study.groups) {
    seeds += group.runs.size();
    for (const TrainRun& run : group.runs) steps = std::max(steps, run.last_step);
  }
  std::string line = plural(seeds, "run");
  if (results.study.groups.size() > 1)
    line += " in " + plural(results.study.groups.size(), "group");
  line += ", " + grouped(steps) + " steps";
  if (!results.study.baselines.empty())
    line += ", beside " + plural(results.study.baselines.size(), "baseline");
  return line;
}

/// A heading with its part, or nothing where there is no part.
std::string part(const StudyResults& results, const char* id, const std::string& title,
                 const std::string& html) {
  if (html.empty()) return "";
  return "<h2 id=\"" + anchor(results.study.task, id) + "\">" + title + "</h2>\n" + html;
}

std::string figures_of(const StudyResults& results, std::size_t begin, std::size_t end,
                       std::size_t first, const char* kind) {
  std::string html;
  for (std::size_t i = begin; i < end; ++i) {
    const Figure& one = results.figures[i];
    html += figure(one, first + i, Over::steps);
    if (one.wide && std::isfinite(longest_time(one))) html += figure(one, first + i, Over::time);
  }
  return html.empty() ? "" : text("<div class=\"figures%s\">\n", kind) + html + "</div>\n";
}

std::string curves(const StudyResults& results, std::size_t first, bool switch_here) {
  const bool several = std::ranges::any_of(
      results.study.groups, [](const Group& group) { return group.runs.size() > 1; });
  std::string html =
      several
          ? "<p class=note>Lines are medians over the seeds, bands reach from the 20 % to the 80 % "
            "quantile. Wall clock is what the rates of the train lines add up to, from point to "
            "point at the median "
            "over the seeds; what passed between a stop and a resume is not in it."
            "<span class=live-only>Drag over a chart to zoom, double-click to go back.</span></p>\n"
          : "<p class=note>One seed a group: there is no band to draw. Wall clock is what the "
            "rates "
            "of the train lines add up to."
            "<span class=live-only>Drag over a chart to zoom, double-click to go "
            "back.</span></p>\n";
  if (several && switch_here)
    html += "<label class=switch><input type=checkbox id=seeds> Show each seed</label>\n";
  return html + figures_of(results, 0, results.return_figures, first, "");
}

std::string honesty(const StudyResults& results, std::size_t first) {
  const std::size_t begin = results.return_figures, end = begin + results.value_figures;
  const std::string drawn = figures_of(results, begin, end, first, "");
  if (drawn.empty()) return "";
  return "<p class=note>At the states that training visited: what the planner's soft value V and "
         "the "
         "critic's Q said there, and the discounted return G that then followed. V and Q are soft, "
         "so "
         "the price of departing from the prior is in them and not in G, and G lacks what lies "
         "behind the last step that is known, 5 % of a steady reward at most.</p>\n" +
         value_table(results) + drawn;
}

std::string study_html(const StudyResults& results, std::size_t first, bool switch_here) {
  const std::size_t learning = results.return_figures + results.value_figures;
  return "<section>\n<h1 id=\"" + anchor(results.study.task, "top") + "\">" +
         escaped(results.study.task) + "</h1>\n<p class=soft>" + headline(results) + "</p>\n" +
         cards(results) + part(results, "wrong", "What went wrong", findings(results)) +
         part(results, "curves", "Return", curves(results, first, switch_here)) +
         part(results, "table", "Return at fixed steps", return_table(results)) +
         part(results, "value", "Is the value honest?", honesty(results, first)) +
         part(results, "videos", "Videos", video_strip(results)) +
         part(results, "learning", "Learning",
              figures_of(results, learning, results.figures.size(), first, " small")) +
         part(results, "differences", "What differs between the groups", differences(results)) +
         part(results, "settings", "All settings", all_settings(results)) +
         part(results, "origins", "Where it comes from", origins(results)) + "</section>\n";
}

constexpr const char* kDefinitions = R"(<footer>
<details><summary>How the numbers are made</summary>
<dl>
<dt>Value of a seed at a step</dt><dd>Its latest evaluation at or before that step, as long as that is no older than the interval of evaluations; where a task has runs without evaluations, the median over its latest ten training episodes. Never its best so far. A seed that did not get so far is not counted.</dd>
<dt>20&ndash;80 %</dt><dd>Quantiles over the seeds, interpolated between them.</dd>
<dt>Interquartile mean</dt><dd>Mean without the floor(n/4) least and the floor(n/4) greatest of n seeds.</dd>
<dt>95 % interval</dt><dd>Of the interquartile mean: percentiles under 2,000 resamplings of the seeds, from one fixed random seed, so that this page is reproducible. Few seeds make it too narrow.</dd>
<dt>Stopped</dt><dd>The metrics end more than one log interval before trainer.steps.</dd>
<dt>Relapsed</dt><dd>After its best evaluation a run fell below half of it, and two or more evaluations up to the end stayed below. Half is counted from 0, or from the least return up to the best where that is negative.</dd>
<dt>Diverged</dt><dd>In the last train line that knows it, Q is off by more than 4 times the mean absolute return that followed (q_bias_share).</dd>
<dt>Stands still</dt><dd>A loss is the same number in the last five train lines or more.</dd>
<dt>Pictures</dt><dd>Curves of more than 500 points are thinned; in every stretch the least and the greatest value are kept, so that no peak is lost. Tables and CSV use every point.</dd>
</dl></details>
)";

}  // namespace

std::string page(const std::vector<StudyResults>& studies, const std::string& command) {
  std::string title, body, links;
  std::size_t first = 0;
  for (const StudyResults& results : studies) {
    title += (title.empty() ? "" : ", ") + results.study.task;
    links += "<a href=\"#" + anchor(results.study.task, "top") + "\">" +
             escaped(results.study.task) + "</a>";
    body += study_html(results, first, body.find("id=seeds") == std::string::npos);
    first += results.figures.size();
  }
  const ChartLibrary charts = chart_library();
  std::string html =
      "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
      "<meta http-equiv=Content-Security-Policy content=\"";
  html += kPolicy;
  html += "\">\n<meta name=viewport content=\"width=device-width, initial-scale=1\">\n<title>" +
          escaped(title) +
          " \u2013 softmpc report</title>\n<link rel=icon href=\"data:,\">\n<style>\n";
  html.append(charts.style)
      .append(embedded("page.css"))
      .append("</style>\n</head>\n<body>\n<main>\n");
  if (studies.size() > 1) html += "<nav>" + links + "</nav>\n";
  html += body + kDefinitions;
  if (!charts.missing.empty()) html.append("<p>").append(charts.missing).append("</p>\n");
  html += "<p>Made by softmpc " SOFTMPC_VERSION " with</p><pre>" + escaped(command) +
          "</pre>\n</footer>\n</main>\n<script type=\"application/json\" id=data>" +
          page_data(studies) + "</script>\n";
  if (charts.script.empty()) return html + "</body>\n</html>\n";
  html.append("<script>").append(kLicence).append(charts.script).append("</script>\n<script>\n");
  return html.append(embedded("page.js")).append("</script>\n</body>\n</html>\n");
}

}  // namespace softmpc::tools::report
