// SPDX-License-Identifier: Apache-2.0
// In place of LibTorch in a build without it.
#include "learn/torch_backend.h"
#include "softmpc/error.h"

namespace softmpc {

bool has_torch() { return false; }

std::unique_ptr<Learner> make_torch_learner(const LearnerSetup&) {
  throw UsageError(
      "trainer.learner: torch needs a build with LibTorch (SOFTMPC_WITH_TORCH=ON); this one has "
      "none, use fused or auto");
}

double torch_matrix_rate(ThreadPool&, Precision, double) { return 0; }

}  // namespace softmpc
