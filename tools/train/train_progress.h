// SPDX-License-Identifier: Apache-2.0
// How a training run shows itself: one line that renews itself on a terminal, plain lines
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <set>
#include <string>

#include "softmpc/train/trainer.h"

namespace softmpc::tools {

enum class ProgressStyle { bar, lines, silent };

/// A bar that fills what `text` leaves of the terminal's line: [#####.....]; none if that is
/// little.
std::string progress_bar(double share, const std::string& text);

/// The line of a terminal that is written over and over.
class StatusLine {
 public:
  ~StatusLine();
  void show(const std::string& line);
  /// Ends the line, if one stands; what follows starts on a new one.
  void finish();
  /// Takes the line away, if one stands.
  void clear();

 private:
  bool shown_ = false;
};

class TrainProgress final : public TrainObserver {
 public:
  TrainProgress(ProgressStyle style, std::int64_t steps);

  void on_episode(const EpisodeEnd& episode) override;
  void on_train(const TrainReport& report) override;
  void on_eval(const EvalReport& report) override;
  void on_step(std::int64_t step) override;
  void finish() { line_.finish(); }

 private:
  using Clock = std::chrono::steady_clock;

  std::string numbers(std::int64_t step) const;
  void warn(const TrainReport& report);
  void measure(std::int64_t step, Clock::time_point now);

  ProgressStyle style_;
  std::int64_t steps_;
  StatusLine line_;
  std::deque<double> returns_;                                    // last ten
  std::deque<std::pair<Clock::time_point, std::int64_t>> marks_;  // of the last seconds
  std::set<std::string> warned_;  // names of the last report's warnings
  double rate_ = 0;               // steps per second over marks_
};

}  // namespace softmpc::tools
