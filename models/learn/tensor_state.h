// SPDX-License-Identifier: Apache-2.0
// Plain vectors in and out of a TensorFile, with errors that name the entry.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "io/safetensors.h"

namespace softmpc {

template <class T>
void put(TensorFile& file, const std::string& name, const std::vector<T>& values) {
  file.tensors[name] =
      Tensor::of<T>({static_cast<std::int64_t>(values.size())}, std::span<const T>(values));
}

/// The values of an entry; throws Error if it is absent or does not have `size` of them.
template <class T>
std::vector<T> get(const TensorFile& file, const std::string& name, std::size_t size) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) throw Error("has no entry '" + name + "'");
  std::vector<T> values = found->second.values<T>();
  if (values.size() != size)
    throw Error("entry '" + name + "' has " + std::to_string(values.size()) + " values; " +
                std::to_string(size) + " were expected");
  return values;
}

}  // namespace softmpc
