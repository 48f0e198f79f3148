// SPDX-License-Identifier: Apache-2.0
// The caller's functions as models. An error that one returns travels as an exception to the plan,
// whose status it becomes.
#pragma once

#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "border.h"
#include "softmpc/bundle.h"
#include "softmpc/c_api.h"
#include "softmpc/error.h"
#include "softmpc/model.h"

namespace softmpc::c {

/// Callbacks that this thread is inside of. In the library's own share of a thread's memory: the
/// first use of another kind would allocate.
inline thread_local int callbacks_here [[gnu::tls_model("initial-exec")]] = 0;

/// Calls a function of the caller's.
template <class... Parameters, class... Arguments>
std::int32_t call(std::int32_t (*function)(Parameters...), Arguments... arguments) {
  ++callbacks_here;
  const std::int32_t returned = function(arguments...);
  --callbacks_here;
  return returned;
}

inline void check(std::int32_t returned, const char* callback) {
  if (returned != 0)
    throw Failure(SOFTMPC_ERROR_ARGUMENT, std::string("options.") + callback +
                                              " returned the error " + std::to_string(returned));
}

/// Blocks of one call share their stride in every planner of the CPU, the only ones that call here.
inline std::int32_t common_stride(int a, int b) {
  if (a != b) throw Error("blocks of two strides");
  return a;
}

/// Reward and termination: the caller's, and `known` where there is no callback.
class UserReward final : public RewardModel {
 public:
  UserReward(const softmpc_options& given, std::unique_ptr<RewardModel> known)
      : given_(given), known_(std::move(known)) {}

  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override {
    if (given_.reward != nullptr) {
      const auto stride = common_stride(x.stride, common_stride(a.stride, next.stride));
      check(call(given_.reward, given_.user, x.data, a.data, next.data, stride, count, out),
            "reward");
    } else if (known_) {
      known_->reward(x, a, next, count, out);
    } else {  // the nets predict it
      for (int j = 0; j < count; ++j) out[j] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  bool has_termination() const override {
    return given_.terminated != nullptr || (known_ && known_->has_termination());
  }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    if (given_.terminated != nullptr)
      check(call(given_.terminated, given_.user, next.data, next.stride, count, out), "terminated");
    else if (known_)
      known_->terminated(next, count, out);
    else
      std::memset(out, 0, static_cast<std::size_t>(count));
  }

 private:
  softmpc_options given_;
  std::unique_ptr<RewardModel> known_;
};

class UserDynamics final : public DynamicsModel {
 public:
  explicit UserDynamics(const softmpc_options& given) : step_(given.step), user_(given.user) {}

  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void*) const override {
    const auto stride = common_stride(x.stride, common_stride(a.stride, out.next.stride));
    check(call(step_, user_, x.data, a.data, stride, count, out.next.data), "step");
  }

 private:
  softmpc_step_fn step_;
  void* user_;
};

class UserValue final : public TerminalValue {
 public:
  explicit UserValue(const softmpc_options& given) : value_(given.value), user_(given.user) {}

  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out, void*) const override {
    const auto stride = common_stride(x.stride, a.stride);
    check(call(value_, user_, x.data, a.data, stride, count, out), "value");
  }

 private:
  softmpc_value_fn value_;
  void* user_;
};

/// What a controller looks ahead with beside its bundle.
struct UserModels {
  /// Throws Failure where `bundle`, with these options, has no dynamics or no reward, or has one
  /// that a callback cannot take the place of.
  UserModels(const softmpc_options& given, const Bundle& bundle);

  std::unique_ptr<RewardModel> reward;  // null: the nets predict all
  std::unique_ptr<DynamicsModel> dynamics;
  std::unique_ptr<TerminalValue> value;
};

/// The rules of UserModels(), for a bundle that is to be swapped in.
void check_bundle_for(const softmpc_options& given, const Bundle& bundle);

}  // namespace softmpc::c
