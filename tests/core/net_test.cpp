// SPDX-License-Identifier: Apache-2.0
// Tests net.h: the table of parameters against offsets counted by hand, its orders, and what it
// refuses; and the kernels' order of the same table (src/cpu/packed_layout.h).
#include "softmpc/net.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "cpu/packed_layout.h"
#include "random_models.h"
#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc {
namespace {

using testing::Random;

/// A net of random widths; each hidden layer has LayerNorm or not.
NetSpec random_spec(Random& random) {
  std::vector<int> widths = {random.whole(1, 40)};
  for (int l = random.whole(0, 4); l > 0; --l) widths.push_back(random.whole(1, 50));
  widths.push_back(random.whole(1, 20));
  NetSpec spec = NetSpec::mlp(widths);
  for (int l = 0; l + 1 < spec.depth(); ++l) spec.layers[l].normalise = random.coin();
  return spec;
}

std::vector<float> counted(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

TEST(NetSpec, TheTableHoldsEveryParameterOnce) {
  NetSpec spec = NetSpec::mlp({3, 5, 4, 2});
  spec.layers[1].normalise = true;
  struct Expected {
    const char* name;
    std::size_t offset, size;
  };
  const std::vector<Expected> expected = {
      {"weight1", 0, 15},     {"bias1", 15, 5},       {"weight2", 20, 20}, {"bias2", 40, 4},
      {"norm_scale2", 44, 4}, {"norm_shift2", 48, 4}, {"weight3", 52, 8},  {"bias3", 60, 2}};
  std::size_t i = 0;
  spec.for_each_slot([&](const ParameterSlot& slot) {
    ASSERT_LT(i, expected.size());
    EXPECT_EQ(slot.name(), expected[i].name);
    EXPECT_EQ(slot.offset, expected[i].offset) << slot.name();
    EXPECT_EQ(slot.size(), expected[i].size) << slot.name();
    ++i;
  });
  EXPECT_EQ(i, expected.size());
  EXPECT_EQ(spec.parameters(), 62u);
  EXPECT_EQ(spec.slot(1, Part::norm_shift).offset, 48u);
  EXPECT_EQ(spec.slot(0, Part::norm_shift).size(), 0u);
}

TEST(NetSpec, APerceptronHasSiluBetweenAndALinearHead) {
  const NetSpec spec = NetSpec::mlp(7, 16, 2, 3, true);
  EXPECT_EQ(spec, NetSpec::mlp({7, 16, 16, 3}, true));
  ASSERT_EQ(spec.depth(), 3);
  for (int l = 0; l < 2; ++l)
    EXPECT_EQ(spec.layers[l], (LayerSpec{16, Activation::silu, true})) << l;
  EXPECT_EQ(spec.layers[2], (LayerSpec{3, Activation::none, false}));
  EXPECT_EQ(spec.inputs_of(0), 7);
  EXPECT_EQ(spec.inputs_of(2), 16);
  EXPECT_TRUE(spec.normalises());
  EXPECT_FALSE(NetSpec::mlp({7, 16, 16, 3}).normalises());
}

TEST(NetSpec, WhatIsNoNetIsRefused) {
  const auto error = [](NetSpec spec) {
    return test::error_of<Error>([&] { spec.validate("members"); });
  };
  EXPECT_EQ(error({4, {}}), "members: no layers");
  EXPECT_EQ(error({0, {{3}}}), "members: 0 inputs, must be positive");
  EXPECT_EQ(error({4, {{3}, {-1}}}), "members, layer 2: width -1 is not positive");
  EXPECT_EQ(error({4, {{3, Activation::none, true}}}),
            "members: LayerNorm of the head is not possible");
}

TEST(NetWeights, SlotsAreViewsOfTheParameters) {
  NetSpec spec = NetSpec::mlp({2, 3, 1}, true);
  NetWeights w = NetWeights::zeros(2, spec);
  EXPECT_EQ(w.parameters.size(), 2 * spec.parameters());
  for (float v : w.slot(0, Part::norm_scale)) EXPECT_EQ(v, 1.0f);
  w.parameters = counted(w.parameters.size());
  // two nets: weight1 takes 1..12, bias1 13..18, norm_scale1 19..24, norm_shift1 25..30
  EXPECT_EQ(w.weight(0)[6], 7.0f);
  EXPECT_EQ(w.bias(0).front(), 13.0f);
  EXPECT_EQ(w.slot(0, Part::norm_scale).front(), 19.0f);
  EXPECT_EQ(w.weight(1).front(), 31.0f);
  EXPECT_EQ(&w.bias(1).back(), &w.parameters.back());
  EXPECT_TRUE(w.slot(1, Part::norm_scale).empty());
}

// The slow way: every parameter of every net by its place in both orders.
TEST(NetWeights, NetOrderAndBack) {
  const std::uint64_t seed = 71;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  for (int round = 0; round < 20; ++round) {
    const NetSpec spec = random_spec(random);
    const int stack = random.whole(1, 5);
    const std::size_t count = spec.parameters();
    const std::vector<float> slots = counted(count * stack);
    std::vector<float> nets(slots.size()), back(slots.size());
    to_net_order(spec, stack, slots, nets);
    spec.for_each_slot([&](const ParameterSlot& slot) {
      for (int e = 0; e < stack; ++e)
        for (std::size_t i = 0; i < slot.size(); ++i)
          ASSERT_EQ(nets[e * count + slot.offset + i],
                    slots[slot.offset * stack + e * slot.size() + i])
              << slot.name() << " of net " << e;
    });
    from_net_order(spec, stack, nets, back);
    EXPECT_EQ(back, slots);
  }
}

TEST(PackedLayout, HoldsEveryParameterWhereTheKernelsReadIt) {
  const std::uint64_t seed = 72;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  for (int round = 0; round < 20; ++round) {
    NetWeights w = NetWeights::zeros(random.whole(1, 4), random_spec(random));
    w.parameters = counted(w.parameters.size());
    const PackedLayout layout(w.spec);
    std::vector<float> packed(layout.floats() * w.stack);
    layout.pack(w.stack, w.parameters, packed.data());
    EXPECT_EQ(layout.unpack(w.stack, packed.data()), w.parameters);
    // padding stays zero, and nothing is lost
    std::multiset<float> stored(packed.begin(), packed.end());
    stored.erase(0.0f);
    EXPECT_EQ(stored, std::multiset<float>(w.parameters.begin(), w.parameters.end()));
    const int e = w.stack - 1;
    for (int l = 0; l < w.layers(); ++l) {
      const PackedLayout::Layer& layer = layout.layers()[l];
      const float* net = packed.data() + e * layout.floats();
      const int o = random.whole(0, layer.out - 1), i = random.whole(0, layer.in - 1);
      const std::size_t row = static_cast<std::size_t>(e) * layer.out + o;
      EXPECT_EQ(
          net[layer.weight + (o / cpu::kGroup * layer.in + i) * cpu::kGroup + o % cpu::kGroup],
          w.weight(l)[row * layer.in + i]);
      EXPECT_EQ(net[layer.bias + o], w.bias(l)[row]);
      if (!w.spec.layers[l].normalise) continue;
      const int padded = cpu::groups_of(layer.out) * cpu::kGroup;
      EXPECT_EQ(net[layer.norm + o], w.slot(l, Part::norm_scale)[row]);
      EXPECT_EQ(net[layer.norm + padded + o], w.slot(l, Part::norm_shift)[row]);
    }
  }
}

}  // namespace
}  // namespace softmpc
