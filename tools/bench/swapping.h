// SPDX-License-Identifier: Apache-2.0
// A thread that offers a running controller other nets: good ones, which the loop swaps in, and bad
// ones, which have to be refused.
#pragma once

#include <atomic>
#include <cstdint>
#include <stop_token>
#include <string>
#include <thread>

#include "softmpc/controller.h"

namespace softmpc::tools {

class Swapping {
 public:
  /// Offers `count` times a copy of `bundle` with a little noise in its critic, every `period` (ns)
  /// at most, and before each a bad one.
  Swapping(const Controller& controller, const Bundle& bundle, int count, std::int64_t period);
  ~Swapping();

  /// Of the loop's thread, between two plans: swaps what is ready. Whether it did.
  bool swap(Controller& controller) noexcept;
  int refused() const { return refused_.load(); }
  /// Bad nets that were not refused.
  int bad_taken() const { return bad_taken_.load(); }
  /// Ends the thread; the first reason why good nets were refused, empty: none were.
  std::string finish();

 private:
  void offer(const Controller& controller, const Bundle& bundle, int count, std::int64_t period,
             const std::stop_token& stop);
  std::atomic<Prepared*> ready_{nullptr};
  std::atomic<int> refused_{0}, bad_taken_{0};
  std::string trouble_;
  std::jthread thread_;
};

}  // namespace softmpc::tools
