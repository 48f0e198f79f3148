// SPDX-License-Identifier: Apache-2.0
// The kernels of training.
#include "emulated_kernels/widths.h"
#include "kernels/merge.cuh"
#include "kernels/policy_rollout.cuh"
#include "kernels/train_layer.cuh"
#include "kernels/train_norm.cuh"
#include "kernels/train_replay.cuh"

namespace softmpc::cuda {

SOFTMPC_EMULATE(TrainJob, NoWidths, train_forward);
SOFTMPC_EMULATE(TrainJob, NoWidths, train_backward);
SOFTMPC_EMULATE(TrainJob, NoWidths, train_norm_forward);
SOFTMPC_EMULATE(TrainJob, NoWidths, train_norm_backward);
SOFTMPC_EMULATE(ActJob, NoWidths, train_act);
SOFTMPC_EMULATE(SampleJob, NoWidths, train_sample);
SOFTMPC_EMULATE(FinishJob, NoWidths, train_finish);
SOFTMPC_EMULATE(ProposalJob, NoWidths, propose_plans);
SOFTMPC_EMULATE(PolicyGradientJob, NoWidths, policy_imagine<Rules>);
SOFTMPC_EMULATE(PolicyGradientJob, NoWidths, policy_gradient<Rules>);
SOFTMPC_EMULATE(MergeJob, NoWidths, merge_parts);

}  // namespace softmpc::cuda
