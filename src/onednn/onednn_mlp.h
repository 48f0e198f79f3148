// SPDX-License-Identifier: Apache-2.0
// The products between hidden layers of a stack of MLPs through oneDNN's bfloat16, which reaches
// the AMX tiles where the CPU has them; PackedMlp hands it its parameters and blocks. A build
// without oneDNN links onednn_absent.cpp, whose constructor says so.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cpu/kernels.h"

namespace softmpc {

class OneDnnMlp {
 public:
  /// True if this build links oneDNN.
  static bool built();
  /// True if oneDNN multiplies bfloat16 on this CPU (from AVX-512 on).
  static bool usable();
  /// True if it does so with AMX, which our own kernels do not use.
  static bool has_amx();
  /// Wider blocks are cut into pieces of this width, which runs fastest.
  static constexpr int preferred_lanes() { return 64; }

  /// `sizes`: the hidden widths, two or more; SiLU behind every layer. Throws Error where not
  /// usable().
  OneDnnMlp(int stack, const std::vector<int>& sizes);
  ~OneDnnMlp();
  OneDnnMlp(const OneDnnMlp&) = delete;
  OneDnnMlp& operator=(const OneDnnMlp&) = delete;

  /// Takes over layer `l` of network `index`, counted from the first between hidden ones, which
  /// nothing runs; others may be loaded at once.
  void load(int index, std::size_t l, const cpu::PackedLayer& layer);
  /// Evaluates network `index`: x is [in, lanes], y [out, lanes], both with whole kRows, and x with
  /// zeros in the rows beyond `in`, as Kernels::dense leaves them. Several threads may do so at
  /// once. oneDNN itself allocates at each call: eight blocks, 300 bytes, a product in its 2.6.
  void run(int index, const float* x, float* y, int lanes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
