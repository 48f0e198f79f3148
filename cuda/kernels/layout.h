// SPDX-License-Identifier: Apache-2.0
// Order of packed weights. Operands of m16n8k16 products lie as the lanes read them: a unit is 8
// outputs by 32 inputs, 32 lanes with 16 bytes each, so that a warp fetches it in one instruction.
// Units of one step of 32 inputs are neighbours: [layer][k32][n8][lane][4 words].
#pragma once

#include <cstdint>

#include "fragments.h"
#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

SOFTMPC_HD constexpr int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// How 16-bit operands stand for a float32 one. `single`: rounded, except that inputs of the first
/// layer are a sum of two (a raw position of 30 m would round to 16 mm). `split`: activations
/// and weights are sums of two, a = a1 + a2, w = w1 + w2, and a w = a1 w1 + a2 w1 + a1 w2: about 22
/// bits, at three times the work. `edges`: the first and the last layer are split, a tenth of the
/// work and most of the error, those between are single.
enum class Operands { single, edges, split };

/// Order of the weights of one step of 32 inputs. `fragments`: as the lanes of mma.sync read them,
/// [n8][lane][4 words]. `columns`: as wgmma reads them from shared memory, [k8][n][8 numbers].
enum class WeightOrder { fragments, columns };

/// Outputs of a wgmma that has room for `out`.
SOFTMPC_HD constexpr int wgmma_outputs(int out) {
  int n = 16;
  while (n < out) n *= 2;
  return n;
}

// activation part of a product's part: a1, a2, a1
SOFTMPC_HD constexpr int activation_part(int part) { return part == 1 ? 1 : 0; }
// weight part of a product's part: w1, w1, w2
SOFTMPC_HD constexpr int weight_part(int part) { return part == 2 ? 1 : 0; }

/// Shape of a packed net: `in` inputs, `layers` hidden layers of padded width `width`, `out`
/// outputs. Layer l = 0 .. layers.
struct NetShape {
  int in, width, layers, out;
  Operands operands;
  WeightOrder order = WeightOrder::fragments;
  int norm_units = 0;  // that LayerNorm of a hidden layer goes over; 0: there is none

  SOFTMPC_HD constexpr int inputs(int l) const { return l == 0 ? in : width; }
  SOFTMPC_HD constexpr int outputs(int l) const { return l == layers ? out : width; }
  /// Parts that the inputs of layer l are laid out in; part p multiplies weight_part(p).
  SOFTMPC_HD constexpr int parts(int l) const {
    const bool edge = l == 0 || l == layers;
    if (operands == Operands::split || (operands == Operands::edges && edge)) return 3;
    return l == 0 ? 2 : 1;
  }
  /// Layer l reads activations as sums of two.
  SOFTMPC_HD constexpr bool reads_split(int l) const { return parts(l) > 1; }
  /// Entries of one part of layer l's input, whole k16 steps.
  SOFTMPC_HD constexpr int part_size(int l) const { return l == 0 ? (in + 15) / 16 * 16 : width; }
  /// Steps of 32 along the input of layer l, all parts; the last may end in zero weights.
  SOFTMPC_HD constexpr int k_steps(int l) const { return (parts(l) * part_size(l) + 31) / 32; }
  /// Groups of 8 outputs of layer l.
  SOFTMPC_HD constexpr int n_tiles(int l) const {
    if (l < layers) return width / 8;
    return order == WeightOrder::columns ? wgmma_outputs(out) / 8 : (out + 7) / 8;
  }
  /// Words (pairs of 16-bit numbers) of layer l, and before it.
  SOFTMPC_HD constexpr int layer_words(int l) const { return k_steps(l) * n_tiles(l) * 128; }
  SOFTMPC_HD constexpr int first_word(int l) const {
    return l == 0 ? 0 : layer_words(0) + (l - 1) * hidden_words();
  }
  /// Words of a layer between hidden ones.
  SOFTMPC_HD constexpr int hidden_words() const {
    return (operands == Operands::split ? 3 : 1) * width / 32 * (width / 8) * 128;
  }
  SOFTMPC_HD constexpr int words() const { return first_word(layers) + layer_words(layers); }
  /// Biases of layer l start here; whole groups of 8.
  SOFTMPC_HD constexpr int first_bias(int l) const { return l * width; }
  /// Behind the biases: scale and shift of layer 0, of layer 1, ...
  SOFTMPC_HD constexpr int first_scale(int l) const {
    return first_bias(layers) + n_tiles(layers) * 8 + 2 * l * width;
  }
  SOFTMPC_HD constexpr int first_shift(int l) const { return first_scale(l) + width; }
  SOFTMPC_HD constexpr int biases() const { return first_scale(norm_units > 0 ? layers : 0); }
};

/// The weight that half `half` of word `index` of layer l holds: output n, input k of the layer and
/// the part of the weight; k < 0 for padding of inputs, outputs or steps.
struct PackedPlace {
  int n, k, part;
};
SOFTMPC_HD constexpr PackedPlace packed_place(const NetShape& s, int l, int index, int half) {
  const int k32 = index / 128 / s.n_tiles(l), within = index % (128 * s.n_tiles(l));
  const int word = within % 4;
  int n = 0, column = 32 * k32;
  if (s.order == WeightOrder::columns) {
    const int outputs = 8 * s.n_tiles(l);
    n = within / 4 % outputs;
    column += within / 4 / outputs * 8 + 2 * word + half;
  } else {
    // words 0, 1 are b0, b1 of the first k16 step, words 2, 3 of the second
    const Place b = b_fragment(within / 4 % 32, 2 * (word % 2) + half);
    n = within / 128 * 8 + b.column;
    column += 16 * (word / 2) + b.row;
  }
  const int part = column / s.part_size(l);
  const int k = column % s.part_size(l);
  if (part >= s.parts(l)) return {0, -1, 0};
  // both halves of a word are of the same part, also where one is padding
  const bool padding = k >= s.inputs(l) || n >= s.outputs(l);
  return {n, padding ? -1 : k, weight_part(part)};
}

/// Float32 nets of the plain kernels: [layer][input][output], outputs in whole groups of 8.
struct PlainShape {
  int in, width, layers, out;  // `width` a multiple of 8
  int norm_units = 0;          // as of NetShape
  SOFTMPC_HD constexpr int inputs(int l) const { return l == 0 ? in : width; }
  SOFTMPC_HD constexpr int outputs(int l) const { return l == layers ? (out + 7) / 8 * 8 : width; }
  SOFTMPC_HD constexpr int first_weight(int l) const {
    return l == 0 ? 0 : width * in + (l - 1) * width * width;
  }
  SOFTMPC_HD constexpr int weights() const {
    return first_weight(layers) + width * outputs(layers);
  }
  SOFTMPC_HD constexpr int first_bias(int l) const { return l * width; }
  SOFTMPC_HD constexpr int first_scale(int l) const {
    return first_bias(layers) + outputs(layers) + 2 * l * width;
  }
  SOFTMPC_HD constexpr int first_shift(int l) const { return first_scale(l) + width; }
  SOFTMPC_HD constexpr int biases() const { return first_scale(norm_units > 0 ? layers : 0); }
};

}  // namespace softmpc::cuda
