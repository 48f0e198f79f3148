// SPDX-License-Identifier: Apache-2.0
#include "control/command_board.h"

#include <algorithm>

#include "control/plan_clock.h"
#include "softmpc/hd/prior.h"

namespace softmpc {

CommandBoard::CommandBoard(const Controller& controller, Reading reading)
    : reading_(reading),
      step_(std::max<std::int64_t>(
          1, PlanClock(controller.dt(), controller.config().horizon, reading).step())),
      delay_(within_reach(controller.options().command_delay).count()),
      horizon_(static_cast<std::size_t>(controller.config().horizon)),
      low_(controller.action_low().begin(), controller.action_low().end()),
      high_(controller.action_high().begin(), controller.action_high().end()),
      neutral_(neutral_action(controller.config(), controller.shape())),
      rest_(controller.rest().begin(), controller.rest().end()),
      ring_(RecordRing::words_of<Header> + (horizon_ + 1) * rest_.size()) {}

void CommandBoard::publish(const Plan& plan, Nanoseconds measured) noexcept {
  const std::size_t nu = rest_.size();
  ring_.publish([&](std::span<RecordRing::Word> record) {
    RecordRing::store(record, Header{within_reach(measured).count(), plan.index, plan.bundle_hash,
                                     static_cast<std::uint32_t>(plan.status), plan.from_fallback});
    const auto rows = record.subspan(RecordRing::words_of<Header>);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const std::size_t i = k % nu;
      RecordRing::store(rows[k], k < nu
                                     ? plan.action[k]
                                     : hd::clip(neutral_[i] + plan.sequence[k], low_[i], high_[i]));
    }
  });
}

CommandBoard::Place CommandBoard::place(Nanoseconds age) const {
  const std::int64_t since = age.count() - delay_;
  if (since < 0) return {};
  const auto row = static_cast<std::size_t>(since / step_);
  if (row > horizon_) return {.beyond = true};
  if (reading_ == Reading::hold || row == horizon_) return {.row = row};
  return {.row = row,
          .fraction =
              static_cast<float>(static_cast<double>(since % step_) / static_cast<double>(step_))};
}

void CommandBoard::copy_row(std::span<const RecordRing::Word> rows, const Place& at,
                            std::span<float> action) const {
  const auto from = rows.subspan(at.row * action.size());
  for (std::size_t i = 0; i < action.size(); ++i) {
    action[i] = RecordRing::load(from[i]);
    if (at.fraction != 0)
      action[i] += at.fraction * (RecordRing::load(from[i + action.size()]) - action[i]);
  }
}

CommandInfo CommandBoard::read(Nanoseconds t, std::span<float> action) const noexcept {
  if (action.size() != rest_.size()) return {};
  t = within_reach(t);
  Header h{};
  Place at;
  const bool known = ring_.read([&](std::span<const RecordRing::Word> record) {
    h = RecordRing::load<Header>(record);
    at = place(t - Nanoseconds(h.state_time));
    if (!at.beyond) copy_row(record.subspan(RecordRing::words_of<Header>), at, action);
  });
  if (!known || at.beyond) std::ranges::copy(rest_, action.begin());
  if (!known) return {};
  return {.known = true,
          .beyond_horizon = at.beyond,
          .from_fallback = h.from_fallback != 0,
          .status = static_cast<PlanStatus>(h.status),
          .index = h.index,
          .bundle_hash = h.bundle_hash,
          .state_time = Nanoseconds(h.state_time),
          .age = t - Nanoseconds(h.state_time)};
}

}  // namespace softmpc
