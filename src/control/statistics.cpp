// SPDX-License-Identifier: Apache-2.0
#include "softmpc/statistics.h"

#include <algorithm>
#include <cmath>

namespace softmpc {
namespace {

constexpr double kPerOctave = 8, kFirst = 1000;  // ns

}  // namespace

void LatencyHistogram::add(std::chrono::nanoseconds duration) noexcept {
  const double ns = std::max(kFirst, static_cast<double>(duration.count()));
  // bucket i ends at kFirst * 2^(i / 8)
  const double bucket = std::ceil(kPerOctave * std::log2(ns / kFirst));
  ++buckets_[static_cast<std::size_t>(std::min(bucket, static_cast<double>(kBuckets - 1)))];
  ++count_;
  longest_ = std::max(longest_, duration);
}

std::chrono::nanoseconds LatencyHistogram::percentile(double share) const noexcept {
  if (count_ == 0) return {};
  const auto wanted = static_cast<std::uint64_t>(
      std::max(1.0, std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i + 1 < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen < wanted) continue;
    const double end = kFirst * std::exp2(static_cast<double>(i) / kPerOctave);
    return std::min(longest_, std::chrono::nanoseconds(static_cast<std::int64_t>(std::ceil(end))));
  }
  return longest_;
}

}  // namespace softmpc
