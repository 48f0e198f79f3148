// SPDX-License-Identifier: Apache-2.0
// Lookup in the list that the build made.
#include "embedded.h"

#include <string>

#include "softmpc/error.h"
#include "task_files.h"

namespace softmpc::tasks {

std::string_view embedded_text(std::string_view path) {
  for (const softmpc::detail::EmbeddedFile& file : task_files()) {
    if (path == file.name) return file.text;
  }
  throw Error("no file '" + std::string(path) + "' is built into the library");
}

}  // namespace softmpc::tasks
