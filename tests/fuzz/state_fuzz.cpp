// SPDX-License-Identifier: Apache-2.0
// Fuzzes Controller::load_state(): whatever carries a right checksum is refused, and nothing has
// changed, or it is loaded, and plans are plans.
#include <cmath>

#include "control/loop_state.h"
#include "fuzz/state_case.h"
#include "io/crc32c.h"

namespace {

using namespace softmpc;
using namespace softmpc::fuzz;

StateCase& the_case() {
  static StateCase shared;
  return shared;
}

std::size_t which(const std::uint8_t* data) { return data[0] % 2; }

void repair(std::uint8_t* state, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(state, size));
  const std::uint32_t checksum = crc32c(bytes.subspan(sizeof(SavedHeader)));
  std::memcpy(state + offsetof(SavedHeader, checksum), &checksum, sizeof checksum);
}

void play(Controller& controller, Nanoseconds time) {
  const std::vector<float> x = {0.2f, -0.3f, 0.4f}, bad = {0, NAN, 0};
  for (const Nanoseconds tick : {Nanoseconds(0), time, Nanoseconds(0)})
    for (const auto& state : {x, bad}) {
      const Plan& plan = controller.plan({.observation = state, .state_time = tick});
      hold_inside(plan.action, controller.shape().action_low, controller.shape().action_high);
      hold(plan.from_fallback == !usable(plan.status), "a fallback is what is not usable");
    }
  hold(controller.load_state(StateCase::saved(controller)), "what is saved can be loaded");
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (size <= kStateAt) return size;
  // of the right length, or nothing else is tried
  const std::size_t wanted =
      kStateAt + the_case().controllers[which(data)].state_size() + (seed % 50 == 0);
  if (size != wanted && wanted <= most) {
    if (size < wanted) std::memset(data + size, 0, wanted - size);
    size = wanted;
  }
  if (size >= kStateAt + sizeof(SavedHeader)) repair(data + kStateAt, size - kStateAt);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kStateAt) return 0;
  Controller& controller = the_case().controllers[which(data)];
  std::int64_t time = 0;
  std::memcpy(&time, data + 1, sizeof time);
  const auto state = std::as_bytes(std::span(data, size).subspan(kStateAt));
  const std::vector<std::byte> before = StateCase::saved(controller);
  if (controller.load_state(state)) {
    hold(std::ranges::equal(StateCase::saved(controller), state), "a state is loaded whole");
    play(controller, Nanoseconds(time));
    hold(controller.load_state(before), "the state of before can be loaded");
  } else {
    hold(StateCase::saved(controller) == before, "a refused state changes nothing");
  }
  return 0;
}
