// SPDX-License-Identifier: Apache-2.0
// What a verification found: per quantity the largest error, as a multiple of its tolerance.
#include "verify/verify_report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "program/console.h"
#include "softmpc/error.h"

namespace softmpc::tools {

Tolerance read_tolerance(const JsonNode& node) {
  const Tolerance tolerance{node.at("abs").number(), node.at("rel").number()};
  if (tolerance.absolute < 0) node.at("abs").fail("is negative");
  if (tolerance.relative < 0) node.at("rel").fail("is negative");
  return tolerance;
}

const Task& recorded_task(const JsonNode& document) {
  const JsonNode name = document.at("task");
  try {
    return find_task(name.string());
  } catch (const UsageError& error) {
    throw Error(document.source() + ": 'task': " + error.what());
  }
}

Quantity& VerifyReport::quantity(std::string_view name) {
  for (Quantity& known : quantities_) {
    if (known.name == name) return known;
  }
  quantities_.push_back({std::string(name), 0, 0, {}});
  return quantities_.back();
}

double VerifyReport::note(std::string_view name, double computed, double recorded,
                          Tolerance tolerance) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double error = std::abs(computed - recorded);
  if (std::isnan(error)) error = kInfinity;
  Quantity& worst = quantity(name);
  worst.error = std::max(worst.error, error);
  if (error == 0) return 0;
  const double limit = tolerance.absolute + tolerance.relative * std::abs(recorded);
  return limit > 0 ? error / limit : kInfinity;
}

bool VerifyReport::passed() const {
  return std::all_of(quantities_.begin(), quantities_.end(),
                     [](const Quantity& quantity) { return quantity.of_limit <= 1; });
}

std::string VerifyReport::worst() const {
  const auto found = std::max_element(
      quantities_.begin(), quantities_.end(),
      [](const Quantity& a, const Quantity& b) { return a.of_limit < b.of_limit; });
  if (found == quantities_.end()) return "nothing compared";
  return text("%s is %.3g times its tolerance at %s", found->name.c_str(), found->of_limit,
              found->where.c_str());
}

}  // namespace softmpc::tools
