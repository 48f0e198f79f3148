// SPDX-License-Identifier: Apache-2.0
// Completion scripts for shells, made from the tree of commands. They call nothing but the shell.
#pragma once

#include <string>

#include "program/command_tree.h"

namespace softmpc::tools {

std::string bash_completion(const TreeCommand& root);
std::string zsh_completion(const TreeCommand& root);
std::string fish_completion(const TreeCommand& root);

}  // namespace softmpc::tools
