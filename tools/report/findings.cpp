// SPDX-License-Identifier: Apache-2.0
#include "report/findings.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "program/console.h"
#include "report/words.h"

namespace softmpc::tools::report {
namespace {

constexpr double kRunaway = 4;          // as the trainer's warning: healthy runs stay below 3
constexpr std::size_t kStandStill = 5;  // lines with one and the same loss

class Judge {
 public:
  Judge(const Group& group, const TrainRun& run) : group_(group), run_(run) {}

  std::vector<Finding> all() {
    files();
    stopped();
    returns();
    relapsed();
    diverged();
    for (const auto& [name, points] : run_.train)
      if (name.ends_with("_loss")) loss(name, points);
    warnings();
    return std::move(found_);
  }

 private:
  void say(Severity severity, std::string sentence) {
    found_.push_back({severity, group_.name, run_.label, std::move(sentence)});
  }

  void files() {
    if (run_.cut)
      say(Severity::note, "the last line of metrics.jsonl is cut; everything up to step " +
                              grouped(run_.last_step) + " is used");
    if (run_.last_step == 0) say(Severity::fault, "metrics.jsonl has no line yet");
    if (run_.last_step > 0 && run_.evaluations.empty())
      say(Severity::note,
          "has no evaluations (trainer.eval_interval): this task is judged by training returns");
  }

  void stopped() {
    const std::int64_t planned = run_.setting("trainer.steps", 0);
    const std::int64_t line = run_.setting("trainer.log_interval", 1);
    if (run_.last_step == 0 || run_.last_step + line > planned) return;
    say(Severity::warning, text("stopped at step %s of %s, or is still running; --resume goes on",
                                grouped(run_.last_step).c_str(), grouped(planned).c_str()));
  }

  void returns() {
    const auto lost = [](double value) { return !std::isfinite(value); };
    const auto episodes = std::ranges::count_if(run_.episodes, lost, &Point::value);
    const auto evaluations = std::ranges::count_if(run_.evaluations, lost, &Evaluation::mean);
    if (evaluations > 0) {
      const auto first = std::ranges::find_if(run_.evaluations, lost, &Evaluation::mean);
      say(Severity::fault,
          text("%td of %zu evaluations have a return that is not finite, first at step %s; they "
               "are left out of curves and table",
               evaluations, run_.evaluations.size(), grouped(first->step).c_str()));
    }
    if (episodes > 0) {
      const auto first = std::ranges::find_if(run_.episodes, lost, &Point::value);
      say(Severity::fault,
          text("%td of %zu training episodes have a return that is not finite, first at step %s; "
               "they are left out",
               episodes, run_.episodes.size(), grouped(first->step).c_str()));
    }
  }

  void relapsed() {
    std::vector<Point> points;
    for (const Evaluation& evaluation : run_.evaluations)
      if (std::isfinite(evaluation.mean)) points.push_back({evaluation.step, evaluation.mean});
    if (points.size() < 2) return;
    const auto best = std::ranges::max_element(points, {}, &Point::value);
    double floor = 0;
    for (auto point = points.begin(); point != best; ++point) floor = std::min(floor, point->value);
    const double half = floor + (best->value - floor) / 2;
    if (!(best->value > floor)) return;
    auto below = points.end();
    while (below - 1 > best && (below - 1)->value < half) --below;
    const auto stayed = points.end() - below;
    if (stayed == 0) return;
    const std::string best_text = number(best->value) + " at step " + grouped(best->step);
    if (stayed == 1) {
      say(Severity::warning, "its last evaluation (" + number(below->value) +
                                 ") is below half of its best (" + best_text +
                                 "): one alone does not say whether that stays");
    } else {
      say(Severity::fault,
          text("relapsed: below half of its best (%s) from step %s to the end, where it has %s",
               best_text.c_str(), grouped(below->step).c_str(),
               number(points.back().value).c_str()));
    }
  }

  void diverged() {
    const auto found = run_.train.find("q_bias_share");
    if (found == run_.train.end() || found->second.empty()) return;
    const Point last = found->second.back();
    if (!(std::abs(last.value) > kRunaway)) return;
    say(Severity::fault, text("diverged: at step %s Q is off by %.3g times the mean discounted "
                              "return that followed",
                              grouped(last.step).c_str(), std::abs(last.value)));
  }

  void loss(const std::string& name, const std::vector<Point>& points) {
    const auto lost = [](const Point& point) { return !std::isfinite(point.value); };
    const auto count = std::ranges::count_if(points, lost);
    if (count > 0) {
      const auto first = std::ranges::find_if(points, lost);
      say(Severity::fault, text("%s is not finite in %td of %zu train lines, first at step %s",
                                name.c_str(), count, points.size(), grouped(first->step).c_str()));
    }
    auto same = points.rbegin();
    while (same != points.rend() && same->value == points.back().value) ++same;
    if (same - points.rbegin() >= static_cast<std::ptrdiff_t>(kStandStill))
      say(Severity::fault, text("%s stands still: %.6g in each of the last %td train lines",
                                name.c_str(), points.back().value, same - points.rbegin()));
  }

  /// Each of the trainer's own warnings once, as it was last worded.
  void warnings() {
    std::map<std::string, std::vector<const RunWarning*>> by_name;
    for (const RunWarning& warning : run_.warnings)
      by_name[warning.text.substr(0, warning.text.find(':'))].push_back(&warning);
    for (const auto& [name, list] : by_name)
      say(Severity::warning, text("training warned %zu times from step %s to %s; last: %s",
                                  list.size(), grouped(list.front()->step).c_str(),
                                  grouped(list.back()->step).c_str(), list.back()->text.c_str()));
  }

  const Group& group_;
  const TrainRun& run_;
  std::vector<Finding> found_;
};

void judge_group(const Group& group, std::vector<Finding>& found) {
  if (group.runs.size() == 1)
    found.push_back({Severity::note, group.name, "",
                     "has one seed: no band and no interval can be drawn, and what another seed "
                     "would give is unknown"});
  std::map<std::string, std::set<std::string>> values;
  for (const TrainRun& run : group.runs)
    for (const auto& [key, value] : run.settings) values[key].insert(value);
  std::string differing;
  for (const auto& [key, different] : values)
    if (key != "trainer.seed" && different.size() > 1)
      differing += (differing.empty() ? "" : ", ") + key;
  if (!differing.empty())
    found.push_back({Severity::warning, group.name, "",
                     "its runs differ in more than their seed: " + differing});
}

}  // namespace

std::vector<Finding> findings_of(const Group& group, const TrainRun& run) {
  return Judge(group, run).all();
}

std::vector<Finding> findings_of(const Study& study) {
  std::vector<Finding> found;
  for (const Group& group : study.groups) {
    judge_group(group, found);
    for (const TrainRun& run : group.runs) {
      std::vector<Finding> of_run = findings_of(group, run);
      found.insert(found.end(), of_run.begin(), of_run.end());
    }
  }
  std::ranges::stable_sort(found, [](const Finding& a, const Finding& b) {
    return static_cast<int>(a.severity) > static_cast<int>(b.severity);
  });
  return found;
}

}  // namespace softmpc::tools::report
