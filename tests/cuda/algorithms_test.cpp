// SPDX-License-Identifier: Apache-2.0
// Tests the algorithms on Thrust against plain loops, over random sizes with a printed seed: the
// host's build of the source here, nvcc's where there is a GPU.
#include "algorithms/algorithms.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "../core/temp_folder.h"
#include "shared_memory.h"
#include "softmpc/error.h"
#include "softmpc/hd/moments.h"
#include "softmpc/hd/replay.h"

namespace softmpc::algorithms {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Algorithms : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = nothing_to_run_on(); !why.empty()) GTEST_SKIP() << why;
  }

  /// Runs f(generator) for many seeds, each printed where it fails.
  void for_seeds(const std::function<void(std::mt19937&)>& f) {
    const unsigned first = std::random_device{}();
    std::printf("seeds from %u\n", first);
    for (unsigned i = 0; i < 300 && !HasFailure(); ++i) {
      SCOPED_TRACE("seed " + std::to_string(first + i));
      std::mt19937 random(first + i);
      f(random);
    }
  }

  /// call() twice, the second of which must allocate nothing.
  void run(const std::function<void()>& call) {
    call();
    finish_shared();
    const int blocks = workspace_.blocks();
    call();
    finish_shared();
    EXPECT_EQ(workspace_.blocks(), blocks);
  }

  static int up_to(std::mt19937& random, int largest) {
    return std::uniform_int_distribution<int>(0, largest)(random);
  }
  /// Often small, sometimes large.
  static int size(std::mt19937& random, int largest) {
    return up_to(random, std::max(1, largest >> up_to(random, 6)));
  }
  static float normal(std::mt19937& random) { return std::normal_distribution<float>()(random); }

  Stream stream_;
  Workspace workspace_;
};

// ---- sampling ----

struct Draws {
  Shared<std::uint32_t> slots;
  Shared<float> probabilities;
};

Draws draw(Workspace& workspace, const Shared<float>& priorities,
           const Shared<std::uint32_t>& words) {
  Draws d;
  d.slots.assign(words.size(), 12345);
  d.probabilities.assign(words.size(), -1);
  sample_by_priority({}, workspace, priorities.data(),
                     static_cast<std::uint32_t>(priorities.size()), words.data(),
                     static_cast<int>(words.size()), d.slots.data(), d.probabilities.data());
  finish_shared();
  return d;
}

bool counts(float p) { return p > 0 && std::isfinite(p); }

/// The plain way: walks along the priorities in long double. A draw that falls within a rounding of
/// an edge may go to either side.
void expect_draws(const Shared<float>& priorities, const Shared<std::uint32_t>& words,
                  const Draws& d) {
  long double total = 0;
  for (float p : priorities) total += counts(p) ? p : 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (total == 0) {
      EXPECT_EQ(d.slots[i], kNone);
      EXPECT_EQ(d.probabilities[i], 0);
      continue;
    }
    ASSERT_LT(d.slots[i], priorities.size());
    const float p = priorities[d.slots[i]];
    EXPECT_TRUE(counts(p)) << p;
    EXPECT_NEAR(d.probabilities[i], static_cast<double>(p / total), 1e-6 * p / total);
    const long double place = words[i] * 0x1p-32L * total, edge = 1e-9L * total;
    long double before = 0;
    for (std::uint32_t k = 0; k < d.slots[i]; ++k)
      before += counts(priorities[k]) ? priorities[k] : 0;
    EXPECT_GE(place, before - edge) << "draw " << i;
    EXPECT_LE(place, before + p + edge) << "draw " << i;
  }
}

TEST_F(Algorithms, DrawsAreThoseOfAWalkAlongThePriorities) {
  for_seeds([&](std::mt19937& random) {
    Shared<float> priorities(size(random, 3000));
    const int spread = up_to(random, 8);
    for (float& p : priorities) p = std::exp(spread * normal(random));
    for (float& p : priorities)
      if (up_to(random, 4) == 0) p = std::array{0.0f, -1.0f, kNan, kInfinity}[up_to(random, 3)];
    Shared<std::uint32_t> words(size(random, 300));  // as often more as fewer than entries
    for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random());
    Draws d;
    run([&] { d = draw(workspace_, priorities, words); });
    expect_draws(priorities, words, d);
  });
}

