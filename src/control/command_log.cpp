// SPDX-License-Identifier: Apache-2.0
#include "control/command_log.h"

#include <algorithm>

#include "finite.h"

namespace softmpc {

void CommandLog::add(std::int64_t time, std::span<const float> action) {
  times[ring.next] = time;
  std::ranges::copy(action, actions.begin() + static_cast<std::ptrdiff_t>(ring.next) * nu_);
  ring.next = (ring.next + 1) % capacity();
  ring.count = std::min(ring.count + 1, capacity());
}

void CommandLog::take(const CommandLog& other) {
  clear();
  for (int k = std::min(other.ring.count, capacity()) - 1; k >= 0; --k)
    add(other.times[other.slot(k)], other.action(other.slot(k)));
}

std::span<const float> CommandLog::last() const {
  return ring.count == 0 ? std::span<const float>() : action(slot(0));
}

std::span<const float> CommandLog::at(std::int64_t time) const {
  for (int k = 0; k < ring.count; ++k)
    if (times[slot(k)] <= time || k + 1 == ring.count) return action(slot(k));
  return {};
}

bool CommandLog::valid() const {
  return ring.count >= 0 && ring.count <= capacity() && ring.next >= 0 && ring.next < capacity() &&
         all_finite(actions);
}

}  // namespace softmpc
