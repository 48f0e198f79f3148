// SPDX-License-Identifier: Apache-2.0
#include "emulator/products.h"

#include "emulator/intrinsics.h"
#include "kernels/fragments.h"
#include "softmpc/hd/bf16.h"
#include "softmpc/hd/f16.h"
#include "softmpc/multiversion.h"

namespace softmpc::cuda {
namespace emulator {
namespace {

struct F16 {
  static SOFTMPC_HD float value(std::uint32_t bits) { return hd::from_f16(bits); }
};
struct Bf16 {
  static SOFTMPC_HD float value(std::uint32_t bits) { return hd::from_bf16(bits); }
};

template <class Format>
SOFTMPC_HD void multiply(Product& product) {
  alignas(64) float a[16][16], b[16][8];
  for (int pair = 0; pair < 8; ++pair) {
    for (int row = 0; row < 16; ++row) {
      a[2 * pair][row] = Format::value(product.a[pair][row] & 0xffffu);
      a[2 * pair + 1][row] = Format::value(product.a[pair][row] >> 16);
    }
    for (int column = 0; column < 8; ++column) {
      b[2 * pair][column] = Format::value(product.b[pair][column] & 0xffffu);
      b[2 * pair + 1][column] = Format::value(product.b[pair][column] >> 16);
    }
  }
  for (int column = 0; column < 8; ++column) {
    float sum[16];
    for (int row = 0; row < 16; ++row) sum[row] = product.c[column][row];
    for (int k = 0; k < 16; ++k)
      for (int row = 0; row < 16; ++row) sum[row] += a[k][row] * b[k][column];
    for (int row = 0; row < 16; ++row) product.d[column][row] = sum[row];
  }
}

template <class Format>
SOFTMPC_HD void multiply_wide(WideProduct& product, int columns) {
  alignas(64) float a[16][16];
  for (int k = 0; k < 16; ++k)
    for (int row = 0; row < 16; ++row) a[k][row] = Format::value(product.a[k][row]);
  for (int column = 0; column < columns; ++column) {
    float b[16], sum[16];
    for (int k = 0; k < 16; ++k) b[k] = Format::value(product.b[column][k]);
    for (int row = 0; row < 16; ++row) sum[row] = product.d[column][row];
    for (int k = 0; k < 16; ++k)
      for (int row = 0; row < 16; ++row) sum[row] += a[k][row] * b[k];
    for (int row = 0; row < 16; ++row) product.d[column][row] = sum[row];
  }
}

}  // namespace

SOFTMPC_MULTIVERSION void multiply_f16(Product& product) { multiply<F16>(product); }
SOFTMPC_MULTIVERSION void multiply_bf16(Product& product) { multiply<Bf16>(product); }
SOFTMPC_MULTIVERSION void multiply_wide_f16(WideProduct& product, int columns) {
  multiply_wide<F16>(product, columns);
}
SOFTMPC_MULTIVERSION void multiply_wide_bf16(WideProduct& product, int columns) {
  multiply_wide<Bf16>(product, columns);
}

}  // namespace emulator

namespace {

/// Lanes bring their fragments, the last multiplies, all take theirs.
void mma(emulator::Meeting meeting, float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
         std::uint32_t b1) {
  const int lane = emulator::current->lane;
  emulator::Product& product = emulator::current->warp->product;
  for (int i = 0; i < 4; ++i) {
    const Place place = a_fragment(lane, 2 * i);
    product.a[place.column / 2][place.row] = a[i];
  }
  const std::uint32_t b[2] = {b0, b1};
  for (int i = 0; i < 2; ++i) {
    const Place place = b_fragment(lane, 2 * i);
    product.b[place.row / 2][place.column] = b[i];
  }
  for (int i = 0; i < 4; ++i) {
    const Place place = c_fragment(lane, i);
    product.c[place.column][place.row] = d[i];
  }
  emulator::meet(meeting, 0, [&] {
    meeting == emulator::Meeting::mma_f16 ? emulator::multiply_f16(product)
                                          : emulator::multiply_bf16(product);
  });
  for (int i = 0; i < 4; ++i) {
    const Place place = c_fragment(lane, i);
    d[i] = product.d[place.column][place.row];
  }
}

}  // namespace

void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  mma(emulator::Meeting::mma_f16, d, a, b0, b1);
}
void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  mma(emulator::Meeting::mma_bf16, d, a, b0, b1);
}

}  // namespace softmpc::cuda
