// SPDX-License-Identifier: Apache-2.0
// Models and presets compiled into the library, by their path below tasks/.
#pragma once

#include <string_view>

namespace softmpc::tasks {

/// Lives as long as the program. Throws Error for a path that was not embedded.
std::string_view embedded_text(std::string_view path);

}  // namespace softmpc::tasks
