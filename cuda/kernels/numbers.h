// SPDX-License-Identifier: Apache-2.0
// Numbers that operands of products are kept in; sums, states and costs are float32 always.
#pragma once

namespace softmpc::cuda {

enum class Number : int { f32, f16, bf16 };

}  // namespace softmpc::cuda
