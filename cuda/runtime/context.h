// SPDX-License-Identifier: Apache-2.0
// The driver's state of one device: context, stream, and whether a fault has ended it. Shared by
// everything that lives on the device.
#pragma once

#include <atomic>
#include <string>

#include "runtime/device.h"
#include "runtime/driver.h"

namespace softmpc::cuda {

class Context {
 public:
  /// The first device's primary context, which other CUDA code of the process shares; a fresh one
  /// if a fault has ended it.
  Context();
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Driver& driver() const { return driver_; }
  const DeviceFacts& facts() const { return facts_; }
  CUstream stream() const { return stream_; }
  /// True after a fault: nothing of this context can be used or freed any more.
  bool broken() const { return broken_; }

  /// Throws Error "DOING: CUDA_ERROR_...", and notes a fault.
  void check(CUresult result, const std::string& doing) const;

  /// Makes the context this thread's current one while it lives.
  class Current {
   public:
    explicit Current(const Context& context);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

   private:
    const Context& context_;
    bool pushed_ = false;
  };

 private:
  void open();

  const Driver& driver_;
  CUdevice device_;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  DeviceFacts facts_;
  mutable std::atomic<bool> broken_{false};
};

}  // namespace softmpc::cuda
