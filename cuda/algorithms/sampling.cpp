// SPDX-License-Identifier: Apache-2.0
#include <thrust/binary_search.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/sort.h>
#include <thrust/transform_scan.h>

#include "algorithms/call.h"
#include "softmpc/hd/priority.h"

namespace softmpc::algorithms {
namespace {

struct Larger {
  SOFTMPC_HD float operator()(float a, float b) const { return a < b ? b : a; }
};

struct Sum {
  SOFTMPC_HD std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a + b; }
};

struct Counted {
  SOFTMPC_HD float operator()(float p) const { return hd::counted_priority(p); }
};

struct Units {
  const float* largest;  // on the device
  int bits;
  SOFTMPC_HD std::uint64_t operator()(float p) const {
    return hd::priority_units(p, hd::priority_shift(*largest, bits));
  }
};

struct DrawnUnit {
  const std::uint64_t* total;
  SOFTMPC_HD std::uint64_t operator()(std::uint32_t word) const {
    return hd::drawn_unit(word, *total);
  }
};

}  // namespace

void sample_by_priority(Stream stream, Workspace& workspace, const float* priorities,
                        std::uint32_t entries, const std::uint32_t* words, int draws,
                        std::uint32_t* slots, float* probabilities) {
  const Call call{"sample_by_priority", stream, workspace};
  call.require_size("draws", draws);
  if (draws == 0) return;
  const std::int64_t n = entries;
  const Scratch<float> largest(workspace, n);       // of those up to each entry
  const Scratch<std::uint64_t> sums(workspace, n);  // in units
  const std::uint64_t* sum = sums.data();
  if (n > 0) {
    call.run([&](const auto& policy) {
      // a scan, since its last value stays on the device where a reduction's would be waited for
      thrust::transform_inclusive_scan(policy, priorities, priorities + n, largest.data(),
                                       Counted{}, Larger{});
      thrust::transform_inclusive_scan(policy, priorities, priorities + n, sums.data(),
                                       Units{largest.data() + n - 1, hd::entry_bits(entries)},
                                       Sum{});
      const auto unit = thrust::make_transform_iterator(words, DrawnUnit{sum + n - 1});
      thrust::upper_bound(policy, sum, sum + n, unit, unit + draws, slots);
    });
  }
  call.each(draws, [=] SOFTMPC_LAMBDA(std::int64_t i) {
    const bool some = n > 0 && sum[n - 1] > 0;
    if (!some) slots[i] = kNone;
    if (probabilities == nullptr) return;
    const std::uint32_t slot = slots[i];
    const std::uint64_t before = some && slot > 0 ? sum[slot - 1] : 0;
    probabilities[i] = some ? static_cast<float>(static_cast<double>(sum[slot] - before) /
                                                 static_cast<double>(sum[n - 1]))
                            : 0.0f;
  });
}

void write_back(Stream stream, Workspace& workspace, const RowsToSlots& job) {
  const Call call{"write_back", stream, workspace};
  call.require_size("count", job.count);
  call.require_size("width", job.width);
  call.require_size("stride", job.stride, job.width);
  if (job.count == 0 || job.width == 0) return;
  const std::int64_t n = job.count;
  const Scratch<std::uint32_t> slots(workspace, n), order(workspace, n);
  std::uint32_t *slot = slots.data(), *row = order.data();
  call.each(n, [=] SOFTMPC_LAMBDA(std::int64_t i) {
    slot[i] = job.slots[i];
    row[i] = static_cast<std::uint32_t>(i);
  });
  // stable: rows of one slot stay in their order, and the last ends its run
  call.run([&](const auto& policy) { thrust::stable_sort_by_key(policy, slot, slot + n, row); });
  call.each(n * job.width, [=] SOFTMPC_LAMBDA(std::int64_t at) {
    const std::int64_t i = at / job.width, column = at % job.width;
    const bool last = i + 1 == n || slot[i + 1] != slot[i];
    if (last && slot[i] < job.entries)
      job.table[std::int64_t{slot[i]} * job.stride + column] =
          job.rows[std::int64_t{row[i]} * job.stride + column];
  });
}

}  // namespace softmpc::algorithms
