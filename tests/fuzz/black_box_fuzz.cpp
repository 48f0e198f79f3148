// SPDX-License-Identifier: Apache-2.0
// Fuzzes BlackBox and Controller::replay(): what carries right checksums is refused in a line, or
// plans that keep to the bounds are made of it.
#include "control/black_box_format.h"
#include "fuzz/flight_case.h"
#include "softmpc/black_box.h"
#include "softmpc/error.h"

namespace {

using namespace softmpc;
using namespace softmpc::fuzz;

FlightCase& the_case() {
  static FlightCase shared;
  return shared;
}

/// The file that an input stands for (flight_case.h), with its checksums.
std::string file_of(std::span<const std::uint8_t> input) {
  const auto take = [&input](std::size_t most) {
    const auto part = input.first(std::min(most, input.size()));
    input = input.subspan(part.size());
    return part;
  };
  const std::uint8_t kind = take(1)[0];
  std::string text = the_case().header;
  black_box::FileHead head;
  head.record_bytes = the_case().layout.whole;
  if (kind & 2) {
    const auto length = take(2);
    const auto given = take(length.size() < 2 ? 0 : length[0] + 256u * length[1]);
    text.assign(given.begin(), given.end());
  }
  head.text_bytes = text.size();
  if (kind & 1) {  // anything but what makes it a black box
    const auto given = take(sizeof head - 16);
    std::memcpy(reinterpret_cast<char*>(&head) + 16, given.data(), given.size());
  } else {
    head.slots = input.size() / head.record_bytes;
  }
  head.text_checksum = crc32c(text);
  std::string file(black_box::kHeadBytes, '\0');
  std::memcpy(file.data(), &head, sizeof head);
  std::memcpy(file.data() + sizeof head, text.data(),
              std::min(text.size(), file.size() - sizeof head));
  const std::size_t begin = file.size();
  file.append(input.begin(), input.end());
  const black_box::Layout& at = the_case().layout;
  for (std::size_t i = begin; i + at.whole <= file.size(); i += at.whole) {
    const auto sum = black_box::checksum(std::as_bytes(std::span(file).subspan(i, at.whole)), at);
    std::memcpy(file.data() + i, &sum, sizeof sum);
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Controller& controller = the_case().controller;
  try {
    const BlackBox box(file_of({data, size}), "flight");
    for (std::size_t i = 0; i < box.size(); ++i) {
      try {
        const Plan& plan = controller.replay(box[i]);
        if (box[i].timed)
          hold_inside(plan.action, controller.shape().action_low, controller.shape().action_high);
      } catch (const Error& error) {
        hold_one_line(error.what());
      }
    }
  } catch (const Error& error) {
    hold_one_line(error.what());
  }
  return 0;
}
