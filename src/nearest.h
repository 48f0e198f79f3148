// SPDX-License-Identifier: Apache-2.0
// The known name nearest to what was typed, for error messages.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace softmpc {

/// The member of `known` with the smallest edit distance (case ignored) to `value`, the first of
/// several; empty if there is none.
std::string nearest_name(std::string_view value, std::span<const std::string> known);

}  // namespace softmpc
