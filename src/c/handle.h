// SPDX-License-Identifier: Apache-2.0
// What the handles of c_api.h hold.
#pragma once

#include <atomic>
#include <memory>

#include "softmpc/bundle.h"
#include "softmpc/controller.h"
#include "user_models.h"

namespace softmpc::c {

/// Sizes that a swap changes.
struct NetSizes {
  std::int32_t rollouts, members;
};
NetSizes net_sizes(const softmpc_options& given, const Bundle& bundle);

/// A handle's owner of the moment; a second one is refused.
class InUse {
 public:
  explicit InUse(std::atomic_flag& flag) noexcept
      : flag_(flag), granted_(!flag.test_and_set(std::memory_order_acquire)) {}
  ~InUse() {
    if (granted_) flag_.clear(std::memory_order_release);
  }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;
  explicit operator bool() const noexcept { return granted_; }
  /// It stays in use afterwards.
  void keep() noexcept { granted_ = false; }

 private:
  std::atomic_flag& flag_;
  bool granted_;
};

/// Throws Failure.
Bundle read_bundle(const char* path);
void fill_statistics(const Statistics& from, softmpc_statistics& out) noexcept;

}  // namespace softmpc::c

struct softmpc_controller {
  /// Throws Failure, or as Controller's constructor.
  softmpc_controller(const softmpc_options& given, const softmpc::Bundle& bundle);

  void plan(const softmpc_request& request, softmpc_plan_out& out) noexcept;
  int horizon() const noexcept { return horizon_; }

  softmpc_options options;  // callbacks alone: arrays and texts are the caller's
  softmpc::c::UserModels models;
  softmpc::Controller controller;
  softmpc::c::NetSizes sizes;
  const std::shared_ptr<const char> identity;  // shared by what is prepared for this one
  mutable std::atomic_flag used;               // while a runner has it, too
  std::atomic<bool> running{false};            // in a runner

 private:
  int horizon_;
};

struct softmpc_prepared {
  softmpc::Prepared nets;
  softmpc::c::NetSizes sizes;
  std::shared_ptr<const char> identity;
};

namespace softmpc::c {

/// `make(bundle)` gives the Prepared, for what `handle` plans with. Throws Failure.
template <class Make>
softmpc_prepared* prepare(const softmpc_controller& handle, const Bundle& bundle,
                          const Make& make) {
  check_bundle_for(handle.options, bundle);
  return or_fail(SOFTMPC_ERROR_UNSUPPORTED, [&] {
    return new softmpc_prepared{make(bundle), net_sizes(handle.options, bundle), handle.identity};
  });
}

}  // namespace softmpc::c
