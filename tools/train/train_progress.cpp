// SPDX-License-Identifier: Apache-2.0
// How a training run shows itself: one line that renews itself on a terminal, plain lines
// elsewhere.
#include "train/train_progress.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "program/console.h"
#include "program/statistics.h"
#include "train/metrics_tail.h"

namespace softmpc::tools {
namespace {

constexpr std::size_t kRecent = 10;                 // episodes in the mean
constexpr std::chrono::milliseconds kRefresh{200};  // of the bar
constexpr std::chrono::seconds kWindow{10};         // of the rate
constexpr std::size_t kFewestMarks = 2;

}  // namespace

std::string progress_bar(double share, const std::string& text) {
  constexpr int kLongest = 30, kShortest = 5, kFrame = 4;  // brackets, space, last column
  const int room = terminal_width() - static_cast<int>(text.size()) - kFrame;
  if (room < kShortest) return {};
  const int width = std::min(room, kLongest);
  const int filled = std::clamp(static_cast<int>(std::floor(share * width)), 0, width);
  return "[" + std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(width - filled), '.') + "] ";
}

StatusLine::~StatusLine() { finish(); }

void StatusLine::show(const std::string& line) {
  const auto width = static_cast<std::size_t>(std::max(terminal_width() - 1, 10));
  shown_ = true;
  show_out("\r" + line.substr(0, width) + "\x1b[K");
}

void StatusLine::finish() {
  if (!shown_) return;
  shown_ = false;
  show_out("\n");
}

void StatusLine::clear() {
  if (!shown_) return;
  shown_ = false;
  show_out("\r\x1b[K");
}

TrainProgress::TrainProgress(ProgressStyle style, std::int64_t steps)
    : style_(style), steps_(steps) {}

void TrainProgress::measure(std::int64_t step, Clock::time_point now) {
  marks_.emplace_back(now, step);
  while (marks_.size() > kFewestMarks && now - marks_.front().first > kWindow) marks_.pop_front();
  const std::chrono::duration<double> time = now - marks_.front().first;
  if (time.count() > 0) {
    rate_ = static_cast<double>(step - marks_.front().second) / time.count();
  }
}

std::string TrainProgress::numbers(std::int64_t step) const {
  std::string result =
      text("%lld/%lld  %.0f %%", static_cast<long long>(step), static_cast<long long>(steps_),
           100.0 * static_cast<double>(step) / static_cast<double>(steps_));
  if (!returns_.empty()) {
    result += text("  return %.1f (mean %.1f)", returns_.back(),
                   mean({returns_.begin(), returns_.end()}));
  }
  const double left = rate_ > 0 ? static_cast<double>(steps_ - step) / rate_
                                : std::numeric_limits<double>::infinity();
  return result + text("  %.0f steps/s  left %s", rate_, duration(left).c_str());
}

void TrainProgress::on_episode(const EpisodeEnd& episode) {
  returns_.push_back(episode.episode_return);
  if (returns_.size() > kRecent) returns_.pop_front();
}

/// Each warning when it comes up, not while it lasts.
void TrainProgress::warn(const TrainReport& report) {
  std::set<std::string> names;
  for (const std::string& warning : report.warnings) {
    const std::string name = warning_name(warning);
    names.insert(name);
    if (warned_.contains(name)) continue;
    line_.finish();
    print_warning(text("step %lld: ", static_cast<long long>(report.step)) + warning);
  }
  warned_ = std::move(names);
}

void TrainProgress::on_train(const TrainReport& report) {
  warn(report);
  if (style_ != ProgressStyle::lines) return;
  measure(report.step, Clock::now());
  show_out("step " + numbers(report.step) + '\n');
}

void TrainProgress::on_eval(const EvalReport& report) {
  if (style_ == ProgressStyle::silent) return;
  line_.finish();
  show_out(text("eval at step %lld: mean %.1f over %zu episodes\n",
                static_cast<long long>(report.step), mean(report.returns), report.returns.size()));
}

void TrainProgress::on_step(std::int64_t step) {
  if (style_ == ProgressStyle::silent) return;
  const auto now = Clock::now();
  if (marks_.empty()) measure(step, now);  // where this process began
  if (style_ != ProgressStyle::bar) return;
  if (now - marks_.back().first < kRefresh && step != steps_) return;
  measure(step, now);
  const std::string line = numbers(step);
  line_.show(progress_bar(static_cast<double>(step) / static_cast<double>(steps_), line) + line);
}

}  // namespace softmpc::tools
