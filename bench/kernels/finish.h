// SPDX-License-Identifier: Apache-2.0
// Bias and SiLU in a second pass, for the bases without an epilogue.
#pragma once

#include "cases.h"
#include "softmpc/hd/math.h"

namespace softmpc::bench {
namespace {  // each includer is compiled with its own instruction set

template <bool kSilu>
void finish_rows(const Shape& s, const float* bias, int lanes, float* y) {
  for (int o = 0; o < s.out; ++o, y += lanes) {
    const float b = bias[o];
#pragma GCC ivdep
    for (int j = 0; j < lanes; ++j) y[j] = kSilu ? hd::silu(y[j] + b) : y[j] + b;
  }
}

void finish(const Shape& s, const float* bias, int lanes, float* y) {
  if (s.silu)
    finish_rows<true>(s, bias, lanes, y);
  else
    finish_rows<false>(s, bias, lanes, y);
}

}  // namespace
}  // namespace softmpc::bench
