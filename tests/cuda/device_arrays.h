// SPDX-License-Identifier: Apache-2.0
// Arrays to a device and back, for tests of kernels; both wait.
#pragma once

#include <memory>
#include <vector>

#include "runtime/device.h"

namespace softmpc::cuda::testing {

inline std::vector<float> read(Device& device, const float* from, std::size_t count) {
  std::vector<float> values(count);
  device.download(values.data(), from, count * sizeof(float));
  device.synchronise();
  return values;
}

template <class T>
std::unique_ptr<Memory> upload(Device& device, const std::vector<T>& values) {
  auto memory = device.allocate(values.size() * sizeof(T));
  device.upload(memory->data(), values.data(), memory->size());
  device.synchronise();
  return memory;
}

}  // namespace softmpc::cuda::testing
