// SPDX-License-Identifier: Apache-2.0
// What the algorithms call Thrust by. The only place, beside workspace.cpp, that knows which of the
// two builds it is in.
#pragma once

#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/system/system_error.h>

#include <cstdint>
#include <string>

#include "algorithms/algorithms.h"
#include "softmpc/error.h"

#if defined(__CUDACC__)
#include <thrust/system/cuda/execution_policy.h>
#define SOFTMPC_LAMBDA __host__ __device__
#else
#include <thrust/system/cpp/execution_policy.h>
#define SOFTMPC_LAMBDA
#endif

namespace softmpc::algorithms {

/// A block of the workspace for the time of a call.
template <class T>
class Scratch {
 public:
  Scratch(Workspace& workspace, std::int64_t count)
      : workspace_(workspace), bytes_(static_cast<std::ptrdiff_t>(sizeof(T)) * count) {
    if (count > 0) block_ = workspace_.allocate(bytes_);
  }
  ~Scratch() {
    if (block_ != nullptr) workspace_.deallocate(block_, static_cast<std::size_t>(bytes_));
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return reinterpret_cast<T*>(block_); }

 private:
  Workspace& workspace_;
  std::ptrdiff_t bytes_;
  char* block_ = nullptr;
};

/// One call of an algorithm: its name for errors, and where it runs.
struct Call {
  const char* name;
  Stream stream;
  Workspace& workspace;

  void require_size(const char* what, int value, int least = 0) const {
    if (value < least)
      throw Error(std::string(name) + ": " + what + " is " + std::to_string(value) +
                  ", must be at least " + std::to_string(least));
  }
  void require_share(const char* what, double value) const {
    if (!(value >= 0 && value <= 1))
      throw Error(std::string(name) + ": " + what + " is " + std::to_string(value) +
                  ", must be in 0..1");
  }

  /// f(policy), f being calls of Thrust.
  template <class F>
  void run(const F& f) const {
    try {
#if defined(__CUDACC__)
      f(thrust::cuda::par_nosync(workspace).on(static_cast<cudaStream_t>(stream.cuda)));
#else
      f(thrust::cpp::par(workspace));
#endif
    } catch (const thrust::system_error& error) {
      throw Error(std::string(name) + ": " + error.what());
    }
  }

  /// f(i) for i = 0..count-1, in any order.
  template <class F>
  void each(std::int64_t count, const F& f) const {
    if (count > 0)
      run([&](const auto& policy) {
        thrust::for_each_n(policy, thrust::counting_iterator<std::int64_t>(0), count, f);
      });
  }
};

}  // namespace softmpc::algorithms
