// SPDX-License-Identifier: Apache-2.0
// Tests the maps of fragments.h and the orders of layout.h: each element once, and whole products
// and layers by them equal naive ones.
#include "kernels/layout.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "emulator/machine.h"
#include "kernels/constants.h"
#include "kernels/intrinsics.h"
#include "kernels/mma_engine.cuh"
#include "softmpc/hd/bf16.h"
#include "softmpc/hd/f16.h"

namespace softmpc::cuda {
namespace {

/// Whether map(lane, i) names each place of [rows, columns] once; i = 2j and 2j + 1 are neighbours
/// along `pair_columns ? columns : rows`.
template <class Map>
void expect_covers(const Map& map, int lanes, int elements, int rows, int columns,
                   bool pair_columns) {
  std::set<std::pair<int, int>> seen;
  for (int lane = 0; lane < lanes; ++lane)
    for (int i = 0; i < elements; ++i) {
      const Place place = map(lane, i);
      EXPECT_TRUE(place.row >= 0 && place.row < rows);
      EXPECT_TRUE(place.column >= 0 && place.column < columns);
      EXPECT_TRUE(seen.emplace(place.row, place.column).second);
      if (i % 2 == 1) {
        const Place before = map(lane, i - 1);
        EXPECT_EQ(place.row - before.row, pair_columns ? 0 : 1);
        EXPECT_EQ(place.column - before.column, pair_columns ? 1 : 0);
      }
    }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(rows * columns));
}

TEST(Fragments, CoverEachElementOnce) {
  expect_covers(a_fragment, 32, 8, 16, 16, true);
  expect_covers(b_fragment, 32, 4, 16, 8, false);
  expect_covers(c_fragment, 32, 4, 16, 8, true);
  expect_covers(wgmma_a, 128, 8, 64, 16, true);
  for (const int n : {8, 16, 32, 64, 128, 256})
    expect_covers(wgmma_accumulator, 128, n / 2, 64, n, true);
}

TEST(Fragments, AccumulatorsBecomeTheNextOperand) {
  // two c fragments side by side are an a fragment: no exchange between layers
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 8; ++i) {
      const Place a = a_fragment(lane, i), c = c_fragment(lane, i % 4);
      EXPECT_EQ(a.row, c.row);
      EXPECT_EQ(a.column, c.column + 8 * (i / 4));
    }
  for (int t = 0; t < 128; ++t)
    for (int i = 0; i < 8; ++i) {
      const Place a = wgmma_a(t, i), d = wgmma_accumulator(t, i);
      EXPECT_EQ(a.row, d.row);
      EXPECT_EQ(a.column, d.column);
    }
}

// --- products

using Matrix = std::vector<float>;

Matrix random_matrix(int rows, int columns, unsigned seed) {
  std::mt19937 random(seed);
  Matrix matrix(static_cast<std::size_t>(rows * columns));
  for (float& x : matrix) x = static_cast<float>(static_cast<int>(random() % 65) - 32) / 8;
  return matrix;
}

float at(const Matrix& matrix, int columns, int row, int column) {
  return matrix[static_cast<std::size_t>(row * columns + column)];
}

/// One warp: a [16, 16] through shared memory and load_matrix(), b [16, 8] from registers.
Matrix warp_product(const Matrix& a, const Matrix& b, const Matrix& c, bool bf16,
                    const emulator::RunOptions& options) {
  Matrix d(128);
  emulator::run({"product", 1, 32, 1, 512}, options, [&] {
    auto* shared = reinterpret_cast<std::uint32_t*>(shared_memory());
    const auto pack = [&](float x, float y) { return bf16 ? pack_bf16(x, y) : pack_f16(x, y); };
    for (int word = lane(); word < 128; word += 32)
      shared[word] =
          pack(a[static_cast<std::size_t>(2 * word)], a[static_cast<std::size_t>(2 * word + 1)]);
    sync_warp();
    std::uint32_t af[4], bf[2];
    const Place row = ldmatrix_row(lane());
    load_matrix(af, shared + row.row * 8 + row.column / 2);
    float df[4];
    for (int i = 0; i < 2; ++i) {
      const Place p = b_fragment(lane(), 2 * i);
      bf[i] = pack(at(b, 8, p.row, p.column), at(b, 8, p.row + 1, p.column));
    }
    for (int i = 0; i < 4; ++i) {
      const Place p = c_fragment(lane(), i);
      df[i] = at(c, 8, p.row, p.column);
    }
    bf16 ? mma_bf16(df, af, bf[0], bf[1]) : mma_f16(df, af, bf[0], bf[1]);
    for (int i = 0; i < 4; ++i) {
      const Place p = c_fragment(lane(), i);
      d[static_cast<std::size_t>(p.row * 8 + p.column)] = df[i];
    }
  });
  return d;
}

