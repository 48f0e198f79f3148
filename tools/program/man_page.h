// SPDX-License-Identifier: Apache-2.0
// Man pages, made from the tree of commands.
#pragma once

#include <string>

#include "program/command_tree.h"

namespace softmpc::tools {

/// "softmpc-bench-plan", the page's name and, with .1, its file's.
std::string man_name(const TreeCommand& command);
/// The page as roff, for man and groff -man.
std::string man_page(const TreeCommand& command, const TreeCommand& root);

}  // namespace softmpc::tools
