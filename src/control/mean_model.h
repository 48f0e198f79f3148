// SPDX-License-Identifier: Apache-2.0
// One state looked ahead with by the mean of all members: over the delay of a command, and for the
// predictions that go with a plan.
#pragma once

#include <span>
#include <vector>

#include "cpu/aligned.h"
#include "softmpc/model.h"

namespace softmpc {

class MeanModel {
 public:
  MeanModel(int nx, int nu);
  /// Room for `models`; allocates only where it grew.
  void prepare(const DynamicsModel& dynamics);

  /// x <- mean_m (x + f_m(x, a)); x [nx], a [nu]. Throws what a user's model throws.
  void step(const DynamicsModel& dynamics, std::span<float> x, std::span<const float> a);
  /// Of the last step: over the members' deviation of each component, without bias, in units of
  /// `unit` (0: not counted), the root mean square; NaN of one member.
  double disagreement(std::span<const float> unit) const;

 private:
  int members_ = 0;
  cpu::AlignedFloats x_, a_, next_, reward_;  // columns of one padded block
  std::vector<std::uint8_t> terminated_;
  std::vector<float> predicted_;  // [E, nx]
  cpu::AlignedBytes scratch_;
};

}  // namespace softmpc
