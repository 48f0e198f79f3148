// SPDX-License-Identifier: Apache-2.0
// A header, whose checksum covers what follows, and the parts as they lie in memory.
#include "control/loop_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "finite.h"
#include "io/crc32c.h"

namespace softmpc {
namespace {

template <class T>
auto one(T& value) {
  static_assert(std::has_unique_object_representations_v<T>, "padding would be saved");
  return std::span<T>(&value, 1);
}

}  // namespace

LoopState::LoopState(const ProblemShape& shape, int horizon, int commands, int count)
    : log(shape.nu, commands),
      sequence(static_cast<std::size_t>(horizon + 1) * shape.nu),
      low(shape.action_low),
      high(shape.action_high),
      parameters(static_cast<std::size_t>(count)),
      nx_(shape.nx),
      nu_(shape.nu),
      horizon_(horizon) {}

template <class Self, class F>
void LoopState::for_each_part(Self& self, const F& f) {
  f(one(self.counts));
  f(one(self.time));
  f(one(self.log.ring));
  f(std::span(self.log.times));
  f(std::span(self.log.actions));
  f(std::span(self.sequence));
  f(std::span(self.low));
  f(std::span(self.high));
  f(std::span(self.parameters));
}

void LoopState::take(const LoopState& other) {
  counts = other.counts;
  time = other.time;
  log.take(other.log);
  std::ranges::copy(other.sequence, sequence.begin());
  std::ranges::copy(other.low, low.begin());
  std::ranges::copy(other.high, high.begin());
  std::ranges::copy(other.parameters, parameters.begin());
}

std::size_t LoopState::bytes() const {
  std::size_t sum = sizeof(SavedHeader);
  for_each_part(*this, [&](auto part) { sum += part.size_bytes(); });
  return sum;
}

SavedHeader LoopState::header_of(std::span<const std::byte> saved) const {
  return {.nx = nx_,
          .nu = nu_,
          .horizon = horizon_,
          .commands = static_cast<std::int32_t>(log.times.size()),
          .parameters = static_cast<std::int32_t>(parameters.size()),
          .checksum = crc32c(saved.subspan(sizeof(SavedHeader)))};
}

void LoopState::save(std::span<std::byte> to) const {
  std::byte* at = to.data() + sizeof(SavedHeader);
  for_each_part(*this, [&](auto part) { at = std::ranges::copy(std::as_bytes(part), at).out; });
  const SavedHeader header = header_of(to);
  std::memcpy(to.data(), &header, sizeof header);
}

bool LoopState::load(std::span<const std::byte> from) {
  if (from.size() != bytes()) return false;
  SavedHeader header;
  std::memcpy(&header, from.data(), sizeof header);
  if (header != header_of(from)) return false;
  const std::byte* at = from.data() + sizeof(SavedHeader);
  for_each_part(*this, [&](auto part) {
    std::ranges::copy_n(at, static_cast<std::ptrdiff_t>(part.size_bytes()),
                        std::as_writable_bytes(part).begin());
    at += part.size_bytes();
  });
  const auto sane = [](std::int64_t t) { return within_reach(Nanoseconds(t)).count() == t; };
  // differences of two times, and times with a delay
  const auto sane_sum = [&sane](std::int64_t t) { return sane(t / 2); };
  return log.valid() && all_finite(sequence) && counts.fallbacks_in_a_row >= 0 &&
         sane(counts.time) && sane_sum(counts.elapsed) && sane(time.origin) &&
         std::ranges::all_of(log.times, sane_sum);
}

}  // namespace softmpc
