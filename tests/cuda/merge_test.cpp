// SPDX-License-Identifier: Apache-2.0
// Tests for kernels/merge.cuh on the emulated device: two parts of a solve become one, written
// plainly, for parts of every kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/random_models.h"
#include "device_arrays.h"
#include "kernels/policy_job.h"
#include "kernels/train_memory.h"
#include "test_device.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Random;
using testing::read;
using testing::test_device;
using testing::upload;

/// A part of a solve: how it ended and what it found.
ProblemResult random_part(Random& random) {
  ProblemResult r = {random.real(-3, 3), random.real(1, 20), random.real(0, 1), kOk, 0};
  const int kind = random.whole(0, 5);
  if (kind == 0) r.status = kAllInvalid;
  if (kind > 1) return r;
  if (random.coin()) {
    r.value = random.coin() ? std::nan("") : -std::numeric_limits<double>::infinity();
    r.status = kNotFinite;
  }
  return r;
}

bool counts(const ProblemResult& part, const ProblemResult& other) {
  if (!std::isfinite(part.value)) return false;
  return part.status != kAllInvalid || other.status == kAllInvalid || !std::isfinite(other.value);
}

/// Solves in two parts, and what became of them.
struct MergeCase {
  static constexpr int problems = 150, nu = 2, plan = 70;
  static constexpr double lambda = 0.7;
  std::vector<float> low = {-0.5f, -1}, high = {0.5f, 0.2f}, neutral = {0, -0.3f};
  std::vector<ProblemResult> parts, merged;
  std::vector<float> given, refined, u, action;

  explicit MergeCase(Random& random)
      : given(random.normals(problems * plan)), refined(random.normals(2 * problems * plan)) {
    for (int i = 0; i < 2 * problems; ++i) {
      parts.push_back(random_part(random));
      if (!std::isfinite(parts[i].value))  // what a part without weight may hold
        refined[static_cast<std::size_t>(i) * plan] = std::nanf("");
    }
  }

  void run(Device& device) {
    const auto device_low = upload(device, low), device_high = upload(device, high);
    const auto device_neutral = upload(device, neutral), device_given = upload(device, given);
    const auto device_refined = upload(device, refined);
    const auto device_parts = upload(device, parts);
    const auto plans = upload(device, std::vector<float>(given.size()));
    const auto actions = upload(device, std::vector<float>(problems * nu));
    const auto results = upload(device, std::vector<ProblemResult>(problems));
    const MergeJob job = {problems,
                          nu,
                          plan,
                          lambda,
                          device_low->as<float>(),
                          device_high->as<float>(),
                          device_neutral->as<float>(),
                          device_given->as<float>(),
                          device_refined->as<float>(),
                          device_parts->as<ProblemResult>(),
                          plans->as<float>(),
                          actions->as<float>(),
                          results->as<ProblemResult>()};
    const auto kernel = device.load({.call = "merge_parts",
                                     .header = "merge.cuh",
                                     .job = "MergeJob",
                                     .threads = kTrainThreads});
    device.launch(*kernel, {.blocks = parts_of(problems, kTrainWarps), .threads = kTrainThreads},
                  job);
    u = read(device, job.refined, given.size());
    action = read(device, job.action, problems * nu);
    merged.resize(problems);
    device.download(merged.data(), results->data(), results->size());
    device.synchronise();
  }

  void expect(int b) const {
    const ProblemResult &first = parts[b], &second = parts[problems + b], &out = merged[b];
    const double w0 = counts(first, second) ? std::exp(first.value / lambda) : 0;
    const double w1 = counts(second, first) ? std::exp(second.value / lambda) : 0;
    const double p0 = w0 / (w0 + w1), p1 = w1 / (w0 + w1);
    EXPECT_EQ(out.status, w1 > w0 ? second.status : first.status);
    EXPECT_NEAR(out.valid_share, (first.valid_share + second.valid_share) / 2, 1e-12);
    if (w0 + w1 > 0) {
      EXPECT_NEAR(out.value, lambda * std::log((w0 + w1) / 2), 1e-9);
      EXPECT_NEAR(1 / out.effective_samples,
                  p0 * p0 / first.effective_samples + p1 * p1 / second.effective_samples, 1e-9);
    } else {
      EXPECT_FALSE(std::isfinite(out.value));
    }
    for (int i = 0; i < plan; ++i) {
      const std::size_t at = static_cast<std::size_t>(b) * plan + i;
      double expected = 0;
      if (w0 > 0) expected += p0 * refined[at];
      if (w1 > 0) expected += p1 * refined[at + static_cast<std::size_t>(problems) * plan];
      if (w0 + w1 == 0) expected = given[at];
      ASSERT_NEAR(u[at], expected, 1e-6);
      if (i >= nu) continue;
      EXPECT_NEAR(action[b * nu + i],
                  std::clamp(expected + neutral[i], 1.0 * low[i], 1.0 * high[i]), 1e-6);
    }
  }
};

TEST(MergeParts, JoinAsOneSolveWould) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const auto device = test_device();
  MergeCase c(random);
  c.run(*device);
  for (int b = 0; b < c.problems; ++b) {
    SCOPED_TRACE("problem " + std::to_string(b));
    c.expect(b);
  }
}

}  // namespace
}  // namespace softmpc::cuda
