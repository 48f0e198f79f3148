// SPDX-License-Identifier: Apache-2.0
#include "cpu/packed_layout.h"

namespace softmpc {

PackedLayout::PackedLayout(const NetSpec& spec) {
  layers_.resize(spec.layers.size());
  spec.for_each_slot([&](const ParameterSlot& slot) {
    const std::size_t rows = static_cast<std::size_t>(cpu::groups_of(slot.rows)) * cpu::kGroup;
    const std::size_t cols = slot.cols;
    Layer& layer = layers_[slot.layer];
    if (slot.part == Part::weight) {
      layer = {slot.cols, slot.rows, floats_, 0, 0, pairs_};
      pairs_ += rows * ((cols + 1) / 2);
    }
    if (slot.part == Part::bias) layer.bias = floats_;
    if (slot.part == Part::norm_scale) layer.norm = floats_;
    slots_.push_back({slot.rows, slot.cols, floats_});
    parameters_ += slot.size();
    floats_ += rows * cols;
  });
}

template <class F>
void PackedLayout::over_parameters(int stack, const F& f) const {
  std::size_t index = 0;
  for (const Slot& slot : slots_)
    for (int e = 0; e < stack; ++e)
      for (int row = 0; row < slot.rows; ++row)
        for (int col = 0; col < slot.cols; ++col) f(index++, e * floats_ + slot.at(row, col));
}

void PackedLayout::pack(int stack, std::span<const float> parameters, float* packed) const {
  over_parameters(stack, [&](std::size_t from, std::size_t to) { packed[to] = parameters[from]; });
}

void PackedLayout::unpack(int stack, const float* packed, std::span<float> parameters) const {
  over_parameters(stack, [&](std::size_t to, std::size_t from) { parameters[to] = packed[from]; });
}

std::vector<float> PackedLayout::unpack(int stack, const float* packed) const {
  std::vector<float> parameters(parameters_ * stack);
  unpack(stack, packed, parameters);
  return parameters;
}

}  // namespace softmpc
