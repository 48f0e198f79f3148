// SPDX-License-Identifier: Apache-2.0
#include "verify/verify_black_box.h"

#include <cmath>

#include "program/console.h"
#include "program/flight.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr Tolerance kValue = {1e-3, 1e-3};
constexpr double kAction = 0.01;  // of the range

/// What rounding may change.
void compare_coarsely(const BlackBoxRecord& record, const Plan& again, const ProblemShape& shape,
                      VerifyReport& report) {
  const auto at = [&] { return record_name(record.number); };
  report.compare_exactly("status", record.plan.status == again.status, at);
  if (!(std::isnan(record.plan.value) && std::isnan(again.value)))
    report.compare("value", again.value, record.plan.value, kValue, at);
  for (std::size_t i = 0; i < again.action.size(); ++i) {
    const double range = static_cast<double>(shape.action_high[i]) - shape.action_low[i];
    const double unit = std::isfinite(range) && range > 0 ? range : 1;
    report.compare("action", again.action[i] / unit, record.plan.action[i] / unit, {kAction, 0},
                   at);
  }
}

}  // namespace

VerifyReport verify_black_box(const std::string& path, const std::vector<std::string>& bundles) {
  VerifyReport report;
  report.file = path;
  report.kind = "black box";
  try {
    Flight flight(path, bundles);
    const BlackBox& box = flight.box;
    report.task = flight.task();
    const bool exact = box.of_this_program() && flight.header.at("device") == "cpu";
    std::size_t equal = 0;
    for (std::size_t i = 0; i < box.size(); ++i) {
      const BlackBoxRecord record = box[i];
      Controller& controller = flight.controller(record);
      const Plan& again = controller.replay(record);
      const bool same = same_bits(record, again);
      equal += same;
      if (exact)
        report.compare_exactly("bits", same, [&] { return record_name(record.number); });
      else
        compare_coarsely(record, again, controller.shape(), report);
    }
    report.remark = text("%zu records, %zu of them made again to the bit", box.size(), equal);
    if (box.damaged() > 0) report.remark += text("; %zu were cut off or damaged", box.damaged());
    if (!exact) report.remark += "; recorded by another program or device: rounding may differ";
  } catch (const std::exception& error) {
    const std::string message = error.what();
    throw Error(message.starts_with(path) ? message : path + ": " + message);
  }
  return report;
}

}  // namespace softmpc::tools
