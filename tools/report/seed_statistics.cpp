// SPDX-License-Identifier: Apache-2.0
#include "report/seed_statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>

#include "program/statistics.h"

namespace softmpc::tools::report {
namespace {

constexpr int kResamples = 2000;

/// Start of the Mersenne twister as its authors' init_by_array({0}) makes it, which is Python's
/// random.Random(0): tables of bench/learning and of reports then agree to the digit.
struct PythonSeed {
  using result_type = std::uint32_t;

  // the engine asks for its 624 words at once
  template <class Iterator>
  void generate(Iterator begin, Iterator end) const {
    constexpr std::size_t n = 624;
    std::array<std::uint32_t, n> x{};
    x[0] = 19650218;
    for (std::uint32_t i = 1; i < n; ++i) x[i] = 1812433253u * (x[i - 1] ^ (x[i - 1] >> 30)) + i;
    std::size_t i = 1;
    const auto mix = [&](std::uint32_t factor, auto change) {
      x[i] = change(x[i] ^ ((x[i - 1] ^ (x[i - 1] >> 30)) * factor));
      if (++i == n) {
        x[0] = x[n - 1];
        i = 1;
      }
    };
    for (std::size_t k = 0; k < n; ++k) mix(1664525u, [](std::uint32_t v) { return v; });
    for (std::size_t k = 1; k < n; ++k)
      mix(1566083941u, [&i](std::uint32_t v) { return v - static_cast<std::uint32_t>(i); });
    x[0] = 0x80000000u;
    std::copy_n(x.begin(), std::min<std::size_t>(n, end - begin), begin);
  }
};

/// Uniform in [0, 1) with 53 bits, as Python draws it.
double uniform(std::mt19937& engine) {
  const auto high = static_cast<double>(engine() >> 5), low = static_cast<double>(engine() >> 6);
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

}  // namespace

double quantile(std::vector<double> values, int part, int parts) {
  std::ranges::sort(values);
  const auto span = static_cast<std::int64_t>(values.size() - 1) * part;
  const auto at = static_cast<std::size_t>(span / parts);
  if (at + 1 >= values.size()) return values.back();
  const auto rest = static_cast<double>(span % parts), whole = static_cast<double>(parts);
  return (values[at] * (whole - rest) + values[at + 1] * rest) / whole;
}

Range band(const std::vector<double>& values) {
  return {quantile(values, 1, 5), quantile(values, 4, 5)};
}

double interquartile_mean(std::vector<double> values) {
  std::ranges::sort(values);
  const auto cut = static_cast<std::ptrdiff_t>(values.size() / 4);
  return mean({values.begin() + cut, values.end() - cut});
}

std::optional<Range> bootstrap_interval(const std::vector<double>& values) {
  if (values.size() < 2) return std::nullopt;
  PythonSeed seed;
  std::mt19937 engine(seed);
  std::vector<double> statistics, sample(values.size());
  for (int i = 0; i < kResamples; ++i) {
    for (double& value : sample)
      value =
          values[static_cast<std::size_t>(uniform(engine) * static_cast<double>(sample.size()))];
    statistics.push_back(interquartile_mean(sample));
  }
  return Range{quantile(statistics, 1, 40), quantile(statistics, 39, 40)};
}

}  // namespace softmpc::tools::report
