// SPDX-License-Identifier: Apache-2.0
// A stack of MLPs through oneDNN's bfloat16 products, which reach the AMX tiles where the CPU has
// them. Same blocks and results as PackedMlp in bfloat16. A build without oneDNN links
// onednn_absent.cpp, whose constructor says so.
#pragma once

#include <cstddef>
#include <memory>

#include "cpu/kernels.h"
#include "softmpc/network.h"

namespace softmpc {

class OneDnnMlp {
 public:
  /// True if this build links oneDNN.
  static bool built();
  /// True if oneDNN multiplies bfloat16 on this CPU (AVX-512 at least).
  static bool usable();
  /// True if it does so with AMX, which our own kernels do not use.
  static bool has_amx();
  /// The block width that runs fastest; wider blocks are cut into it.
  static constexpr int preferred_lanes() { return 64; }

  /// As PackedMlp. Throws Error where not usable().
  OneDnnMlp(const MlpWeights& weights, cpu::Activation output_activation, int outputs = 0);
  ~OneDnnMlp();
  OneDnnMlp(const OneDnnMlp&) = delete;
  OneDnnMlp& operator=(const OneDnnMlp&) = delete;

  /// Packs weights of the same shape, while nothing runs. Throws Error if the shape differs.
  void update(const MlpWeights& weights);
  std::size_t scratch_floats(int lanes) const;
  /// Evaluates network `index` on the block [inputs, lanes] at the start of `scratch`; returns
  /// [outputs, lanes] inside it. Several threads may run at once, each with its own scratch. oneDNN
  /// itself allocates a little at each call.
  const float* run(int index, float* scratch, int lanes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
