// SPDX-License-Identifier: Apache-2.0
// Tests the emulated device: registered kernels, recorded work, what it refuses.
#include "emulator/emulated_device.h"

#include <gtest/gtest.h>

#include "kernels/intrinsics.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

struct ScaleJob {
  const float* in;
  float* out;
  float factor;
};
template <class Sizes, class Rules, int extra>
SOFTMPC_KERNEL void scale_kernel(const ScaleJob& job) {
  if (thread() < Sizes::nx) {
    const float* x = job.in;
    job.out[thread()] =
        job.factor * x[thread()] + Rules::reward(x, x, x) + extra + Sizes::dynamics_width;
  }
}
using TestWidths = emulator::WidthList<emulator::Widths<64, 64, 0>, emulator::Widths<128, 64, 0>>;
SOFTMPC_EMULATE(ScaleJob, TestWidths, scale_kernel<Sizes, Rules, 3>);

class SumReward : public RewardModel {
 public:
  void reward(ConstColumns x, ConstColumns, ConstColumns next, int count,
              float* out) const override {
    for (int j = 0; j < count; ++j) out[j] = x[0][j] + next[1][j];
  }
};

TEST(EmulatedDevice, LoadsLaunchesRecordsAndReplays) {
  emulator::EmulatedDevice device;
  const SumReward reward;
  KernelSource source;
  source.call = "scale_kernel<Sizes, Rules, 3>";
  source.constants.nx = 3;
  source.constants.nu = 1;
  source.constants.dynamics_width = 128;
  source.constants.critic_width = 64;
  source.host_rules = &reward;
  source.threads = 32;
  const auto kernel = device.load(source);
  const auto in = device.allocate(12), out = device.allocate(12);
  std::vector<float> host = {1, 2, 3}, result(3);
  const auto work = [&] {
    device.upload(in->data(), host.data(), 12);
    device.launch(*kernel, {1, 32, 1, 0}, ScaleJob{in->as<float>(), out->as<float>(), 10.0f});
    device.download(result.data(), out->data(), 12);
  };
  work();
  EXPECT_EQ(result, (std::vector<float>{144, 154, 164}));
  const auto graph = device.record(work);
  host = {0, 1, 2};
  EXPECT_EQ(device.launches(), 1);
  device.replay(*graph);
  EXPECT_EQ(result, (std::vector<float>{132, 142, 152}));
  EXPECT_EQ(device.launches(), 2);
  source.constants.policy_width = 64;
  try {
    device.load(source);
    ADD_FAILURE() << "loaded a kernel that is not registered";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("'scale_kernel<Sizes,Rules,3> widths 128,64,64'"), std::string::npos);
    EXPECT_NE(text.find("\n  scale_kernel<Sizes,Rules,3> widths 64,64,0"), std::string::npos);
  }
  EXPECT_THROW(device.upload(host.data(), host.data(), 12), Error);
}

}  // namespace
}  // namespace softmpc::cuda
