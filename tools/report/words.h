// SPDX-License-Identifier: Apache-2.0
// Numbers and text as a page shows them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace softmpc::tools::report {

/// 50,000
std::string grouped(std::int64_t number);
/// A return: 3,184; 26.1; 0.0123; "–" if not finite.
std::string number(double value);
/// Text within HTML, quotes too.
std::string escaped(std::string_view text);

}  // namespace softmpc::tools::report
