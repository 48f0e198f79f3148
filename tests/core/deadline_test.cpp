// SPDX-License-Identifier: Apache-2.0
// Tests SolveBudget: random solves that are cut anywhere, each against the same part computed again
// to the bit, a planner of so many rollouts, and the oracle; deadlines far and past; how late a
// solve may be, in thread time.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "planner_oracle.h"
#include "planner_tolerance.h"
#include "random_models.h"
#include "random_problem.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

using namespace std::chrono_literals;
using Clock = SolveBudget::Clock;
using oracle::expect_close;
using testing::Buffers;
using testing::Random;
using testing::SmallModels;

/// Counts the steps of a model, and sleeps in a chosen one.
class Stalling final : public DynamicsModel {
 public:
  explicit Stalling(const DynamicsModel& model) : model_(model) {}
  int members() const override { return model_.members(); }
  std::size_t scratch_bytes(int count) const override { return model_.scratch_bytes(count); }
  bool predicts_reward() const override { return model_.predicts_reward(); }
  bool predicts_termination() const override { return model_.predicts_termination(); }
  void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override {
    if (calls_++ == stalled_) std::this_thread::sleep_until(until_);
    model_.step(member, x, a, count, out, scratch);
  }

  int calls() const { return calls_; }
  void stall(int call, Clock::time_point until) {
    calls_ = 0;
    stalled_ = call;
    until_ = until;
  }

 private:
  const DynamicsModel& model_;
  mutable std::atomic<int> calls_{0};
  int stalled_ = -1;
  Clock::time_point until_;
};

Buffers solve(Planner& planner, SolveKey key, Buffers b, const SolveBudget& budget = {},
              SolveDone* done = nullptr) {
  PlanBatch batch = b.batch();
  batch.budget = budget;
  batch.done = done;
  planner.solve(key, batch);
  return b;
}

void expect_same(const Buffers& got, const Buffers& expected, const std::string& what) {
  SCOPED_TRACE(what);
  EXPECT_EQ(got.plan, expected.plan);
  EXPECT_EQ(got.action, expected.action);
  EXPECT_EQ(got.value, expected.value);
  EXPECT_EQ(got.effective_samples, expected.effective_samples);
  EXPECT_EQ(got.valid_share, expected.valid_share);
}

void expect_no_time(const Planner& planner, const Buffers& got, const Buffers& given,
                    const SolveDone& done) {
  EXPECT_EQ(done, SolveDone{});
  EXPECT_EQ(got.plan, given.plan);
  const ProblemShape& s = planner.shape();
  const std::vector<float> neutral = neutral_action(planner.config(), s);
  for (std::size_t b = 0; b < got.id.size(); ++b) {
    EXPECT_EQ(got.status[b], PlanStatus::no_time);
    EXPECT_TRUE(std::isnan(got.value[b]));
    EXPECT_EQ(got.effective_samples[b], 0);
    EXPECT_EQ(got.valid_share[b], 0);
    for (int i = 0; i < s.nu; ++i) {
      const float v = neutral[i] + given.plan[b * planner.plan_size() + i];
      EXPECT_EQ(got.action[b * s.nu + i], std::min(std::max(v, s.action_low[i]), s.action_high[i]));
    }
  }
}

struct Tally {
  int none = 0, cut = 0, whole = 0, smaller = 0, oracle = 0, again = 0;
};

/// A random problem, its models and a full solve.
struct Case {
  explicit Case(std::uint64_t seed)
      : random(seed),
        p(seed % 3 == 0 ? testing::random_proposals(random) : testing::random_problem(random)) {
    p.config.rollouts *= random.whole(1, 6);
    problems = random.whole(1, p.shape.max_problems);
    given = testing::random_buffers(random, problems, p.shape, p.config.horizon);
    key = {seed * 7919 + 1, static_cast<std::uint32_t>(random.whole(0, 1 << 30))};
    net.emplace(p.members, p.shape.nx, p.shape.nu, p.outputs);
    dynamics.emplace(*net);
    value.emplace(p.critic, p.shape.nx, p.shape.nu);
    if (plans_with_policy(p.config))
      policy.emplace(*p.policy, p.shape.action_low, p.shape.action_high);
    reward.emplace(p.shape.nx, p.shape.nu, true);
    full = solve(*planner(), key, given);
    calls = dynamics->calls();
  }