TEST_F(Algorithms, EqualPrioritiesDrawTheSlotsOfUniformReplay) {
  for_seeds([&](std::mt19937& random) {
    const Shared<float> priorities(1 + size(random, 5000), std::exp(10 * normal(random)));
    const auto entries = static_cast<std::uint32_t>(priorities.size());
    const std::uint64_t seed = random(), batch = random();
    Shared<std::uint32_t> words(256);
    for (std::uint32_t i = 0; i < words.size(); ++i) words[i] = hd::replay_word(seed, batch, i);
    const Draws d = draw(workspace_, priorities, words);
    for (std::uint32_t i = 0; i < words.size(); ++i)
      ASSERT_EQ(d.slots[i], hd::replay_slot(seed, batch, i, entries)) << "of " << entries;
  });
}

TEST_F(Algorithms, OneEntryOrOnePriorityIsAlwaysDrawn) {
  const Shared<std::uint32_t> words = {0, 1, 0x80000000u, 0xffffffffu};
  for (float p : {1e-45f, 1e-20f, 1.0f, 3.4e38f}) {
    EXPECT_EQ(draw(workspace_, {p}, words).slots, Shared<std::uint32_t>(4, 0)) << p;
    EXPECT_EQ(draw(workspace_, {0, 0, p, 0}, words).slots, Shared<std::uint32_t>(4, 2)) << p;
    EXPECT_EQ(draw(workspace_, {p, 0, 0}, words).probabilities, Shared<float>(4, 1)) << p;
  }
}

TEST_F(Algorithms, NothingToDrawFrom) {
  const Shared<std::uint32_t> words = {0, 0xffffffffu};
  for (const Shared<float>& none : {Shared<float>{}, {0}, {0, -1, kNan, kInfinity}}) {
    const Draws d = draw(workspace_, none, words);
    EXPECT_EQ(d.slots, Shared<std::uint32_t>(2, kNone));
    EXPECT_EQ(d.probabilities, Shared<float>(2, 0));
  }
  EXPECT_TRUE(draw(workspace_, {1, 2}, {}).slots.empty());
}

// ---- write-back ----

TEST_F(Algorithms, OfSeveralRowsForASlotTheLastIsWritten) {
  for_seeds([&](std::mt19937& random) {
    const int count = size(random, 400), width = size(random, 20),
              stride = width + up_to(random, 3);
    const int entries = size(random, 500);
    Shared<std::uint32_t> slots(count);
    for (std::uint32_t& slot : slots) slot = up_to(random, entries);  // entries itself is left out
    if (count > 0 && up_to(random, 3) == 0) slots[up_to(random, count - 1)] = kNone;
    Shared<float> rows(static_cast<std::size_t>(count) * stride);
    for (float& value : rows) value = normal(random);
    // one row more, which must stay as it is
    Shared<float> table((static_cast<std::size_t>(entries) + 1) * stride, 7), want = table;
    // the rule of write_back_row in kernels/train_replay.cuh
    for (int row = 0; row < count; ++row) {
      bool later = false;
      for (int j = row + 1; j < count; ++j) later |= slots[j] == slots[row];
      if (later || slots[row] >= static_cast<std::uint32_t>(entries)) continue;
      for (int i = 0; i < width; ++i) want[slots[row] * stride + i] = rows[row * stride + i];
    }
    run([&] {
      write_back(stream_, workspace_,
                 {slots.data(), rows.data(), count, table.data(),
                  static_cast<std::uint32_t>(entries), width, stride});
    });
    EXPECT_EQ(table, want);
  });
}

// ---- moments ----

struct MomentArrays {
  explicit MomentArrays(int columns) : values(1 + 2 * columns), width(columns) {}
  Moments moments() { return {values.data(), values.data() + 1, values.data() + 1 + width, width}; }
  Shared<double> values;
  int width;
};

