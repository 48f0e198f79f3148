// SPDX-License-Identifier: Apache-2.0
// This program once more, as a child with its output in a file.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace softmpc::tools {

/// Starts this program with `arguments` (without its name). Output is appended to `log`. The child
/// has a process group of its own, so that Ctrl-C reaches it only through us, and gets SIGTERM if
/// we die. Throws Error.
pid_t start_child(const std::vector<std::string>& arguments, const std::string& log);

/// Of waitpid()'s status: the exit code, 128 + signal if one killed the process.
int exit_code(int status);

/// Exit code of a child that has ended, 128 + signal if one killed it; empty while it runs.
std::optional<int> poll_child(pid_t child);

/// Last line of a file that is not empty, or "".
std::string last_line(const std::string& path);

}  // namespace softmpc::tools