TEST(Products, OfAWarpEqualNaiveOnes) {
  const Matrix a = random_matrix(16, 16, 1), b = random_matrix(16, 8, 2),
               c = random_matrix(16, 8, 3);
  Matrix naive(128);  // exact: small multiples of 1/8
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float sum = at(c, 8, m, n);
      for (int k = 0; k < 16; ++k) sum += at(a, 16, m, k) * at(b, 8, k, n);
      naive[static_cast<std::size_t>(m * 8 + n)] = sum;
    }
  for (const emulator::RunOptions& options : emulator::all_orders()) {
    EXPECT_EQ(warp_product(a, b, c, false, options), naive) << to_string(options);
    EXPECT_EQ(warp_product(a, b, c, true, options), naive) << to_string(options);
  }
}

TEST(Numbers, PackRoundsAndTanhIsCoarse) {
  EXPECT_EQ(pack_f16(1e30f, -1e30f), 0xfc007c00u);
  EXPECT_EQ(pack_f16(1.0f, 0.5f), 0x38003c00u);
  float low = 0, high = 0;
  unpack_f16(0x38003c00u, low, high);
  EXPECT_EQ(low, 1.0f);
  EXPECT_EQ(high, 0.5f);
  EXPECT_EQ(pack_bf16(1.0f, -2.0f), 0xc0003f80u);
  double worst = 0;
  for (float x = -9; x < 9; x += 1e-3f)
    worst = std::max(worst, std::abs(tanh_fast(x) - std::tanh(double{x})) /
                                std::max(1e-9, std::abs(std::tanh(double{x}))));
  EXPECT_LT(worst, 1.0 / 2048 + 1e-6);
  EXPECT_GT(worst, 1.0 / 4096);
}

// --- packed networks

std::vector<NetShape> shapes() {
  std::vector<NetShape> all;
  for (const Operands operands : {Operands::single, Operands::edges, Operands::split})
    for (const int width : {64, 128})
      for (const int in : {1, 3, 16, 17, 23, 32, 33, 70})
        for (const int layers : {0, 1, 2, 3})
          for (const int out : {1, 8, 17, 29}) all.push_back({in, width, layers, out, operands});
  return all;
}

TEST(PackedNet, LayersFollowEachOther) {
  for (const NetShape& s : shapes()) {
    int words = 0;
    for (int l = 0; l <= s.layers; ++l) {
      ASSERT_EQ(s.first_word(l), words);
      ASSERT_EQ(s.layer_words(l) % 128, 0);
      ASSERT_GE(s.k_steps(l) * 32, s.parts(l) * s.part_size(l));
      ASSERT_LT(s.k_steps(l) * 32 - s.parts(l) * s.part_size(l), 32);
      ASSERT_EQ(s.part_size(l) % 16, 0);
      words += s.layer_words(l);
    }
    ASSERT_EQ(s.words(), words);
    ASSERT_EQ(s.biases(), s.first_bias(s.layers) + (s.out + 7) / 8 * 8);
  }
}

// Weights of a step meet the activations of their part; those behind the last part meet what is
// stored there.
TEST(PackedNet, StepsReadThePartOfTheirWeights) {
  for (const NetShape& s : shapes())
    for (int l = 0; l <= s.layers; ++l)
      for (int column = 0; column < 32 * s.k_steps(l); column += 16) {
        const int part = column / s.part_size(l), within = column % s.part_size(l);
        const int from = part < s.parts(l) ? activation_part(part) : part;
        ASSERT_EQ(2 * activation_word(s, l, column / 32, column / 16 % 2),
                  from * s.part_size(l) + within)
            << s.in << " inputs, layer " << l << ", column " << column;
      }
}

TEST(PackedNet, EveryWeightOnceAPartAndPaddingIsMarked) {
  for (const NetShape& s : shapes())
    for (int l = 0; l <= s.layers; ++l) {
      const int inputs = l == 0 ? s.in : s.width, outputs = l == s.layers ? s.out : s.width;
      std::map<std::tuple<int, int, int>, int> times;  // n, k, weight part
      for (int index = 0; index < s.layer_words(l); ++index)
        for (int half = 0; half < 2; ++half) {
          const PackedPlace place = packed_place(s, l, index, half);
          ASSERT_EQ(place.part, packed_place(s, l, index, 0).part);
          if (place.k < 0) continue;
          ASSERT_LT(place.k, inputs);
          ASSERT_TRUE(place.n >= 0 && place.n < outputs);
          ++times[{place.n, place.k, place.part}];
        }
      std::map<int, int> parts;  // a weight part -> of how many parts of a product
      for (int p = 0; p < s.parts(l); ++p) ++parts[weight_part(p)];
      ASSERT_EQ(times.size(), static_cast<std::size_t>(inputs * outputs) * parts.size());
      for (const auto& [place, count] : times) ASSERT_EQ(count, parts[std::get<2>(place)]);
    }
}