TEST_F(Algorithms, FewRowsGiveTheBitsOfOneAfterTheOther) {
  for_seeds([&](std::mt19937& random) {
    const int width = size(random, 40);
    MomentArrays ours(width);
    std::vector<double> want(1 + 2 * width);
    for (int call = 0; call < 4; ++call) {
      const int count = size(random, kMomentRows);
      Shared<float> rows(static_cast<std::size_t>(count) * width);
      for (float& value : rows) value = 100 + normal(random);
      for (int i = 0; i < count; ++i) {
        want[0] += 1;
        for (int c = 0; c < width; ++c)
          hd::add_sample(rows[i * width + c], want[0], want[1 + c], want[1 + width + c]);
      }
      add_rows(stream_, workspace_, ours.moments(), rows.data(), count);
      finish_shared();
    }
    EXPECT_EQ(std::vector<double>(ours.values.begin(), ours.values.end()), want);
  });
}

TEST_F(Algorithms, MomentsAreThoseOfTwoPasses) {
  for_seeds([&](std::mt19937& random) {
    const int width = 1 + size(random, 20);
    MomentArrays ours(width);
    std::vector<std::vector<double>> columns(width);
    for (int call = 0; call < 3; ++call) {
      const int count = size(random, 3000);
      Shared<float> rows(static_cast<std::size_t>(count) * width);
      for (float& value : rows) value = 3 + 0.5f * normal(random);
      for (std::size_t i = 0; i < rows.size(); ++i) columns[i % width].push_back(rows[i]);
      add_rows(stream_, workspace_, ours.moments(), rows.data(), count);
      finish_shared();
    }
    Shared<float> mean(width), std(width);
    run([&] { read_moments(stream_, workspace_, ours.moments(), mean.data(), std.data()); });
    for (int c = 0; c < width; ++c) {
      const double n = static_cast<double>(columns[c].size());
      double m = 0, square = 0;
      for (double x : columns[c]) m += x / n;
      for (double x : columns[c]) square += (x - m) * (x - m);
      EXPECT_EQ(ours.values[0], n);
      EXPECT_NEAR(ours.values[1 + c], m, 1e-12 * n);
      EXPECT_NEAR(ours.values[1 + width + c], square, 1e-11 * n);
      EXPECT_NEAR(mean[c], n < 2 ? 0 : m, 1e-6);
      EXPECT_NEAR(std[c], n < 2 ? 1 : std::sqrt(square / n), 1e-6);
    }
  });
}

TEST_F(Algorithms, MergingAllocatesOnce) {
  MomentArrays ours(3);
  const Shared<float> rows(3 * 1000, 2);
  run([&] { add_rows(stream_, workspace_, ours.moments(), rows.data(), 1000); });
  EXPECT_GT(workspace_.blocks(), 0);
  EXPECT_EQ(ours.values, (Shared<double>{2000, 2, 2, 2, 0, 0, 0}));
}

// ---- order of costs ----

struct Ordered {
  Shared<float> cost;
  Shared<std::uint8_t> valid;
  Shared<std::uint32_t> order;
  Shared<std::int32_t> count;
  Costs costs;

  Ordered(int problems, int rollouts)
      : cost(static_cast<std::size_t>(problems) * rollouts),
        valid(cost.size(), 1),
        order(cost.size(), 12345),
        count(problems, -1) {
    costs = {cost.data(), valid.data(), problems, rollouts};
  }
  CostOrder to() { return {order.data(), count.data()}; }
  /// The plain way: the valid costs of a problem by increasing cost, with their rollouts.
  std::vector<std::pair<float, std::uint32_t>> sorted(int problem) const {
    std::vector<std::pair<float, std::uint32_t>> all;
    for (int k = 0; k < costs.rollouts; ++k) {
      const std::size_t at = static_cast<std::size_t>(problem) * costs.rollouts + k;
      if (std::isfinite(cost[at]) && (costs.valid == nullptr || valid[at] != 0))
        all.emplace_back(cost[at], k);
    }
    std::stable_sort(all.begin(), all.end(), [](auto a, auto b) { return a.first < b.first; });
    return all;
  }
};

