// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace softmpc {

/// What a layer of a net applies to its sums.
enum class Activation { none, silu, tanh };

}  // namespace softmpc
