// SPDX-License-Identifier: Apache-2.0
#include "softmpc/net.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "finite.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

void require(bool ok, const std::string& what) {
  if (!ok) throw Error(what);
}

const char* part_name(Part part) {
  switch (part) {
    case Part::weight:
      return "weight";
    case Part::bias:
      return "bias";
    case Part::norm_scale:
      return "norm_scale";
    case Part::norm_shift:
      return "norm_shift";
  }
  return "";
}

}  // namespace

std::string ParameterSlot::name() const { return part_name(part) + std::to_string(layer + 1); }

NetSpec NetSpec::mlp(const std::vector<int>& widths, bool layer_norm) {
  require(widths.size() >= 2, "network: needs an input and an output size");
  NetSpec spec{widths.front(), {}};
  for (std::size_t l = 1; l + 1 < widths.size(); ++l)
    spec.layers.push_back({widths[l], Activation::silu, layer_norm});
  spec.layers.push_back({widths.back()});
  return spec;
}

NetSpec NetSpec::mlp(int inputs, int width, int hidden, int outputs, bool layer_norm) {
  std::vector<int> widths = {inputs};
  widths.insert(widths.end(), static_cast<std::size_t>(hidden), width);
  widths.push_back(outputs);
  return mlp(widths, layer_norm);
}

bool NetSpec::normalises() const {
  return std::ranges::any_of(layers, [](const LayerSpec& layer) { return layer.normalise; });
}

ParameterSlot NetSpec::slot(int layer, Part part) const {
  ParameterSlot found = {part, layer, 0, 0, 0};
  for_each_slot([&](const ParameterSlot& slot) {
    if (slot.layer == layer && slot.part == part) found = slot;
  });
  return found;
}

std::size_t NetSpec::parameters() const {
  std::size_t count = 0;
  for_each_slot([&](const ParameterSlot& slot) { count += slot.size(); });
  return count;
}

void NetSpec::validate(const std::string& what) const {
  // texts are put together on failure only: a trainer's update() calls this and must not allocate
  const auto fail = [&](const std::string& text) { throw Error(what + text); };
  if (layers.empty()) fail(": no layers");
  if (inputs <= 0) fail(": " + std::to_string(inputs) + " inputs, must be positive");
  for (int l = 0; l < depth(); ++l)
    if (layers[l].width <= 0)
      fail(", layer " + std::to_string(l + 1) + ": width " + std::to_string(layers[l].width) +
           " is not positive");
  if (layers.back().normalise) fail(": LayerNorm of the head is not possible");
}

NetNormalisation NetNormalisation::identity(const NetSpec& spec) {
  const auto in = static_cast<std::size_t>(spec.inputs);
  const auto out = static_cast<std::size_t>(spec.outputs());
  return {std::vector<float>(in, 0.0f), std::vector<float>(in, 1.0f), std::vector<float>(out, 0.0f),
          std::vector<float>(out, 1.0f)};
}

std::span<float> NetWeights::slot(int layer, Part part) {
  const ParameterSlot at = spec.slot(layer, part);
  return std::span(parameters).subspan(at.offset * stack, at.size() * stack);
}

std::span<const float> NetWeights::slot(int layer, Part part) const {
  const ParameterSlot at = spec.slot(layer, part);
  return std::span(parameters).subspan(at.offset * stack, at.size() * stack);
}

NetWeights NetWeights::zeros(int stack, NetSpec spec) {
  require(stack > 0, "network: a stack of " + std::to_string(stack) + " networks is not possible");
  spec.validate("network");
  NetWeights w;
  w.stack = stack;
  w.spec = std::move(spec);
  w.parameters.resize(w.spec.parameters() * stack);
  for (int l = 0; l < w.layers(); ++l) std::ranges::fill(w.slot(l, Part::norm_scale), 1.0f);
  w.normalisation = NetNormalisation::identity(w.spec);
  return w;
}

void NetWeights::validate_shape(const std::string& what) const {
  // texts are put together on failure only: update() calls this and must not allocate
  const auto fail = [&](const std::string& text) { throw Error(what + text); };
  if (stack <= 0) fail(": no layers");
  spec.validate(what);
  const std::size_t wanted = spec.parameters() * stack;
  if (parameters.size() != wanted)
    fail(": has " + std::to_string(parameters.size()) + " parameters, its layers need " +
         std::to_string(wanted));
  const NetNormalisation& n = normalisation;
  if (static_cast<int>(n.input_mean.size()) != inputs() ||
      n.input_std.size() != n.input_mean.size() ||
      static_cast<int>(n.output_mean.size()) != outputs() ||
      n.output_std.size() != n.output_mean.size())
    fail(": normalisation has the wrong size");
}

void NetWeights::validate(const std::string& what) const {
  validate_shape(what);
  spec.for_each_slot([&](const ParameterSlot& at) {
    require(all_finite(slot(at.layer, at.part)),
            what + ", layer " + std::to_string(at.layer + 1) + ": holds a NaN or infinity");
  });
  const NetNormalisation& n = normalisation;
  require(all_finite(n.input_mean) && all_finite(n.output_mean) && all_finite(n.output_std),
          what + ": normalisation holds a NaN or infinity");
  for (float std : n.input_std)  // infinity masks an input
    require(std > 0, what + ": input_std must be positive, or infinite to mask an input");
}

void to_net_order(const NetSpec& spec, int stack, std::span<const float> slots,
                  std::span<float> nets) {
  const std::size_t size = spec.parameters();
  spec.for_each_slot([&](const ParameterSlot& slot) {
    for (int e = 0; e < stack; ++e)
      std::ranges::copy(slots.subspan(slot.offset * stack + e * slot.size(), slot.size()),
                        nets.begin() + static_cast<std::ptrdiff_t>(e * size + slot.offset));
  });
}

void from_net_order(const NetSpec& spec, int stack, std::span<const float> nets,
                    std::span<float> slots) {
  const std::size_t size = spec.parameters();
  spec.for_each_slot([&](const ParameterSlot& slot) {
    for (int e = 0; e < stack; ++e)
      std::ranges::copy(
          nets.subspan(e * size + slot.offset, slot.size()),
          slots.begin() + static_cast<std::ptrdiff_t>(slot.offset * stack + e * slot.size()));
  });
}

}  // namespace softmpc