  std::unique_ptr<Planner> planner(ThreadPool* pool = nullptr) const {
    return planner_of(p.config, pool);
  }
  std::unique_ptr<Planner> planner_of(const PlannerConfig& config, ThreadPool* pool) const {
    return make_planner(config, p.shape,
                        {&*dynamics, &*reward, &*value, policy ? &*policy : nullptr},
                        {.pool = pool});
  }
  int fewest(const SolveBudget& budget) const {
    const int quarter = (p.config.rollouts + 3) / 4;
    return std::max(budget.min_rollouts > 0 ? budget.min_rollouts : quarter, p.config.particles);
  }
  /// Whether which members a rollout meets depends on how many there are.
  bool balanced() const {
    return p.config.member_draw != MemberDraw::per_step && p.config.particles == 1;
  }

  void check(const SolveBudget& budget, const Planner& used, const Buffers& got,
             const SolveDone& done, Tally& tally);
  void check_part(const Buffers& got, const SolveDone& done, Tally& tally) const;
  bool agrees_with_oracle(const Buffers& got, const SolveDone& done) const;

  Random random;
  oracle::Problem p;
  int problems = 0, calls = 0;
  SolveKey key;
  Buffers given{1, 1, 1, 1}, full = given;
  std::optional<MlpDynamics> net;
  std::optional<Stalling> dynamics;
  std::optional<MlpValue> value;
  std::optional<MlpPolicy> policy;
  std::optional<testing::TestReward> reward;
};

void Case::check(const SolveBudget& budget, const Planner& used, const Buffers& got,
                 const SolveDone& done, Tally& tally) {
  if (got.status[0] == PlanStatus::no_time) {
    ++tally.none;
    return expect_no_time(used, got, given, done);
  }
  const PlannerConfig& c = p.config;
  ASSERT_GE(done.rollouts, fewest(budget));
  ASSERT_LE(done.rollouts, c.rollouts);
  ASSERT_EQ(done.rollouts % c.particles, 0);
  ASSERT_GE(done.iterations, 1);
  ASSERT_LE(done.iterations, c.iterations);
  if (done == SolveDone{c.iterations, c.rollouts}) {
    ++tally.whole;
    EXPECT_EQ(got.status, full.status);
    return expect_same(got, full, "without a deadline");
  }
  ++tally.cut;
  check_part(got, done, tally);
  tally.oracle += random.whole(0, 3) == 0 && agrees_with_oracle(got, done);
}

void Case::check_part(const Buffers& got, const SolveDone& done, Tally& tally) const {
  for (const PlanStatus status : got.status) EXPECT_EQ(status, PlanStatus::deadline);
  SolveDone again;
  const Buffers part = solve(*planner(), key, given,
                             {.iterations = done.iterations, .rollouts = done.rollouts}, &again);
  EXPECT_EQ(again, done);
  EXPECT_EQ(part.status, got.status);
  expect_same(got, part, "the same part again");
  ++tally.again;
  if (done.iterations > 1 || balanced()) return;
  PlannerConfig smaller = p.config;
  smaller.rollouts = done.rollouts;
  smaller.iterations = 1;
  expect_same(got, solve(*planner_of(smaller, nullptr), key, given), "a planner of so many");
  ++tally.smaller;
}

/// False where the oracle has no such plan, or was too close to call for float32.
bool Case::agrees_with_oracle(const Buffers& got, const SolveDone& done) const {
  if (p.config.proposals != Proposals::plan) return false;
  const auto expected = oracle::solve(p, {key, given.id, given.observation, given.plan, done});
  if (expected.margin < 2e-6) return false;
  const Eigen::Index steps = p.config.horizon + 1, nu = p.shape.nu;
  for (std::size_t b = 0; b < got.id.size(); ++b) {
    const oracle::Update& last = expected.update.back()[b];
    EXPECT_EQ(got.valid_share[b], last.valid_share);
    expect_close(got.value[b], last.value, oracle::kValueTolerance, "value");
    expect_close(got.effective_samples[b], last.effective_samples, 1e-3, "effective samples");
    for (Eigen::Index t = 0; t < steps; ++t)
      for (Eigen::Index i = 0; i < nu; ++i)
        expect_close(got.plan[(b * steps + t) * nu + i], last.plan(t, i), oracle::kPlanTolerance,
                     "plan");
  }
  return true;
}

std::string text(const Case& c, std::uint64_t seed, int threads) {
  return "seed " + std::to_string(seed) + ", " + std::to_string(threads) +
         " threads: " + testing::describe(c.p.config, c.p.shape, c.problems) +
         (c.p.config.proposals == Proposals::plan ? "" : ", proposals");
}

SolveBudget random_budget(Case& c, Clock::time_point deadline) {
  return {.deadline = deadline,
          .min_rollouts = c.random.coin() ? 0 : c.random.whole(1, c.p.config.rollouts)};
}

void print(const char* what, const Tally& t) {
  std::printf(
      "%s: %d without time, %d cut, %d whole; of those cut %d computed again, %d by a "
      "planner of so many rollouts, %d by the oracle\n",
      what, t.none, t.cut, t.whole, t.again, t.smaller, t.oracle);
}

