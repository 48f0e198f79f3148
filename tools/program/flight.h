// SPDX-License-Identifier: Apache-2.0
// A black box with the bundles that flew.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "softmpc/black_box.h"
#include "softmpc/bundle.h"
#include "softmpc/model.h"

namespace softmpc::tools {

/// Whether the file begins as a black box does.
bool is_black_box(const std::string& path);

/// "record 7".
std::string record_name(std::uint64_t number);

/// A bundle that flew.
struct Flown {
  explicit Flown(const std::string& path);
  std::string path;
  Bundle bundle;
  std::unique_ptr<RewardModel> reward;
  std::map<Precision, std::unique_ptr<Controller>> controllers;
};

class Flight {
 public:
  /// Throws Error that names the file, or where models of the user's own flew, which no bundle
  /// holds.
  Flight(const std::string& path, const std::vector<std::string>& bundles);

  BlackBox box;
  const nlohmann::json header;

  std::string task() const { return header.at("task").get<std::string>(); }
  /// Of the controllers here, which plan with the record's precision.
  ControllerOptions options(const BlackBoxRecord& record) const;
  /// What planned the record. Throws Error where its bundle was not given.
  Flown& flown(const BlackBoxRecord& record);
  Controller& controller(const BlackBoxRecord& record);
  /// The record of this number. Throws Error saying which there are.
  BlackBoxRecord record(std::uint64_t number) const;

 private:
  std::string path_;
  std::map<std::uint64_t, std::unique_ptr<Flown>> flown_;
};

}  // namespace softmpc::tools
