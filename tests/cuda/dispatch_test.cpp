// SPDX-License-Identifier: Apache-2.0
// Tests cuda/plan/dispatch.cpp: which path and which tiles a device takes for how many rollouts.
#include "plan/dispatch.h"

#include <gtest/gtest.h>

#include <ostream>

#include "emulator/emulated_device.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

/// The sizes of `softmpc bench plan`, or of nets of another width.
KernelConstants sizes(int width = 256) {
  KernelConstants c;
  c.nx = 12;
  c.nu = 3;
  c.rollouts = 64;
  c.horizon = 8;
  c.members = 4;
  c.particles = 1;
  c.dynamics_layers = c.critic_layers = 2;
  c.dynamics_outputs = 12;
  c.dynamics_width = c.critic_width = c.policy_width = width;
  return c;
}

struct Taken {
  Path path;
  int slots, blocks_per_processor;
  bool operator==(const Taken&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Taken& t) {
  return out << to_string(t.path) << " of " << t.slots << ", " << t.blocks_per_processor
             << " a processor";
}

Taken taken(int capability, std::int64_t rollouts, int width = 256, Path wanted = Path::automatic) {
  const RolloutChoice choice =
      choose_rollout(sizes(width), {}, rollouts, emulator::facts_of(capability), wanted);
  return {choice.path, choice.slots, choice.source.blocks_per_processor};
}

// 132 processors: 16 clusters, 2,112 rollouts in tiles of 16, 8,448 in two tiles of 32
TEST(Dispatch, TakesNoSecondWaveWhereOneWouldDo) {
  EXPECT_EQ(taken(90, 200), (Taken{Path::cluster, 16, 1}));  // bench case a
  EXPECT_EQ(taken(90, 256), (Taken{Path::cluster, 16, 1}));
  EXPECT_EQ(taken(90, 512), (Taken{Path::cluster, 32, 1}));
  EXPECT_EQ(taken(90, 640), (Taken{Path::tile, 16, 1}));  // b: 20 clusters would be two waves
  EXPECT_EQ(taken(90, 2112), (Taken{Path::tile, 16, 1}));
  EXPECT_EQ(taken(90, 2113), (Taken{Path::tile, 32, 2}));
  EXPECT_EQ(taken(90, 8192), (Taken{Path::tile, 32, 2}));  // d
  EXPECT_EQ(taken(90, 8448), (Taken{Path::tile, 32, 2}));
  EXPECT_EQ(taken(90, 8449).path, Path::wgmma);
  EXPECT_EQ(taken(90, 16384).path, Path::wgmma);  // c
  // without clusters and warpgroups; 108 processors
  EXPECT_EQ(taken(80, 200), (Taken{Path::tile, 16, 1}));
  EXPECT_EQ(taken(80, 1729), (Taken{Path::tile, 32, 2}));
  EXPECT_EQ(taken(80, 6913), (Taken{Path::tile, 64, 1}));
}

TEST(Dispatch, GivesWideLayersAProcessorOfTheirOwn) {
  EXPECT_EQ(taken(80, 1729, 512), (Taken{Path::tile, 32, 1}));
  EXPECT_EQ(taken(80, 100000, 512), (Taken{Path::tile, 32, 1}));
}

TEST(Dispatch, TakesThePathThatIsAskedFor) {
  EXPECT_EQ(taken(90, 640, 256, Path::cluster), (Taken{Path::cluster, 32, 1}));
  EXPECT_EQ(taken(90, 200, 256, Path::tile), (Taken{Path::tile, 16, 1}));
  EXPECT_EQ(taken(90, 200, 256, Path::wgmma).path, Path::wgmma);
  EXPECT_THROW(taken(80, 200, 256, Path::cluster), UsageError);
  EXPECT_THROW(taken(90, 200, 128, Path::cluster), UsageError);
}

}  // namespace
}  // namespace softmpc::cuda