// A step of the model, at random up to twice as many as a solve has, lasts until the deadline: cuts
// are where the machine's speed has no say. New planners, which expect nothing.
TEST(Deadline, SolvesCutAnywhereArePartsOfWholeOnes) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) {
    Case c(seed);
    const int threads = c.random.whole(1, 2);
    SCOPED_TRACE(text(c, seed, threads));
    ThreadPool pool(threads);
    for (int run = 0; run < 5; ++run) {
      const auto planner = c.planner(&pool);
      const SolveBudget budget = random_budget(c, Clock::now() + 15ms);
      c.dynamics->stall(c.random.whole(0, 2 * c.calls), budget.deadline);
      SolveDone done;
      const Buffers got = solve(*planner, c.key, c.given, budget, &done);
      c.dynamics->stall(-1, {});
      c.check(budget, *planner, got, done, tally);
    }
  }
  print("seeds 1..60", tally);
  for (int count : {tally.none, tally.cut, tally.again, tally.smaller, tally.oracle})
    EXPECT_GE(count, 5);
}

// Real deadlines up to twice what a solve takes, of planners that know what their tiles took.
TEST(Deadline, SolvesOfAnyDeadlineArePartsOfWholeOnes) {
  Tally tally;
  for (std::uint64_t seed = 101; seed <= 125 && !HasFailure(); ++seed) {
    Case c(seed);
    const int threads = c.random.whole(1, 2);
    SCOPED_TRACE(text(c, seed, threads));
    ThreadPool pool(threads);
    const auto planner = c.planner(&pool);
    const Clock::time_point begin = Clock::now();
    solve(*planner, c.key, c.given);
    const auto full = Clock::now() - begin;
    for (int run = 0; run < 10; ++run) {
      const auto time = std::chrono::duration_cast<Clock::duration>(full * c.random.real(0, 2));
      const SolveBudget budget = random_budget(c, Clock::now() + time);
      SolveDone done;
      const Buffers got = solve(*planner, c.key, c.given, budget, &done);
      c.check(budget, *planner, got, done, tally);
    }
  }
  print("seeds 101..125", tally);
}

// No clock: halves of plan_and_policy, one of which may have no valid rollout, which status
// deadline hides.
TEST(Deadline, APartIsThePlanOfAPlannerOfSoManyRollouts) {
  Tally tally;
  for (std::uint64_t seed = 402; seed <= 852 && !HasFailure(); seed += 3) {  // proposals
    Case c(seed);
    const PlannerConfig& config = c.p.config;
    const int group = 2 * config.particles, groups = config.rollouts / group;
    if (c.balanced() || groups < 2) continue;
    SCOPED_TRACE(text(c, seed, 1));
    const SolveDone part = {1, group * c.random.whole(1, groups - 1)};
    const Buffers got = solve(*c.planner(), c.key, c.given,
                              {.iterations = part.iterations, .rollouts = part.rollouts});
    c.check_part(got, part, tally);
  }
  EXPECT_GE(tally.smaller, 50);
}

TEST(Deadline, AFarOneChangesNoBit) {
  for (std::uint64_t seed = 201; seed <= 230 && !HasFailure(); ++seed) {
    const Case c(seed);
    SCOPED_TRACE(text(c, seed, 2));
    ThreadPool pool(2);
    const auto planner = c.planner(&pool);
    for (const SolveBudget& budget :
         {SolveBudget{.deadline = Clock::now() + 24h}, SolveBudget{},
          SolveBudget{.iterations = c.p.config.iterations, .rollouts = c.p.config.rollouts}}) {
      SolveDone done;
      const Buffers got = solve(*planner, c.key, c.given, budget, &done);
      EXPECT_EQ(done, (SolveDone{c.p.config.iterations, c.p.config.rollouts}));
      EXPECT_EQ(got.status, c.full.status);
      expect_same(got, c.full, "without a deadline");
    }
  }
}

TEST(Deadline, APastOneBeginsNothing) {
  for (std::uint64_t seed = 301; seed <= 330 && !HasFailure(); ++seed) {
    Case c(seed);
    SCOPED_TRACE(text(c, seed, 2));
    ThreadPool pool(2);
    const auto planner = c.planner(&pool);
    for (const Clock::time_point deadline : {Clock::now() - 1ms, Clock::time_point::min()}) {
      c.dynamics->stall(-1, {});
      SolveDone done = {7, 7};
      const Buffers got = solve(*planner, c.key, c.given, {.deadline = deadline}, &done);
      expect_no_time(*planner, got, c.given, done);
      EXPECT_EQ(c.dynamics->calls(), 0);
    }
  }
}

