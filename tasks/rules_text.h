// SPDX-License-Identifier: Apache-2.0
// Headers of rules as text, for devices; their paths are below tasks/.
#pragma once

#include <string>
#include <string_view>

namespace softmpc::tasks {

/// "hopper/hopper.h" as it was built into the library; lives as long as the program. Throws Error
/// for a path that was not.
std::string_view rules_header(std::string_view path);

/// The text of a header of rules, as a device compiles it: with what it includes of tasks/; what it
/// includes of softmpc/hd/ the device's compiler knows.
std::string rules_text(std::string_view header);

}  // namespace softmpc::tasks
