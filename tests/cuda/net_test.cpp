// SPDX-License-Identifier: Apache-2.0
// Tests parameter_table() of cuda/net.h: the offsets of the one table, and what a device refuses.
#include "plan/net.h"

#include <gtest/gtest.h>

#include <string>

#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc::cuda {
namespace {

TEST(ParameterTable, HasTheOffsetsOfTheSpec) {
  for (const bool layer_norm : {false, true}) {
    const NetSpec spec = NetSpec::mlp({15, 64, 64, 64, 13}, layer_norm);
    const ParameterTable table = parameter_table(spec);
    spec.for_each_slot([&](const ParameterSlot& slot) {
      const int* parts[] = {table.weight, table.bias, table.norm_scale, table.norm_shift};
      const int offset = parts[static_cast<int>(slot.part)][slot.layer];
      EXPECT_EQ(static_cast<std::size_t>(offset), slot.offset) << slot.name();
    });
    EXPECT_EQ(static_cast<std::size_t>(table.size), spec.parameters());
  }
}

TEST(ParameterTable, WhatNoKernelComputesIsRefused) {
  const auto refused = [](const NetSpec& spec) {
    return test::error_of<UsageError>([&] { parameter_table(spec); });
  };
  EXPECT_EQ(refused(NetSpec::mlp({4, 2})),
            "network: a device needs at least one hidden layer, this net has none");
  EXPECT_EQ(refused(NetSpec::mlp({4, 8, 16, 2})),
            "network: hidden layers of 8 and 16 units; on a device all hidden layers of a net are "
            "equally wide");
  NetSpec mixed = NetSpec::mlp({4, 8, 8, 2}, true);
  mixed.layers[1].normalise = false;
  EXPECT_EQ(refused(mixed),
            "network: some hidden layers have LayerNorm and some do not; on a device all of a net "
            "have it or none");
  EXPECT_EQ(refused(NetSpec::mlp(4, 8, kMostLayers, 2)),
            "network: has 17 layers; a device evaluates up to 16");
  NetSpec tanh = NetSpec::mlp({4, 8, 2});
  tanh.layers[0].activation = Activation::tanh;
  EXPECT_EQ(refused(tanh), "network: a device evaluates SiLU between layers only");
}

}  // namespace
}  // namespace softmpc::cuda
