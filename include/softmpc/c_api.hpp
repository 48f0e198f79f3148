// SPDX-License-Identifier: Apache-2.0
// c_api.h for C++ (17 or later) programs that ship without us: handles that close themselves, and
// errors as exceptions. A plan is not an error: its status says what it is.
#pragma once

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "softmpc/c_api.h"

namespace softmpc::c_api {

class Error : public std::runtime_error {
 public:
  Error(softmpc_result number, const std::string& text)
      : std::runtime_error(text), result(number) {}
  softmpc_result result;
};

/// Throws Error unless a function has done its work.
inline void check(softmpc_result result, const char* text = "") {
  if (result != SOFTMPC_DONE)
    throw Error(result,
                *text != '\0' ? text : std::string("softmpc: ") + softmpc_result_name(result));
}

inline softmpc_options default_options() {
  softmpc_options options;
  softmpc_options_init(&options, sizeof options);
  return options;
}

inline softmpc_runner_options default_runner_options() {
  softmpc_runner_options options;
  softmpc_runner_options_init(&options, sizeof options);
  return options;
}

struct Close {
  void operator()(softmpc_controller* controller) const { softmpc_close(controller); }
  void operator()(softmpc_runner* runner) const {
    softmpc_controller* controller = nullptr;
    if (softmpc_runner_stop(runner, &controller) == SOFTMPC_DONE) softmpc_close(controller);
  }
  void operator()(softmpc_prepared* prepared) const { softmpc_prepared_free(prepared); }
};
/// A bundle that Controller::swap() or Runner::offer() takes; freed before its controller.
using Prepared = std::unique_ptr<softmpc_prepared, Close>;

/// Room for an error's text.
inline constexpr std::size_t kLongest = 1000;

/// One thread at a time; arrays and callbacks of `options` as softmpc_open() has them.
class Controller {
 public:
  explicit Controller(const std::string& bundle,
                      const softmpc_options& options = default_options()) {
    softmpc_controller* made = nullptr;
    char error[kLongest];
    check(softmpc_open(bundle.c_str(), &options, &made, error, sizeof error), error);
    take(made);
  }
  Controller(const void* data, std::size_t bytes,
             const softmpc_options& options = default_options()) {
    softmpc_controller* made = nullptr;
    char error[kLongest];
    check(softmpc_open_memory(data, bytes, &options, &made, error, sizeof error), error);
    take(made);
  }

  /// Owns `handle` from here on.
  explicit Controller(softmpc_controller* handle) { take(handle); }

  const softmpc_sizes& sizes() const { return sizes_; }
  std::string notes() const {
    char text[kLongest];
    check(softmpc_get_notes(get(), text, sizeof text));
    return text;
  }
  /// Tighter than the bundle's from the next plan on, [nu] each.
  void set_bounds(const std::vector<float>& low, const std::vector<float>& high) {
    if (low.size() != action_.size() || high.size() != action_.size())
      throw Error(SOFTMPC_ERROR_ARGUMENT, "softmpc: bounds have nu entries");
    check(softmpc_set_bounds(get(), low.data(), high.data()));
  }
  /// A plan's numbers and its command, action(), from state [nx].
  softmpc_plan_out plan(const std::vector<float>& state, std::int64_t state_time_ns = 0,
                        std::int64_t deadline_ns = 0) {
    softmpc_request request{};
    request.size = sizeof request;
    request.state = state.data();
    request.state_count = state.size();
    request.state_time_ns = state_time_ns;
    request.deadline_ns = deadline_ns;
    softmpc_plan_out out{};
    out.size = sizeof out;
    out.action = action_.data();
    if (state.empty() || softmpc_plan(get(), &request, &out) == SOFTMPC_STATUS_WRONG_ARGUMENT)
      throw Error(SOFTMPC_ERROR_ARGUMENT,
                  "softmpc: no plan of an empty state, or of a handle in use");
    return out;
  }
  const std::vector<float>& action() const { return action_; }  ///< [nu] of the last plan
  void reset() { check(softmpc_reset(get())); }

