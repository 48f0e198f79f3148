// SPDX-License-Identifier: Apache-2.0
// Tests that a plan is a function of key, problem id and inputs: hashes are equal for any number of
// threads, any place in a batch and any batch size, and from run to run.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/random_models.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

using testing::Buffers;
using testing::Random;
using testing::SmallModels;

/// FNV-1a over the bytes of an array.
template <class T>
std::uint64_t hash(const std::vector<T>& values, std::uint64_t h = 1469598103934665603ull) {
  for (const T& value : values) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof bytes);
    for (unsigned char byte : bytes) h = (h ^ byte) * 1099511628211ull;
  }
  return h;
}
std::uint64_t hash(const Buffers& b) {
  return hash(b.status, hash(b.effective_samples, hash(b.value, hash(b.action, hash(b.plan)))));
}

struct Variant {
  Prior prior;
  ControlMode mode;
  MemberDraw draw;
  bool terminations;
};

const Variant kVariants[] = {
    {Prior::gaussian, ControlMode::plain, MemberDraw::per_step, false},
    {Prior::uniform, ControlMode::plain, MemberDraw::per_step, true},
    {Prior::gaussian, ControlMode::mean_residual, MemberDraw::per_rollout, false},
    {Prior::uniform, ControlMode::policy_residual, MemberDraw::per_rollout_step, true},
    {Prior::gaussian, ControlMode::policy_residual, MemberDraw::per_rollout_step, true},
};

class Determinism : public ::testing::TestWithParam<Variant> {
 protected:
  static constexpr int kProblems = 9;
  Random random{21};
  SmallModels nets{random, 5, 3, 3, 24, true};
  PlannerConfig config;

  Determinism() {
    config.rollouts = 77;  // tiles cut problems in the middle
    config.horizon = 4;
    config.iterations = 2;
    config.prior = GetParam().prior;
    config.control_mode = GetParam().mode;
    config.member_draw = GetParam().draw;
    config.handle_terminations = GetParam().terminations;
  }

  Buffers buffers() {
    Random values(4);
    Buffers b(kProblems, nets.nx, nets.nu, config.horizon);
    b.observation = values.normals(b.observation.size(), 0.5);
    b.plan = values.normals(b.plan.size(), 0.2);
    for (auto& id : b.id) id = static_cast<std::uint32_t>(values.whole(0, 1 << 30));
    return b;
  }

  /// The problems `which` of `all`, in that order, as a batch of their own.
  Buffers pick(const Buffers& all, const std::vector<int>& which) const {
    Buffers b(static_cast<int>(which.size()), nets.nx, nets.nu, config.horizon);
    const std::size_t nx = nets.nx, plan = all.plan.size() / kProblems;
    for (std::size_t i = 0; i < which.size(); ++i) {
      const std::size_t from = static_cast<std::size_t>(which[i]);
      std::copy_n(all.observation.begin() + from * nx, nx, b.observation.begin() + i * nx);
      std::copy_n(all.plan.begin() + from * plan, plan, b.plan.begin() + i * plan);
      b.id[i] = all.id[from];
    }
    return b;
  }
};

TEST_P(Determinism, ThreadsDoNotMatter) {
  std::uint64_t expected = 0;
  for (int threads : {1, 2, 3, 7, 2}) {
    ThreadPool pool(threads);
    const auto planner =
        make_planner(config, nets.shape(kProblems), nets.models(), {.pool = &pool});
    for (int run = 0; run < 3; ++run) {
      Buffers b = buffers();
      planner->solve({3, 8}, b.batch());
      if (expected == 0) expected = hash(b);
      EXPECT_EQ(hash(b), expected) << threads << " threads, run " << run;
    }
  }
  const auto without_pool = make_planner(config, nets.shape(kProblems), nets.models());
  Buffers b = buffers();
  without_pool->solve({3, 8}, b.batch());
  EXPECT_EQ(hash(b), expected) << "without a pool";
}

TEST_P(Determinism, TheKeyMatters) {
  const auto planner = make_planner(config, nets.shape(kProblems), nets.models());
  Buffers one = buffers(), other_solve = buffers(), other_seed = buffers();
  planner->solve({3, 8}, one.batch());
  planner->solve({3, 9}, other_solve.batch());
  planner->solve({4, 8}, other_seed.batch());
  EXPECT_NE(hash(one), hash(other_solve));
  EXPECT_NE(hash(one), hash(other_seed));
}

TEST_P(Determinism, ThePlaceInTheBatchDoesNotMatter) {
  ThreadPool pool(2);
  const Buffers start = buffers();
  Buffers all = start;
  const auto planner = make_planner(config, nets.shape(kProblems), nets.models(), {.pool = &pool});
  planner->solve({3, 8}, all.batch());
  const std::size_t plan = all.plan.size() / kProblems;
  std::vector<int> order(kProblems);
  std::iota(order.begin(), order.end(), 0);
  for (int size : {1, 2, 4, 8, 9}) {
    std::rotate(order.begin(), order.begin() + 2, order.end());
    const std::vector<int> which(order.begin(), order.begin() + size);
    Buffers part = pick(start, which);
    planner->solve({3, 8}, part.batch());
    for (std::size_t i = 0; i < which.size(); ++i) {
      const std::size_t from = static_cast<std::size_t>(which[i]);
      EXPECT_EQ(part.value[i], all.value[from]) << "batch of " << size;
      EXPECT_EQ(part.effective_samples[i], all.effective_samples[from]);
      EXPECT_TRUE(std::equal(part.plan.begin() + i * plan, part.plan.begin() + (i + 1) * plan,
                             all.plan.begin() + from * plan))
          << "batch of " << size;
    }
  }
}

std::string name_of(const ::testing::TestParamInfo<Variant>& info) {
  return "Variant" + std::to_string(info.index);
}
INSTANTIATE_TEST_SUITE_P(Variants, Determinism, ::testing::ValuesIn(kVariants), name_of);

}  // namespace
}  // namespace softmpc
