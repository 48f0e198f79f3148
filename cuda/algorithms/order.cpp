// SPDX-License-Identifier: Apache-2.0
#include "softmpc/hd/order.h"

#include <thrust/binary_search.h>
#include <thrust/execution_policy.h>
#include <thrust/sort.h>

#include "algorithms/call.h"

namespace softmpc::algorithms {
namespace {

constexpr int kTailCosts = 256;  // a lane's share of a sum, so that one problem has many lanes

/// x_i of one problem, by increasing cost.
struct Sorted {
  const float* cost;           // [K]
  const std::uint32_t* order;  // [K]
  SOFTMPC_HD Sorted(const Costs& costs, const CostOrder& o, std::int64_t problem)
      : cost(costs.cost + problem * costs.rollouts), order(o.order + problem * costs.rollouts) {}
  SOFTMPC_HD double operator()(int i) const { return cost[order[i]]; }
};

void require_sizes(const Call& call, const Costs& costs) {
  call.require_size("problems", costs.problems);
  call.require_size("rollouts", costs.rollouts);
}

}  // namespace

void order_costs(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& to) {
  const Call call{"order_costs", stream, workspace};
  require_sizes(call, costs);
  const std::int64_t rollouts = costs.rollouts, all = costs.problems * rollouts;
  const Scratch<std::uint64_t> keys(workspace, all);  // problem above, cost below
  std::uint64_t* const key = keys.data();
  call.each(all, [=] SOFTMPC_LAMBDA(std::int64_t i) {
    const bool valid = costs.valid == nullptr || costs.valid[i] != 0;
    key[i] = static_cast<std::uint64_t>(i / rollouts) << 32 |
             (valid ? hd::cost_key(costs.cost[i]) : hd::kInvalidCost);
    to.order[i] = static_cast<std::uint32_t>(i % rollouts);
  });
  if (all > 0)
    call.run(
        [&](const auto& policy) { thrust::stable_sort_by_key(policy, key, key + all, to.order); });
  call.each(costs.problems, [=] SOFTMPC_LAMBDA(std::int64_t b) {
    const std::uint64_t* row = key + b * rollouts;
    const std::uint64_t invalid = static_cast<std::uint64_t>(b) << 32 | hd::kInvalidCost;
    to.valid[b] = static_cast<std::int32_t>(
        thrust::lower_bound(thrust::seq, row, row + rollouts, invalid) - row);
  });
}

void take_elites(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& order,
                 int count, std::uint32_t* elites) {
  const Call call{"take_elites", stream, workspace};
  require_sizes(call, costs);
  call.require_size("count", count);
  call.each(std::int64_t{costs.problems} * count, [=] SOFTMPC_LAMBDA(std::int64_t at) {
    const std::int64_t b = at / count, i = at % count;
    elites[at] = i < order.valid[b] ? order.order[b * costs.rollouts + i] : kNone;
  });
}

void quantiles(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& order,
               std::span<const double> levels, float* values) {
  const Call call{"quantiles", stream, workspace};
  require_sizes(call, costs);
  for (double level : levels) call.require_share("level", level);
  const auto count = static_cast<std::int64_t>(levels.size());
  for (std::int64_t l = 0; l < count; ++l) {
    const double level = levels[static_cast<std::size_t>(l)];
    call.each(costs.problems, [=] SOFTMPC_LAMBDA(std::int64_t b) {
      const int m = order.valid[b];
      values[b * count + l] =
          m == 0 ? NAN : static_cast<float>(hd::quantile(Sorted(costs, order, b), m, level));
    });
  }
}

void tail_means(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& order,
                double alpha, float* means) {
  const Call call{"tail_means", stream, workspace};
  require_sizes(call, costs);
  call.require_share("alpha", alpha);
  const std::int64_t chunks = (std::int64_t{costs.rollouts} + kTailCosts - 1) / kTailCosts;
  const Scratch<double> partial(workspace, costs.problems * chunks * 2);  // [B, chunks, 2]
  double* const part = partial.data();
  call.each(costs.problems * chunks, [=] SOFTMPC_LAMBDA(std::int64_t at) {
    const std::int64_t b = at / chunks;
    const int begin = static_cast<int>(at % chunks) * kTailCosts, m = order.valid[b];
    const Sorted x(costs, order, b);
    double sum = 0, weights = 0;
    for (int i = begin; i < m && i - begin < kTailCosts; ++i) {
      const double w = hd::tail_weight(i, m, alpha);
      sum += w * x(i);
      weights += w;
    }
    part[2 * at] = sum;
    part[2 * at + 1] = weights;
  });
  call.each(costs.problems, [=] SOFTMPC_LAMBDA(std::int64_t b) {
    const int m = order.valid[b];
    double sum = 0, weights = 0;
    for (std::int64_t c = b * chunks; c < (b + 1) * chunks; ++c) {
      sum += part[2 * c];
      weights += part[2 * c + 1];
    }
    // alpha = 1: the limit
    if (m > 0 && weights == 0) sum = Sorted(costs, order, b)(m - 1), weights = 1;
    means[b] = m == 0 ? NAN : static_cast<float>(sum / weights);
  });
}

}  // namespace softmpc::algorithms
