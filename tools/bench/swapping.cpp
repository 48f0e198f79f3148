// SPDX-License-Identifier: Apache-2.0
#include "bench/swapping.h"

#include <cmath>
#include <limits>
#include <random>

#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

/// Nets that nobody may fly with.
Bundle spoilt(Bundle bundle, int k) {
  std::vector<float>& critic = bundle.critics.parameters;
  switch (k % 4) {
    case 0:
      critic.front() = std::numeric_limits<float>::quiet_NaN();
      break;
    case 1:
      for (float& weight : critic) weight = 1e30f;
      break;
    case 2:
      bundle.dt *= 2;
      break;
    default:
      ++bundle.planner.horizon;
  }
  return bundle;
}

Bundle varied(Bundle bundle, int k) {
  std::mt19937 draw(static_cast<unsigned>(k));
  std::normal_distribution<float> noise(0, 1e-4f);
  for (float& weight : bundle.critics.parameters) weight *= 1 + noise(draw);
  return bundle;
}

}  // namespace

Swapping::Swapping(const Controller& controller, const Bundle& bundle, int count,
                   std::int64_t period)
    : thread_([this, &controller, bundle, count, period](const std::stop_token& stop) {
        offer(controller, bundle, count, period, stop);
      }) {}

Swapping::~Swapping() { finish(); }

std::string Swapping::finish() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  return trouble_;
}

void Swapping::offer(const Controller& controller, const Bundle& bundle, int count,
                     std::int64_t period, const std::stop_token& stop) {
  const auto pause = std::chrono::microseconds(100);
  for (int k = 0; k < count && !stop.stop_requested(); ++k) {
    const auto next = std::chrono::steady_clock::now() + Nanoseconds(period);
    try {
      Prepared(controller, spoilt(bundle, k));
      ++bad_taken_;
    } catch (const Error&) {
      ++refused_;
    }
    try {
      Prepared nets(controller, varied(bundle, k));
      ready_.store(&nets, std::memory_order_release);
      while (ready_.load(std::memory_order_acquire) && !stop.stop_requested())
        std::this_thread::sleep_for(pause);
      ready_.store(nullptr);        // the loop is over where it was not taken
    } catch (const Error& error) {  // what planned before is freed here, or nothing was made
      if (trouble_.empty()) trouble_ = error.what();
    }
    while (std::chrono::steady_clock::now() < next && !stop.stop_requested())
      std::this_thread::sleep_for(pause);
  }
}

bool Swapping::swap(Controller& controller) noexcept {
  Prepared* nets = ready_.load(std::memory_order_acquire);
  if (!nets) return false;
  controller.swap(*nets);
  ready_.store(nullptr, std::memory_order_release);
  return true;
}

}  // namespace softmpc::tools
