// SPDX-License-Identifier: Apache-2.0
// Timing for benchmarks: interleaved rounds of a plain matrix product and the cases, percentiles
// from all samples, latency histograms.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/bench_work.h"
#include "matrix_rate.h"
#include "softmpc/config.h"
#include "softmpc/thread_pool.h"

namespace softmpc::tools {

using Json = nlohmann::ordered_json;

/// What is timed: one call of `run` is one sample.
struct Timed {
  std::function<void()> run;
  Work work;  ///< of one call
};

/// When a case has enough samples: both limits count where both are given.
struct Budget {
  std::size_t samples = 0;  ///< 0: as many as fit into `seconds`
  double seconds = 0;       ///< of one case, used where samples is 0
  static constexpr std::size_t kLeast = 3, kMost = 1'000'000;
};

/// The rate of a plain matrix product on a pool's threads, measured again and again: our kernels,
/// and LibTorch where the program has it.
class Yardstick {
 public:
  Yardstick(ThreadPool& pool, Precision precision);
  /// Measures once more, each kind of product.
  void measure();
  double own() const;      ///< GFLOP/s, median
  double library() const;  ///< GFLOP/s, median; 0 without LibTorch
  double rate() const;     ///< the larger one
  const char* by() const;  ///< whose it is: "softmpc" or "libtorch"
  /// Of the kind that is larger in the median, the latest measurement.
  double latest() const;
  /// {"gflops", "by", "softmpc", "libtorch"}
  Json as_json() const;

 private:
  ThreadPool& pool_;
  Precision precision_;
  MatrixRate matrix_;
  std::vector<double> own_, library_;
};

/// What was measured of one case.
struct Timing {
  std::vector<double> us;           ///< latencies of single calls, sorted
  double seconds = 0;               ///< of all calls together
  std::vector<double> round_share;  ///< per round: rate of the case / rate of the product

  double percentile(double p) const;  ///< nearest rank, p in (0, 1]
  double share() const;               ///< median over rounds
};

/// Times the cases in rounds: in each a plain product, then a part of each case's samples. Each
/// case is warmed up first. `yardstick` may be null.
std::vector<Timing> time_cases(const std::vector<Timed>& cases, Yardstick* yardstick,
                               const Budget& budget);

/// {"p50", "p90", "p99", "p999", "max"} in microseconds.
Json time_us(const Timing& timing);
/// {"upper_us": [...], "counts": [...]}, twenty bins a decade, from the first to the last sample.
Json histogram(const Timing& timing);
/// Adds to `result` what one call takes and does: "time_us" (latencies), "work"; and the throughput
/// of all calls in their total time: "plans", "seconds", "plans_per_second", "evals_per_second",
/// "values_per_second", "gflops", "share".
void add_timing(Json& result, const Timed& timed, const Timing& timing, const Yardstick* yardstick);

/// Seconds of a monotonic clock.
double now();

}  // namespace softmpc::tools