/// Random costs: equal ones, both zeros, invalid ones among them, problems without a valid one.
std::unique_ptr<Ordered> random_costs(std::mt19937& random, int problems, int rollouts) {
  auto o = std::make_unique<Ordered>(problems, rollouts);
  const auto up_to = [&](int n) { return std::uniform_int_distribution<int>(0, n)(random); };
  const int kind = up_to(4);
  for (float& c : o->cost) {
    c = 100 * std::normal_distribution<float>()(random);
    if (kind == 1) c = static_cast<float>(up_to(3) - 1);
    if (kind == 2) c = 5;
    if (kind == 3 && up_to(5) == 0)
      c = std::array{0.0f, -0.0f, kNan, kInfinity, -kInfinity}[up_to(4)];
  }
  if (up_to(1) == 0) {
    o->costs.valid = nullptr;
  } else {
    for (std::uint8_t& v : o->valid) v = static_cast<std::uint8_t>(up_to(2));
  }
  if (problems > 0 && up_to(2) == 0) {
    const auto begin =
        o->cost.begin() + static_cast<std::ptrdiff_t>(up_to(problems - 1)) * rollouts;
    std::fill(begin, begin + rollouts, kNan);
  }
  return o;
}

TEST_F(Algorithms, CostsInOrderInvalidOnesLast) {
  for_seeds([&](std::mt19937& random) {
    const auto o = random_costs(random, size(random, 20), size(random, 700));
    run([&] { order_costs(stream_, workspace_, o->costs, o->to()); });
    for (int b = 0; b < o->costs.problems; ++b) {
      const auto want = o->sorted(b);
      ASSERT_EQ(o->count[b], static_cast<int>(want.size()));
      std::vector<std::uint32_t> rest(o->costs.rollouts);
      std::iota(rest.begin(), rest.end(), 0u);
      const auto* order = o->order.data() + static_cast<std::size_t>(b) * o->costs.rollouts;
      for (std::size_t i = 0; i < want.size(); ++i) {
        ASSERT_EQ(order[i], want[i].second) << "problem " << b << " place " << i;
        rest.erase(std::find(rest.begin(), rest.end(), order[i]));
      }
      ASSERT_TRUE(std::equal(rest.begin(), rest.end(), order + want.size())) << "invalid, by index";
    }
  });
}

TEST_F(Algorithms, ElitesAreTheFirstValidOnes) {
  for_seeds([&](std::mt19937& random) {
    const auto o = random_costs(random, size(random, 20), size(random, 300));
    const int count = size(random, 400);  // as often more as fewer than rollouts
    order_costs(stream_, workspace_, o->costs, o->to());
    Shared<std::uint32_t> elites(static_cast<std::size_t>(o->costs.problems) * count, 12345);
    run([&] { take_elites(stream_, workspace_, o->costs, o->to(), count, elites.data()); });
    for (int b = 0; b < o->costs.problems; ++b) {
      const auto want = o->sorted(b);
      for (int i = 0; i < count; ++i)
        ASSERT_EQ(elites[b * count + i],
                  i < static_cast<int>(want.size()) ? want[i].second : kNone);
    }
  });
}

TEST_F(Algorithms, QuantilesByCountingBothSides) {
  const std::vector<double> levels = {0, 0.1, 0.25, 0.5, 0.9, 1};
  for_seeds([&](std::mt19937& random) {
    const auto o = random_costs(random, size(random, 20), size(random, 300));
    order_costs(stream_, workspace_, o->costs, o->to());
    Shared<float> values(o->costs.problems * levels.size());
    run([&] { quantiles(stream_, workspace_, o->costs, o->to(), levels, values.data()); });
    for (int b = 0; b < o->costs.problems; ++b) {
      const auto x = o->sorted(b);
      for (std::size_t l = 0; l < levels.size(); ++l) {
        const float value = values[b * levels.size() + l];
        if (x.empty()) {
          EXPECT_TRUE(std::isnan(value));
          continue;
        }
        // the two neighbours, in shares of their distance
        const double h = levels[l] * static_cast<double>(x.size() - 1);
        const double low = x[static_cast<std::size_t>(std::floor(h))].first;
        const double high = x[static_cast<std::size_t>(std::ceil(h))].first;
        EXPECT_NEAR(value, low * (1 - (h - std::floor(h))) + high * (h - std::floor(h)), 1e-4);
      }
    }
  });
}

