// SPDX-License-Identifier: Apache-2.0
// The one description of a network: its layers, and where each of its parameters lies. CPU packing,
// device copies, learners, bundles and checkpoints all walk this table.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "softmpc/hd/activation.h"

namespace softmpc {

/// h = activation(W x + b), or of normalised sums: activation(g * norm(W x + b) + s), where norm is
/// LayerNorm over the layer's units (hd/layer_norm.h).
struct LayerSpec {
  int width = 0;
  Activation activation = Activation::none;
  bool normalise = false;
  bool operator==(const LayerSpec&) const = default;
};

/// A kind of parameter. In this order they lie in a layer.
enum class Part { weight, bias, norm_scale, norm_shift };

/// One array of parameters.
struct ParameterSlot {
  Part part;
  int layer;           ///< from 0
  int rows, cols;      ///< weight [out, in]; all others [out, 1]
  std::size_t offset;  ///< in the parameters of one net

  std::size_t size() const { return static_cast<std::size_t>(rows) * cols; }
  /// As in bundles: "weight1", "norm_scale2". Layers count from 1 there.
  std::string name() const;
};

/// Layers of a net; the last one is its head.
struct NetSpec {
  int inputs = 0;
  std::vector<LayerSpec> layers;
  bool operator==(const NetSpec&) const = default;

  /// A perceptron of the given widths (in, hidden..., out): SiLU between layers, a linear head.
  /// `layer_norm` normalises the hidden layers.
  static NetSpec mlp(const std::vector<int>& widths, bool layer_norm = false);
  /// The same with `hidden` layers of `width`.
  static NetSpec mlp(int inputs, int width, int hidden, int outputs, bool layer_norm = false);

  int depth() const { return static_cast<int>(layers.size()); }
  int outputs() const { return layers.back().width; }
  int inputs_of(int layer) const { return layer == 0 ? inputs : layers[layer - 1].width; }
  /// True if a layer has LayerNorm.
  bool normalises() const;

  /// Calls f(ParameterSlot) in the order of storage. All offsets come from here.
  template <class F>
  void for_each_slot(const F& f) const {
    std::size_t offset = 0;
    const auto add = [&](Part part, int layer, int rows, int cols) {
      const ParameterSlot slot = {part, layer, rows, cols, offset};
      offset += slot.size();
      f(slot);
    };
    for (int l = 0; l < depth(); ++l) {
      const int out = layers[l].width;
      add(Part::weight, l, out, inputs_of(l));
      add(Part::bias, l, out, 1);
      if (!layers[l].normalise) continue;
      add(Part::norm_scale, l, out, 1);
      add(Part::norm_shift, l, out, 1);
    }
  }
  /// Size 0 if the layer has no such part.
  ParameterSlot slot(int layer, Part part) const;
  /// P, the parameters of one net.
  std::size_t parameters() const;

  /// Throws Error naming `what` unless there is a layer, all sizes are positive and the head is
  /// not normalised.
  void validate(const std::string& what) const;
};

/// Constants around a net: z = (input - input_mean) / input_std, and
/// output = output_mean + output_std * net(z). The identity is mean 0 and std 1; an infinite
/// input_std masks an input.
struct NetNormalisation {
  std::vector<float> input_mean, input_std;    ///< [in]
  std::vector<float> output_mean, output_std;  ///< [out]
  bool operator==(const NetNormalisation&) const = default;

  static NetNormalisation identity(const NetSpec& spec);
};

/// A stack of E nets of one shape with their parameters. Input is the observation, then the action
/// (a policy: the observation alone).
struct NetWeights {
  int stack = 0;  ///< E
  NetSpec spec;
  std::vector<float> parameters;  ///< slot after slot, each [E, rows, cols]
  NetNormalisation normalisation;

  int layers() const { return spec.depth(); }
  int inputs() const { return spec.inputs; }
  int outputs() const { return spec.outputs(); }

  /// A slot's parameters of all nets [E, rows, cols]; empty where a layer has no such part.
  std::span<float> slot(int layer, Part part);
  std::span<const float> slot(int layer, Part part) const;
  std::span<float> weight(int layer) { return slot(layer, Part::weight); }
  std::span<const float> weight(int layer) const { return slot(layer, Part::weight); }
  std::span<float> bias(int layer) { return slot(layer, Part::bias); }
  std::span<const float> bias(int layer) const { return slot(layer, Part::bias); }

  /// Weights, biases and shifts 0, scales of LayerNorm 1, identity normalisation.
  static NetWeights zeros(int stack, NetSpec spec);
  /// Throws Error naming `what` if an array has the wrong size.
  void validate_shape(const std::string& what) const;
  /// Throws Error naming `what` if an array has the wrong size or holds a non-finite number.
  void validate(const std::string& what) const;
};

/// From slot after slot [E, rows, cols] to net after net [E, P], and back.
void to_net_order(const NetSpec& spec, int stack, std::span<const float> slots,
                  std::span<float> nets);
void from_net_order(const NetSpec& spec, int stack, std::span<const float> nets,
                    std::span<float> slots);

}  // namespace softmpc
