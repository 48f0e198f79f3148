// SPDX-License-Identifier: Apache-2.0
#include "learn/learner.h"

#include "learn/fused_learner.h"
#include "learn/torch_backend.h"

namespace softmpc {

std::unique_ptr<Learner> make_learner(LearnerKind kind, const LearnerSetup& setup) {
  if (kind == LearnerKind::torch) return make_torch_learner(setup);
  return std::make_unique<FusedLearner>(setup);
}

}  // namespace softmpc
