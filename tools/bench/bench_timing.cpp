// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "program/statistics.h"
#include "train/training.h"

namespace softmpc::tools {
namespace {

constexpr double kProductSeconds = 0.01;
constexpr std::size_t kRounds = 20;

double last(const std::vector<double>& values) { return values.empty() ? 0 : values.back(); }

/// A case while it is timed.
struct Running {
  const Timed& timed;
  Timing timing;
  double spent = 0;       // seconds
  std::size_t taken = 0;  // samples

  bool done(const Budget& budget) const {
    if (budget.samples > 0) return taken >= budget.samples;
    return taken >= Budget::kMost || (taken >= Budget::kLeast && spent >= budget.seconds);
  }

  /// A part of the samples; returns seconds.
  double sample(const Budget& budget) {
    const std::size_t part = std::max<std::size_t>(1, budget.samples / kRounds);
    const std::size_t begin = taken;
    const double limit = budget.samples > 0 ? 0 : budget.seconds / kRounds;
    double part_spent = 0;
    do {
      const double start = now();
      timed.run();
      const double seconds = now() - start;
      timing.us.push_back(seconds * 1e6);
      part_spent += seconds;
      ++taken;
    } while (!finished(budget) && (budget.samples > 0 ? taken - begin < part : part_spent < limit));
    spent += part_spent;
    return part_spent;
  }

  bool finished(const Budget& budget) const {
    return taken >= (budget.samples > 0 ? budget.samples : Budget::kMost);
  }
};

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Yardstick::Yardstick(ThreadPool& pool, Precision precision)
    : pool_(pool), precision_(precision), matrix_(pool, precision) {
  // the first products of a process are slow
  matrix_.measure(kProductSeconds);
  library_matrix_rate(pool, precision, 0);
}

void Yardstick::measure() {
  if (const double rate = library_matrix_rate(pool_, precision_, kProductSeconds); rate > 0)
    library_.push_back(rate);
  own_.push_back(matrix_.measure(kProductSeconds));
}

double Yardstick::own() const { return own_.empty() ? 0 : median(own_); }
double Yardstick::library() const { return library_.empty() ? 0 : median(library_); }
double Yardstick::rate() const { return std::max(own(), library()); }
const char* Yardstick::by() const { return library() > own() ? "libtorch" : "softmpc"; }
double Yardstick::latest() const { return last(library() > own() ? library_ : own_); }

Json Yardstick::as_json() const {
  Json result = {{"gflops", rate()}, {"by", by()}, {"softmpc", own()}};
  result["libtorch"] = library_.empty() ? Json(nullptr) : Json(library());
  return result;
}

double Timing::percentile(double p) const {
  if (us.empty()) return std::nan("");
  const auto rank = static_cast<std::size_t>(std::ceil(p * static_cast<double>(us.size())));
  return us[std::clamp<std::size_t>(rank, 1, us.size()) - 1];
}

double Timing::share() const { return median(round_share); }

std::vector<Timing> time_cases(const std::vector<Timed>& cases, Yardstick* yardstick,
                               const Budget& budget) {
  std::vector<Running> running;
  for (const Timed& timed : cases) {
    running.push_back({timed, {}});
    running.back().timing.us.reserve(budget.samples > 0 ? budget.samples : Budget::kMost);
    timed.run();
    timed.run();
  }
  while (true) {
    const auto open = [&](const Running& r) { return !r.done(budget); };
    if (std::none_of(running.begin(), running.end(), open)) break;
    if (yardstick) yardstick->measure();
    for (std::size_t i = 0; i < running.size(); ++i) {
      Running& r = running[i];
      if (r.done(budget)) continue;
      const std::size_t before = r.taken;
      const double seconds = r.sample(budget);
      if (!yardstick) continue;
      const double rate =
          r.timed.work.flops * static_cast<double>(r.taken - before) / seconds * 1e-9;
      r.timing.round_share.push_back(rate / yardstick->latest());
    }
  }
  std::vector<Timing> result;
  for (Running& r : running) {
    std::sort(r.timing.us.begin(), r.timing.us.end());
    r.timing.seconds = r.spent;
    result.push_back(std::move(r.timing));
  }
  return result;
}

Json time_us(const Timing& timing) {
  return {{"p50", timing.percentile(0.5)},
          {"p90", timing.percentile(0.9)},
          {"p99", timing.percentile(0.99)},
          {"p999", timing.percentile(0.999)},
          {"max", timing.percentile(1)}};
}

Json histogram(const Timing& timing) {
  constexpr int kBins = 20;  // a decade
  Json upper = Json::array(), counts = Json::array();
  if (timing.us.empty()) return {{"upper_us", upper}, {"counts", counts}};
  int bin = static_cast<int>(std::floor(kBins * std::log10(std::max(timing.us.front(), 1e-3))));
  std::size_t at = 0;
  while (at < timing.us.size()) {
    const double edge = std::pow(10.0, static_cast<double>(++bin) / kBins);
    const auto end = std::upper_bound(timing.us.begin(), timing.us.end(), edge);
    const auto next = static_cast<std::size_t>(end - timing.us.begin());
    upper.push_back(edge);
    counts.push_back(next - at);
    at = next;
  }
  return {{"upper_us", upper}, {"counts", counts}};
}

void add_timing(Json& result, const Timed& timed, const Timing& timing,
                const Yardstick* yardstick) {
  const Work& work = timed.work;
  result["time_us"] = time_us(timing);
  result["work"] = {{"evals", work.evals}, {"values", work.values}, {"flops", work.flops}};
  const double plans = static_cast<double>(timing.us.size()) / timing.seconds;
  result["plans"] = timing.us.size();
  result["seconds"] = timing.seconds;
  result["plans_per_second"] = plans;
  result["evals_per_second"] = plans * work.evals;
  result["values_per_second"] = plans * work.values;
  if (work.flops == 0) return;
  result["gflops"] = plans * work.flops * 1e-9;
  if (!yardstick) return;
  result["matrix_gflops"] = yardstick->rate();
  result["share"] = timing.share();
}

}  // namespace softmpc::tools
