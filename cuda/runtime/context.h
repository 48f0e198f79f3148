// SPDX-License-Identifier: Apache-2.0
// The driver's state of one device: the context and whether a fault has ended it, shared by
// everything that lives on the device; and streams, one for each cuda::Device.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "runtime/device.h"
#include "runtime/driver.h"
#include "softmpc/error.h"

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
  DeviceFacts facts_;
  mutable std::atomic<bool> broken_{false};
};

/// Calls `use` with the context current, in destructors: a lost device has nothing to free.
template <class Use>
void clean_up(const Context& context, const Use& use) noexcept {
  if (context.broken()) return;
  try {
    const Context::Current current(context);
    use(context.driver());
  } catch (const Error&) {  // the driver may be gone at exit
  }
}

using SharedContext = std::shared_ptr<const Context>;

/// An order of work. Those of two threads do not wait for each other, and what one records holds
/// nothing of the other's.
class Stream {
 public:
  explicit Stream(SharedContext context);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const SharedContext& context() const { return context_; }
  CUstream get() const { return stream_; }

 private:
  SharedContext context_;
  CUstream stream_ = nullptr;
};

}  // namespace softmpc::cuda
