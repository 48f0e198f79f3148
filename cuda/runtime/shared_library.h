// SPDX-License-Identifier: Apache-2.0
// Libraries that are opened by name at run time.
#pragma once

#include <dlfcn.h>

#include <string>

#include "softmpc/error.h"

namespace softmpc::cuda {

/// Null if the file cannot be loaded; it stays loaded.
inline void* open_shared(const std::string& path) {
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
}

/// `function` by its name. Throws Error naming the library if it has none.
template <class Function>
void resolve(void* library, const char* name, Function& function, const char* library_name) {
  void* address = dlsym(library, name);
  if (address == nullptr) {
    throw Error(std::string(library_name) + " has no function " + name + ": a newer one is needed");
  }
  function = reinterpret_cast<Function>(address);
}

}  // namespace softmpc::cuda