/// x' = x, of which each step takes the same time of its thread.
class Spinning final : public DynamicsModel {
 public:
  static constexpr auto kStep = 300us;
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns, int count, const StepResult& out,
            void*) const override {
    ++calls;
    for (int i = 0; i < 3; ++i) std::copy_n(x[i], count, out.next[i]);
    for (const auto end = thread_time() + kStep; thread_time() < end;) continue;
  }
  mutable int calls = 0;

 private:
  static std::chrono::nanoseconds thread_time() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  }
};

struct SlowModel : ::testing::Test {
  Random random{5};
  SmallModels nets{random, 3, 2, 2, 8};
  Spinning dynamics;
  PlannerConfig config;
  SlowModel() {
    config.rollouts = 480;  // ten tiles
    config.horizon = 3;
  }
  std::unique_ptr<Planner> planner() {
    Models models = nets.models();
    models.dynamics = &dynamics;
    return make_planner(config, nets.shape(1), models);
  }
};

// However busy the machine is: a clock on the wall runs at least as fast as the thread's.
TEST_F(SlowModel, NoTileBeginsThatWouldBeLate) {
  const auto planner = this->planner();
  const Buffers given(1, nets.nx, nets.nu, config.horizon);
  const auto tile = config.horizon * Spinning::kStep;
  bool expects = false;  // nothing at first, and it may forget where it begins nothing
  for (int run = 0; run < 25; ++run) {
    const auto time = std::chrono::microseconds(random.whole(3'000, 20'000));
    dynamics.calls = 0;
    SolveDone done;
    const SolveBudget budget = {.deadline = Clock::now() + time, .min_rollouts = 1};
    const Buffers got = solve(*planner, {1, 1}, given, budget, &done);
    const int begun = dynamics.calls / config.horizon;
    EXPECT_LE((expects ? begun : begun - 1) * tile, time) << "run " << run;
    expects = begun > 0;
    EXPECT_EQ(done.rollouts, 48 * begun);
    EXPECT_EQ(got.status[0], begun == 10  ? PlanStatus::ok
                             : begun == 0 ? PlanStatus::no_time
                                          : PlanStatus::deadline);
  }
}

TEST_F(SlowModel, ASlowTileDoesNotKeepLaterSolvesForEver) {
  config.rollouts = 20;
  Stalling stalling(dynamics);
  Models models = nets.models();
  models.dynamics = &stalling;
  const auto planner = make_planner(config, nets.shape(1), models);
  const Buffers given(1, nets.nx, nets.nu, config.horizon);
  stalling.stall(0, Clock::now() + 200ms);
  solve(*planner, {1, 1}, given, {.deadline = Clock::now() + 1h});
  int refused = 0;
  for (dynamics.calls = 0; dynamics.calls == 0 && refused < 1000; ++refused)
    solve(*planner, {1, 1}, given, {.deadline = Clock::now() + 100ms});
  EXPECT_GT(refused, 100 - 5);
  EXPECT_LT(refused, 1000);
}

// Iterations that there is no time for leave the plan of those before.
TEST_F(SlowModel, ALaterIterationWithoutTimeLeavesThePlanOfTheFirst) {
  config.iterations = 2;
  Models models = nets.models();
  Stalling stalling(*models.dynamics);
  models.dynamics = &stalling;
  const auto planner = make_planner(config, nets.shape(1), models);
  const Buffers given(1, nets.nx, nets.nu, config.horizon);
  const auto deadline = Clock::now() + 300ms;
  stalling.stall(10 * config.horizon, deadline);  // in the first tile of the second
  SolveDone done;
  const Buffers got = solve(*planner, {1, 1}, given, {.deadline = deadline}, &done);
  EXPECT_EQ(done, (SolveDone{1, 480}));
  EXPECT_EQ(got.status[0], PlanStatus::deadline);
  config.iterations = 1;
  expect_same(got, solve(*make_planner(config, nets.shape(1), nets.models()), {1, 1}, given),
              "one iteration");
}

// A problem in worse trouble than time says so.
TEST_F(SlowModel, BadStatesAndCostsStay) {
  Models models = nets.models();
  config.iterations = 2;
  const auto planner = make_planner(config, nets.shape(3), models);
  Buffers given(3, nets.nx, nets.nu, config.horizon);
  given.observation[0] = std::nanf("");
  given.observation[3] = 3e38f;  // its squares are beyond float32
  SolveDone done;
  const Buffers got = solve(*planner, {1, 1}, given, {.iterations = 1, .rollouts = 240}, &done);
  EXPECT_EQ(done, (SolveDone{1, 240}));
  EXPECT_EQ(got.status,
            (std::vector{PlanStatus::bad_state, PlanStatus::not_finite, PlanStatus::deadline}));
}

}  // namespace
}  // namespace softmpc
