// SPDX-License-Identifier: Apache-2.0
#include "video/episode_video.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <numeric>

#include "program/command.h"
#include "program/console.h"
#include "program/stop_signal.h"
#include "softmpc/error.h"
#include "train/train_progress.h"
#include "train/training.h"

namespace softmpc::tools {
namespace {

constexpr double kFastest = 50;  // frames per second; more are not seen, and a GIF has no more
constexpr int kSmallest = 16, kLargest = 4096;  // pixels

void read_size(const std::string& text, VideoFormat& format) {
  if (text.empty()) return;
  const std::size_t cross = text.find('x');
  const auto side = [&](std::string_view digits, int& pixels) {
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), pixels);
    return fault == std::errc{} && end == digits.data() + digits.size() && pixels >= kSmallest &&
           pixels <= kLargest && pixels % 2 == 0;
  };
  const std::string_view all = text;
  if (cross == std::string::npos || !side(all.substr(0, cross), format.width) ||
      !side(all.substr(cross + 1), format.height))
    throw UsageError("--size: '" + text + "' must be WIDTHxHEIGHT, each an even number of pixels " +
                     "from 16 to 4096");
}

double read_speed(const std::string& text) {
  if (text.empty()) return 1;
  double speed = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), speed);
  if (fault != std::errc{} || end != text.data() + text.size() || !(speed >= 0.01 && speed <= 100))
    throw UsageError("--speed: '" + text + "' must be a number from 0.01 to 100");
  return speed;
}

bool read_quality(const std::string& text) {
  if (!text.empty() && text != "good" && text != "draft")
    throw UsageError("--quality: '" + text + "' must be good or draft");
  return text != "draft";
}

std::string read_episode(const std::string& text, int episodes) {
  if (text.empty()) return "best";
  if (text == "best" || text == "median" || text == "worst") return text;
  try {
    whole_number("--episode", text, 0, episodes - 1);
  } catch (const UsageError&) {
    throw UsageError("--episode: '" + text + "' must be best, median, worst, or 0 to " +
                     std::to_string(episodes - 1) + ", one of those played");
  }
  return text;
}

/// How far the recording is: a bar on a terminal, a line every ten seconds elsewhere.
class FrameProgress {
 public:
  FrameProgress(int frames, bool quiet) : frames_(frames), quiet_(quiet) {}
  void show(int done) {
    using Seconds = std::chrono::duration<double>;
    const auto now = Clock::now();
    const double wait = out_is_terminal() ? 0.1 : 10;
    if (quiet_ || Seconds(now - shown_).count() < wait) return;
    shown_ = now;
    const double left = Seconds(now - begin_).count() * (frames_ - done) / std::max(done, 1);
    const std::string words =
        text("video: frame %d of %d, %s left", done, frames_, duration(left).c_str());
    if (out_is_terminal()) {
      line_.show(progress_bar(static_cast<double>(done) / frames_, words) + words);
    } else {
      show_out(words + '\n');
    }
  }
  void clear() { line_.clear(); }

 private:
  using Clock = std::chrono::steady_clock;
  int frames_;
  bool quiet_;
  Clock::time_point begin_ = Clock::now(), shown_ = begin_;
  StatusLine line_;
};

}  // namespace

EpisodeVideo::EpisodeVideo(const VideoOptions& options, const Bundle& bundle,
                           const std::string& path, int episodes)
    : bundle_(bundle),
      path_(path),
      file_(options.file),
      episode_(read_episode(options.episode, episodes)) {
  read_size(options.size, format_);
  const double speed = read_speed(options.speed);
  const bool good = read_quality(options.quality);
  const OverlayParts parts = overlay_parts(options.overlay.empty() ? "all" : options.overlay);
  check_video(file_);
  try {
    const Task& task = find_task(bundle.task);
    const TaskOptions variant = task_options(bundle.environment);
    const TaskSpec spec = task.spec(variant);
    stride_ = std::max(1, static_cast<int>(std::ceil(speed / (spec.dt * kFastest) - 1e-6)));
    format_.rate = speed / (spec.dt * stride_);
    renderer_ = task.make_renderer(variant, {format_.width, format_.height, good});
    overlay_ = std::make_unique<PlanOverlay>(bundle, task, *renderer_, parts);
  } catch (const UsageError& error) {
    throw Error(path + ": " + error.what());  // the bundle is wrong, not the command line
  }
}

EpisodeVideo::~EpisodeVideo() = default;

int EpisodeVideo::choose(const std::vector<double>& returns) const {
  if (episode_ != "best" && episode_ != "median" && episode_ != "worst")
    return static_cast<int>(whole_number("--episode", episode_, 0, 1 << 30));
  std::vector<int> order(returns.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int a, int b) { return returns[a] > returns[b]; });
  if (episode_ == "best") return order.front();
  return episode_ == "worst" ? order.back() : order[order.size() / 2];
}

VideoReport EpisodeVideo::record(const PlayOptions& played, const std::vector<double>& returns,
                                 const std::vector<int>& lengths, bool quiet) {
  catch_stop_signals(2);
  VideoReport report{choose(returns), 0, format_};
  const auto chosen = static_cast<std::size_t>(report.episode);
  const auto file = create_video(file_, format_);
  std::vector<std::uint8_t> rgb(std::size_t{3} * format_.width * format_.height);
  FrameProgress progress((lengths[chosen] + stride_ - 1) / stride_, quiet);
  PlayOptions again = played;
  again.first = report.episode;
  again.episodes = 1;
  again.start = (*played.starts)[chosen];
  again.starts = nullptr;
  again.on_step = [&](const PlayStep& step) {
    if (stop_requested().load()) throw Error(file_ + ": stopped, nothing was written");
    if (step.step % stride_ != 0) return;
    Picture picture;
    overlay_->add(step, picture);
    renderer_->draw(picture, rgb);
    file->add(rgb);
    progress.show(++report.frames);
  };
  std::vector<int> length;
  const std::vector<double> total = play_bundle(bundle_, path_, again, length);
  if (total != std::vector<double>{returns[chosen]})
    throw Error(text("%s: episode %d, played again, returned %.9g in place of %.9g", file_.c_str(),
                     report.episode, total.at(0), returns[chosen]));
  file->finish();
  progress.clear();
  return report;
}

}  // namespace softmpc::tools