TEST_F(Algorithms, TailMeansOfManySmallParts) {
  for_seeds([&](std::mt19937& random) {
    const auto o = random_costs(random, size(random, 10), size(random, 900));
    // thousandths, so that each cost can be cut into a thousand equal parts
    const int thousandths = std::array{0, 1, 250, 500, 900, 950, 999, 1000}[up_to(random, 7)];
    order_costs(stream_, workspace_, o->costs, o->to());
    Shared<float> means(o->costs.problems);
    run([&] {
      tail_means(stream_, workspace_, o->costs, o->to(), thousandths / 1000.0, means.data());
    });
    for (int b = 0; b < o->costs.problems; ++b) {
      const auto x = o->sorted(b);
      if (x.empty()) {
        EXPECT_TRUE(std::isnan(means[b]));
        continue;
      }
      const std::int64_t parts = static_cast<std::int64_t>(x.size()) * 1000;
      std::int64_t wanted = static_cast<std::int64_t>(x.size()) * (1000 - thousandths);
      if (wanted == 0) wanted = 1;  // of the worst
      double sum = 0;
      for (std::int64_t part = parts - wanted; part < parts; ++part) sum += x[part / 1000].first;
      EXPECT_NEAR(means[b], sum / static_cast<double>(wanted), 2e-4) << thousandths;
    }
  });
}

TEST_F(Algorithms, OneRolloutIsItsOwnOrder) {
  Ordered o(1, 1);
  o.cost[0] = -3;
  order_costs(stream_, workspace_, o.costs, o.to());
  Shared<std::uint32_t> elites(2);
  Shared<float> values(2), mean(1);
  const std::vector<double> levels = {0.3, 1};
  take_elites(stream_, workspace_, o.costs, o.to(), 2, elites.data());
  quantiles(stream_, workspace_, o.costs, o.to(), levels, values.data());
  tail_means(stream_, workspace_, o.costs, o.to(), 0.95, mean.data());
  finish_shared();
  EXPECT_EQ(elites, (Shared<std::uint32_t>{0, kNone}));
  EXPECT_EQ(values, (Shared<float>{-3, -3}));
  EXPECT_EQ(mean[0], -3);
}

// ---- errors ----

TEST_F(Algorithms, WrongSizesAreNamed) {
  EXPECT_EQ(test::error_of<Error>(
                [&] { sample_by_priority({}, workspace_, nullptr, 0, nullptr, -1, nullptr); }),
            "sample_by_priority: draws is -1, must be at least 0");
  EXPECT_EQ(test::error_of<Error>([&] {
              write_back({}, workspace_, {nullptr, nullptr, 1, nullptr, 1, 3, 2});
            }),
            "write_back: stride is 2, must be at least 3");
  EXPECT_EQ(test::error_of<Error>([&] {
              add_rows({}, workspace_, {nullptr, nullptr, nullptr, 1}, nullptr, -2);
            }),
            "add_rows: count is -2, must be at least 0");
  EXPECT_EQ(test::error_of<Error>([&] {
              order_costs({}, workspace_, {nullptr, nullptr, -1, 1}, {});
            }),
            "order_costs: problems is -1, must be at least 0");
  EXPECT_EQ(test::error_of<Error>([&] { tail_means({}, workspace_, {}, {}, 1.5, nullptr); }),
            "tail_means: alpha is 1.500000, must be in 0..1");
  const std::vector<double> levels = {0.5, kNan};
  EXPECT_EQ(test::error_of<Error>([&] { quantiles({}, workspace_, {}, {}, levels, nullptr); }),
            "quantiles: level is nan, must be in 0..1");
}

}  // namespace
}  // namespace softmpc::algorithms
