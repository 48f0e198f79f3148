// SPDX-License-Identifier: Apache-2.0
// Text files compiled into the library, by their path below tasks/.
#pragma once

#include <string>
#include <string_view>

namespace softmpc::tasks {

/// Lives as long as the program. Throws Error for a path that was not embedded.
std::string_view embedded_text(std::string_view path);

/// The text of a header of rules, as a device compiles it: with what it includes of tasks/; what it
/// includes of softmpc/hd/ the device's compiler knows.
std::string rules_text(std::string_view header);
/// The same, of a header that was embedded: "hopper/hopper.h".
std::string embedded_rules(std::string_view path);

}  // namespace softmpc::tasks