  std::vector<unsigned char> save_state() const {
    std::vector<unsigned char> bytes(sizes_.state_bytes);
    check(softmpc_save_state(get(), bytes.data(), bytes.size()));
    return bytes;
  }
  void load_state(const std::vector<unsigned char>& bytes) {
    check(softmpc_load_state(get(), bytes.data(), bytes.size()));
  }

  /// On any thread, while this one plans.
  Prepared prepare(const std::string& bundle) const {
    softmpc_prepared* made = nullptr;
    char error[kLongest];
    check(softmpc_prepare(get(), bundle.c_str(), &made, error, sizeof error), error);
    return Prepared(made);
  }
  void swap(Prepared& prepared) { check(softmpc_swap(get(), prepared.get())); }

  softmpc_statistics statistics() const {
    softmpc_statistics s{};
    s.size = sizeof s;
    check(softmpc_get_statistics(get(), &s));
    return s;
  }
  softmpc_controller* get() const { return handle_.get(); }
  /// The handle is the caller's.
  softmpc_controller* release() { return handle_.release(); }

 private:
  void take(softmpc_controller* made) {
    handle_.reset(made);
    sizes_.size = sizeof sizes_;
    check(softmpc_get_sizes(made, &sizes_));
    action_.resize(static_cast<std::size_t>(sizes_.nu));
  }

  std::unique_ptr<softmpc_controller, Close> handle_;
  softmpc_sizes sizes_{};
  std::vector<float> action_;
};

/// A controller on a thread of its own: softmpc_runner_start() says from which threads.
class Runner {
 public:
  /// Where it throws, the controller stays where it was.
  explicit Runner(Controller&& controller,
                  const softmpc_runner_options& options = default_runner_options())
      : sizes_(controller.sizes()) {
    softmpc_runner* made = nullptr;
    char error[kLongest];
    check(softmpc_runner_start(controller.get(), &options, &made, error, sizeof error), error);
    controller.release();
    handle_.reset(made);
  }

  void submit(const std::vector<float>& state, std::int64_t measured_ns) {
    check(state.empty() ? SOFTMPC_ERROR_ARGUMENT
                        : softmpc_runner_submit(get(), state.data(), state.size(), measured_ns));
  }
  /// To `action` [nu].
  softmpc_command_info command_at(std::int64_t t_ns, std::vector<float>& action) const {
    action.resize(static_cast<std::size_t>(sizes_.nu));
    softmpc_command_info info{};
    info.size = sizeof info;
    check(softmpc_runner_command_at(get(), t_ns, action.data(), &info));
    return info;
  }

  Prepared prepare(const std::string& bundle) const {
    softmpc_prepared* made = nullptr;
    char error[kLongest];
    check(softmpc_runner_prepare(get(), bundle.c_str(), &made, error, sizeof error), error);
    return Prepared(made);
  }
  /// False while an earlier offer waits; `prepared` is empty if it was taken.
  bool offer(Prepared& prepared) {
    const softmpc_result result = softmpc_runner_offer(get(), prepared.get());
    if (result == SOFTMPC_ERROR_BUSY) return false;
    check(result);
    prepared.release();
    return true;
  }

  softmpc_statistics statistics() const {
    softmpc_statistics s{};
    s.size = sizeof s;
    check(softmpc_runner_get_statistics(get(), &s));
    return s;
  }
  std::string notes() const {
    char text[kLongest];
    check(softmpc_runner_notes(get(), text, sizeof text));
    return text;
  }
  /// Once.
  Controller stop() {
    softmpc_controller* controller = nullptr;
    check(softmpc_runner_stop(get(), &controller));
    handle_.release();
    return Controller(controller);
  }
  softmpc_runner* get() const { return handle_.get(); }

 private:
  softmpc_sizes sizes_;
  std::unique_ptr<softmpc_runner, Close> handle_;
};

}  // namespace softmpc::c_api
