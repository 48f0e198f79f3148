// SPDX-License-Identifier: Apache-2.0
#include "report/page_parts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "program/console.h"
#include "program/statistics.h"
#include "report/findings.h"
#include "report/repeat.h"
#include "report/videos.h"
#include "report/words.h"

namespace softmpc::tools::report {
namespace {

std::string cells(const char* kind, const std::vector<std::string>& texts) {
  std::string html;
  for (const std::string& words : texts) html += text("<%s>", kind) + words + text("</%s>", kind);
  return html;
}

std::string between(const Range& range) {
  return number(range.first) + " to " + number(range.second);
}

std::string colour_of(const StudyResults& results, const std::string& group, bool baseline) {
  if (baseline) return "cb";
  const auto found = std::ranges::find(results.study.groups, group, &Group::name);
  return "c" + std::to_string((found - results.study.groups.begin()) % kColours);
}

std::string mark(const std::string& colour) {
  return "<svg class=swatch viewBox=\"0 0 30 10\" aria-hidden=true><g class=" + colour +
         "><path class=l d=\"M1 5H29\"/></g></svg>";
}

}  // namespace

std::string cards(const StudyResults& results) {
  std::string html;
  std::map<std::string, const Row*> last;
  for (const Row& one : results.table) last[one.group] = &one;
  std::set<std::string> done;
  for (const Row& one : results.table) {
    if (!done.insert(one.group).second) continue;
    const Row& end = *last[one.group];
    html += "<div class=\"card " + colour_of(results, one.group, end.baseline) +
            "\"><span class=name>" + escaped(one.group) + "</span><b>" + number(end.interquartile) +
            "</b><span>" +
            (end.values.size() > 1 ? text("interquartile mean of %zu seeds", end.values.size())
                                   : std::string("one seed")) +
            " at " + grouped(end.step) + " steps</span><span>" +
            (end.interval ? "95 % interval " + between(*end.interval) : "no interval: one seed") +
            "</span></div>";
  }
  return html.empty() ? "" : "<div class=cards>" + html + "</div>\n";
}

std::string findings(const StudyResults& results) {
  static constexpr const char* kClass[] = {"noted", "warning", "fault"};
  std::string html;
  bool faults = false;
  for (const Finding& finding : findings_of(results.study)) {
    faults = faults || finding.severity != Severity::note;
    html += text("<li class=%s><b>", kClass[static_cast<int>(finding.severity)]) +
            escaped(finding.group + (finding.run.empty() ? "" : ", " + finding.run)) + "</b> " +
            escaped(finding.text) + "</li>\n";
  }
  if (!faults)
    html =
        "<li class=fine><b>Nothing.</b> No run stopped early, diverged or relapsed, no loss or "
        "return was not finite, and training warned of nothing.</li>\n" +
        html;
  return "<ul class=findings>\n" + html + "</ul>\n";
}

std::string figure(const Figure& figure, std::size_t index, Over over) {
  const char* const axis = over == Over::steps ? "steps" : "time";
  std::string html = "<figure><figcaption><h3>" + escaped(figure.title) +
                     (figure.wide ? over == Over::steps ? " over steps" : " over wall clock" : "") +
                     (figure.logarithmic ? " <span class=note>(logarithmic)</span>" : "") +
                     "</h3><span class=note>" + escaped(figure.note) + "</span></figcaption>" +
                     text("<div class=plot data-figure=%zu data-over=%s>", index, axis) +
                     picture(figure, over) + "</div><ul class=legend>";
  for (std::size_t i = 0; i < figure.curves.size(); ++i)
    html += "<li>" + swatch(figure, i) + escaped(figure.curves[i].name) + "<output></output></li>";
  return html + "</ul></figure>\n";
}

std::string return_table(const StudyResults& results) {
  std::map<std::int64_t, std::vector<const Row*>> by_step;
  for (const Row& one : results.table) by_step[one.step].push_back(&one);
  if (by_step.empty()) return "<p>No run has a return yet.</p>\n";
  std::string html =
      results.returns.evaluated
          ? "<p class=note>Evaluation returns, each seed's mean over the episodes of one "
            "evaluation.</p>\n"
          : "<p class=note>Training returns, since not every run has evaluations: each "
            "seed's median over its latest ten episodes.</p>\n";
  html +=
      "<div class=scroll><table><thead><tr><th>steps</th><th class=t>group</th><th>median</th>"
      "<th>20\u201380 %</th><th>mean</th><th>interquartile mean</th><th>95 % interval</th>"
      "<th>worst seed</th><th>seeds</th></tr></thead>";
  for (const auto& [step, rows] : by_step) {
    html += "<tbody>";
    for (const Row* one : rows) {
      const std::string at =
          one->evaluated < step ? " <span class=note>(" + grouped(one->evaluated) + ")</span>" : "";
      const bool band = one->values.size() > 1;
      html += "<tr><th>" + grouped(step) + at + "</th><td class=t>" +
              mark(colour_of(results, one->group, one->baseline)) + escaped(one->group) +
              "</td><td>" + number(one->median) + "</td><td>" +
              (band ? between({one->low, one->high}) : "one seed") + "</td><td>" +
              number(one->mean) + "</td><td>" + number(one->interquartile) + "</td><td>" +
              (one->interval ? between(*one->interval) : "one seed") + "</td><td>" +
              number(one->worst) + " <span class=note>" + escaped(one->worst_seed) +
              "</span></td><td>" + std::to_string(one->values.size()) + "</td></tr>";
    }
    html += "</tbody>\n";
  }
  return html + "</table></div>\n";
}

namespace {

/// Mean of the medians over the last quarter of a curve's steps.
double late_mean(const Curve& curve) {
  std::vector<double> values;
  for (std::size_t i = 0; i < curve.steps.size(); ++i)
    if (curve.steps[i] > 0.75 * curve.steps.back()) values.push_back(curve.median[i]);
  return mean(values);
}

std::string off_by(double value, double truth) {
  const double share = (value - truth) / std::abs(truth);
  return std::isfinite(share) ? text("%s%.1f %%", share < 0 ? "\u2212" : "+", 100 * std::abs(share))
                              : "\u2013";
}

std::string verdict(double value, double truth) {
  const double share = (value - truth) / std::abs(truth);
  if (!std::isfinite(share)) return "not known";
  if (std::abs(share) <= 0.1) return "yes, within 10 %";
  return std::abs(share) <= 0.3 ? (share < 0 ? "somewhat low" : "somewhat high")
                                : (share < 0 ? "no, far too low" : "no, far too high");
}

}  // namespace

std::string value_table(const StudyResults& results) {
  std::string html = "<div class=scroll><table><thead><tr><th class=t>group</th>" +
                     cells("th", {"return that followed, G", "soft value V", "off by", "critic Q",
                                  "off by", "V is honest"}) +
                     "</tr></thead><tbody>";
  for (std::size_t i = 0; i < results.value_figures; ++i) {
    const Figure& one = results.figures[results.return_figures + i];
    const double truth = late_mean(one.curves[0]);
    double v = NAN, q = NAN;
    for (const Curve& curve : one.curves) {
      if (curve.name.starts_with("soft")) v = late_mean(curve);
      if (curve.name.starts_with("critic")) q = late_mean(curve);
    }
    html += "<tr><td class=t>" + escaped(one.title) + "</td>" +
            cells("td", {number(truth), number(v), off_by(v, truth), number(q), off_by(q, truth),
                         verdict(v, truth)}) +
            "</tr>";
  }
  return html +
         "</tbody></table></div>\n<p class=note>Medians over the seeds, their mean over the last "
         "quarter of the steps.</p>\n";
}

std::string video_strip(const StudyResults& results) {
  std::uintmax_t room = kMostVideoBytes;
  std::string shown, named;
  for (const Group& group : results.study.groups) {
    for (const TrainRun& run : group.runs) {
      for (const Video& video : videos_of(run.path, room)) {
        const std::string name = video.path.substr(video.path.rfind('/') + 1);
        const std::string source = "data:" + video.media + ";base64," + video.data;
        if (video.data.empty()) {
          named += "<li><code>" + escaped(video.path) + "</code>, " +
                   text("%.1f MB</li>", static_cast<double>(video.bytes) / 1e6);
          continue;
        }
        shown += "<figure>" +
                 (video.media.starts_with("video/")
                      ? "<video controls muted loop playsinline src=\"" + source + "\"></video>"
                      : "<img alt=\"" + escaped(name) + "\" src=\"" + source + "\">") +
                 "<figcaption class=note>" + escaped(group.name + ", " + run.label + ": " + name) +
                 "</figcaption></figure>\n";
      }
    }
  }
  if (!shown.empty()) shown = "<div class=videos>\n" + shown + "</div>\n";
  if (!named.empty())
    shown += "<p>Too large for this page, which carries what it shows:</p><ul>" + named + "</ul>\n";
  return shown;
}

}  // namespace softmpc::tools::report
