// SPDX-License-Identifier: Apache-2.0
// Solves in two parts. A warp takes a problem.
#pragma once

#include "intrinsics.h"
#include "policy_job.h"
#include "softmpc/hd/prior.h"

namespace softmpc::cuda {

SOFTMPC_KERNEL void merge_parts(const MergeJob& job) {
  const int b = block() * (threads() / 32) + warp();
  if (b >= job.problems) return;
  const ProblemResult first = job.part_results[b], second = job.part_results[job.problems + b];
  const hd::Merged m = hd::merge_solves(
      {first.value, second.value}, {first.effective_samples, second.effective_samples},
      {first.status == kAllInvalid, second.status == kAllInvalid}, job.temperature);
  const bool any = m.weight[0] + m.weight[1] > 0;
  const std::size_t at = static_cast<std::size_t>(b) * job.plan;
  const std::size_t other = at + static_cast<std::size_t>(job.problems) * job.plan;
  for (int i = lane(); i < job.plan; i += 32) {
    const float u =
        any ? hd::merged_plan(m, job.parts[at + i], job.parts[other + i]) : job.given[at + i];
    job.refined[at + i] = u;
    if (i < job.nu)
      job.action[static_cast<std::size_t>(b) * job.nu + i] =
          hd::clip(job.neutral[i] + u, job.low[i], job.high[i]);
  }
  if (lane() == 0)
    job.result[b] = {m.value, m.effective_samples, 0.5 * (first.valid_share + second.valid_share),
                     m.weight[1] > m.weight[0] ? second.status : first.status, 0};
}

}  // namespace softmpc::cuda
