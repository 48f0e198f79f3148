// SPDX-License-Identifier: Apache-2.0
#include "program/flight.h"

#include <array>
#include <cinttypes>
#include <fstream>

#include "control/black_box_format.h"
#include "program/command.h"
#include "program/console.h"
#include "program/task_models.h"
#include "softmpc/error.h"

namespace softmpc::tools {

bool is_black_box(const std::string& path) {
  std::array<char, black_box::kMagic.size()> magic{};
  std::ifstream(path, std::ios::binary).read(magic.data(), magic.size());
  return magic == black_box::kMagic;
}

std::string record_name(std::uint64_t number) { return text("record %" PRIu64, number); }

Flown::Flown(const std::string& file)
    : path(file), bundle(load_bundle(file)), reward(reward_of(bundle, file)) {}

Flight::Flight(const std::string& path, const std::vector<std::string>& bundles)
    : box(path), header(nlohmann::json::parse(box.header())), path_(path) {
  for (const char* own : {"own_dynamics", "own_value"})
    if (header.at("options").at(own).get<bool>())
      throw Error(path +
                  ": was planned with a model of the user's own, which no bundle holds; "
                  "Controller::replay makes it again");
  for (const std::string& run : bundles) {
    auto flown = std::make_unique<Flown>(bundle_path(run));
    const std::uint64_t hash = bundle_hash(flown->bundle);
    flown_[hash] = std::move(flown);
  }
}

ControllerOptions Flight::options(const BlackBoxRecord& record) const {
  ControllerOptions options = box.options();
  options.precision = record.precision;
  return options;
}

Flown& Flight::flown(const BlackBoxRecord& record) {
  const auto found = flown_.find(record.plan.bundle_hash);
  if (found == flown_.end())
    throw Error(path_ + ": " + record_name(record.number) +
                text(" was planned by bundle %08" PRIx64, record.plan.bundle_hash) +
                ", which --bundle does not give");
  return *found->second;
}

Controller& Flight::controller(const BlackBoxRecord& record) {
  Flown& nets = flown(record);
  auto& controller = nets.controllers[record.precision];
  if (!controller)
    controller = std::make_unique<Controller>(nets.bundle, nets.reward.get(), options(record));
  return *controller;
}

BlackBoxRecord Flight::record(std::uint64_t number) const {
  for (std::size_t i = 0; i < box.size(); ++i)
    if (box[i].number == number) return box[i];
  if (box.size() == 0) throw Error(path_ + ": holds no record");
  throw Error(path_ + ": " + record_name(number) +
              text(" is not there, it holds %" PRIu64 " to %" PRIu64, box[0].number,
                   box[box.size() - 1].number));
}

}  // namespace softmpc::tools