/// A warp multiplies layer l of a packed net as kernels do: x [16, inputs] times weights.
Matrix packed_layer(const NetShape& s, int l, const Matrix& x, const Matrix& weights) {
  const int inputs = l == 0 ? s.in : s.width, tiles = s.n_tiles(l), columns = 8 * tiles;
  const auto words = static_cast<std::size_t>(s.layer_words(l));
  std::vector<Words4> packed(words / 4);
  auto* word = reinterpret_cast<std::uint32_t*>(packed.data());
  const auto part_of = [](float value, int part) {
    const float first = hd::from_f16(hd::to_f16(value));
    return part == 0 ? first : hd::from_f16(hd::to_f16(value - first));
  };
  for (std::size_t i = 0; i < words; ++i) {
    float pair[2] = {0, 0};
    for (int half = 0; half < 2; ++half) {
      const PackedPlace place = packed_place(s, l, static_cast<int>(i), half);
      if (place.k >= 0) pair[half] = part_of(at(weights, inputs, place.n, place.k), place.part);
    }
    word[i] = hd::pair_f16(pair[0], pair[1]);
  }
  const auto input = [&](int row, int column) {  // of the laid out parts
    const int part = column / s.part_size(l), k = column % s.part_size(l);
    if (part >= s.parts(l) || k >= inputs) return 0.0f;
    return part_of(at(x, inputs, row, k), activation_part(part));
  };
  Matrix out(static_cast<std::size_t>(16 * columns));
  emulator::run({"layer", 1, 32, 1, 0}, {}, [&] {
    for (int tile = 0; tile < tiles; ++tile) {
      float d[4] = {};
      for (int k32 = 0; k32 < s.k_steps(l); ++k32) {
        const Words4 b = load_constant(word + ((k32 * tiles + tile) * 32 + lane()) * 4);
        for (int step = 0; step < 2; ++step) {
          std::uint32_t a[4];
          for (int i = 0; i < 4; ++i) {
            const Place p = a_fragment(lane(), 2 * i);
            const int column = 32 * k32 + 16 * step + p.column;
            a[i] = pack_f16(input(p.row, column), input(p.row, column + 1));
          }
          mma_f16(d, a, step == 0 ? b.x : b.z, step == 0 ? b.y : b.w);
        }
      }
      for (int i = 0; i < 4; ++i) {
        const Place p = c_fragment(lane(), i);
        out[static_cast<std::size_t>(p.row * columns + 8 * tile + p.column)] = d[i];
      }
    }
  });
  return out;
}

TEST(PackedNet, ALayerByPackedWeightsIsTheLayer) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const NetShape& s :
       {NetShape{23, 64, 2, 17, Operands::single}, NetShape{23, 64, 2, 17, Operands::edges},
        NetShape{23, 64, 2, 17, Operands::split}})
    for (int l = 0; l <= s.layers; ++l) {
      const int inputs = l == 0 ? s.in : s.width, outputs = l == s.layers ? s.out : s.width;
      Matrix x(static_cast<std::size_t>(16 * inputs));
      Matrix weights(static_cast<std::size_t>(outputs * inputs));
      for (float& v : x) v = normal(random);
      for (float& v : weights) v = normal(random);
      const Matrix out = packed_layer(s, l, x, weights);
      double worst = 0;
      for (int m = 0; m < 16; ++m)
        for (int n = 0; n < outputs; ++n) {
          double sum = 0;
          for (int k = 0; k < inputs; ++k)
            sum += double{at(x, inputs, m, k)} * at(weights, inputs, n, k);
          worst = std::max(worst, std::abs(at(out, 8 * s.n_tiles(l), m, n) - sum));
        }
      EXPECT_LT(worst, s.reads_split(l) && s.parts(l) == 3 ? 2e-5 : 2e-2) << "layer " << l;
    }
}

TEST(PlainNet, LayersFollowEachOther) {
  for (const int layers : {1, 2, 3}) {
    const PlainShape s{11, 64, layers, 13};
    int weights = 0;
    for (int l = 0; l <= layers; ++l) {
      EXPECT_EQ(s.first_weight(l), weights);
      EXPECT_EQ(s.outputs(l) % 8, 0);
      weights += s.inputs(l) * s.outputs(l);
    }
    EXPECT_EQ(s.weights(), weights);
    EXPECT_EQ(s.biases(), s.first_bias(layers) + s.outputs(layers));
  }
}

TEST(PaddedWidth, IsTheLeastThatHolds) {
  EXPECT_EQ(padded_width(1), 64);
  EXPECT_EQ(padded_width(64), 64);
  EXPECT_EQ(padded_width(65), 128);
  EXPECT_EQ(padded_width(200), 256);
  EXPECT_EQ(padded_width(512), 512);
  EXPECT_EQ(padded_width(513), 0);
}

}  // namespace
}  // namespace softmpc::cuda
