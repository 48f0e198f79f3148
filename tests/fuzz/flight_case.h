// SPDX-License-Identifier: Apache-2.0
// An input of black_box_fuzz: which parts it holds (1 byte: 1 the head behind its first 16 bytes, 2
// a text with its length in 2 bytes; in the order text, head), then records. What it lacks is
// right.
#pragma once

#include "control/black_box_format.h"
#include "fuzz/fuzz.h"
#include "softmpc/black_box.h"

namespace softmpc::fuzz {

struct FlightCase {
  Bundle bundle = small_bundle(3, 2);
  WeighedReward reward;
  Controller controller{bundle, &reward, {.max_rate = {3, 3}, .want_predicted = true}};
  std::string header, records;  // of a short flight
  black_box::Layout layout{3, 2, bundle.planner.horizon, controller.state_size()};

  FlightCase() {
    const test::TempFolder folder;
    const std::string path = folder.file("flight");
    {
      Controller flown(bundle, &reward,
                       {.max_rate = {3, 3}, .black_box = path + ":1", .want_predicted = true});
      const std::vector<float> bad(3, NAN);
      for (int tick = 0; tick < 6; ++tick) {
        const std::vector<float> x(3, 0.1f * static_cast<float>(tick));
        flown.plan({.observation = tick == 3 ? bad : x,
                    .state_time = std::chrono::milliseconds(5000 + 70 * tick)});
      }
      flown.plan(std::vector<float>(3, 0.5f));
    }
    header = BlackBox(path).header();
    records = read_file(path).substr(black_box::kHeadBytes, 7 * layout.whole);
  }
};

}  // namespace softmpc::fuzz
