// SPDX-License-Identifier: Apache-2.0
#include "verify/verify_black_box.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "program/console.h"
#include "program/task_models.h"
#include "softmpc/black_box.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr Tolerance kValue = {1e-3, 1e-3};
constexpr double kAction = 0.01;  // of the range

/// A bundle that flew.
struct Flown {
  Flown(const std::string& path) : bundle(load_bundle(path)), reward(reward_of(bundle, path)) {}
  Bundle bundle;
  std::unique_ptr<RewardModel> reward;
  std::map<Precision, std::unique_ptr<Controller>> controllers;
};

std::string where(const BlackBoxRecord& record) { return text("record %" PRIu64, record.number); }

class Flight {
 public:
  Flight(const BlackBox& box, const std::vector<std::string>& paths)
      : box_(box), header_(nlohmann::json::parse(box.header())) {
    for (const char* own : {"own_dynamics", "own_value"})
      if (header_.at("options").at(own).get<bool>())
        throw Error(
            "was planned with a model of the user's own, which no bundle holds; "
            "Controller::replay makes it again");
    for (const std::string& path : paths) {
      auto flown = std::make_unique<Flown>(path);
      const std::uint64_t hash = bundle_hash(flown->bundle);
      flown_[hash] = std::move(flown);
    }
  }
  std::string task() const { return header_.at("task").get<std::string>(); }
  bool on_cpu() const { return header_.at("device") == "cpu"; }

  /// That planned the record.
  Controller& controller(const BlackBoxRecord& record) {
    const auto found = flown_.find(record.plan.bundle_hash);
    if (found == flown_.end())
      throw Error(where(record) +
                  text(" was planned by bundle %08" PRIx64, record.plan.bundle_hash) +
                  ", which --bundle does not give");
    Flown& flown = *found->second;
    auto& controller = flown.controllers[record.precision];
    if (!controller) {
      ControllerOptions options = box_.options();
      options.precision = record.precision;
      controller = std::make_unique<Controller>(flown.bundle, flown.reward.get(), options);
    }
    return *controller;
  }

 private:
  const BlackBox& box_;
  nlohmann::json header_;
  std::map<std::uint64_t, std::unique_ptr<Flown>> flown_;
};

/// What rounding may change.
void compare_coarsely(const BlackBoxRecord& record, const Plan& again, const ProblemShape& shape,
                      VerifyReport& report) {
  const auto at = [&] { return where(record); };
  report.compare_exactly("status", record.plan.status == again.status, at);
  if (!(std::isnan(record.plan.value) && std::isnan(again.value)))
    report.compare("value", again.value, record.plan.value, kValue, at);
  for (std::size_t i = 0; i < again.action.size(); ++i) {
    const double range = static_cast<double>(shape.action_high[i]) - shape.action_low[i];
    const double unit = std::isfinite(range) ? range : 1;
    report.compare("action", again.action[i] / unit, record.plan.action[i] / unit, {kAction, 0},
                   at);
  }
}

}  // namespace

bool is_black_box(const std::string& path) {
  std::string magic(8, '\0');
  std::ifstream(path, std::ios::binary).read(magic.data(), 8);
  return magic == "SMPCBOX\n";
}

VerifyReport verify_black_box(const std::string& path, const std::vector<std::string>& bundles) {
  VerifyReport report;
  report.file = path;
  report.kind = "black box";
  try {
    const BlackBox box(path);
    Flight flight(box, bundles);
    report.task = flight.task();
    const bool exact = box.of_this_program() && flight.on_cpu();
    std::size_t equal = 0;
    for (std::size_t i = 0; i < box.size(); ++i) {
      const BlackBoxRecord record = box[i];
      Controller& controller = flight.controller(record);
      const Plan& again = controller.replay(record);
      const bool same = same_bits(record, again);
      equal += same;
      if (exact)
        report.compare_exactly("bits", same, [&] { return where(record); });
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
