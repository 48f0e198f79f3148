// SPDX-License-Identifier: Apache-2.0
// Linked where oneDNN was not asked for or not found.
#include "onednn/onednn_mlp.h"
#include "softmpc/error.h"

namespace softmpc {

struct OneDnnMlp::Impl {};

bool OneDnnMlp::built() { return false; }
bool OneDnnMlp::usable() { return false; }
bool OneDnnMlp::has_amx() { return false; }

OneDnnMlp::OneDnnMlp(const MlpWeights&, cpu::Activation, int) {
  throw Error("this build has no oneDNN: configure with -DSOFTMPC_WITH_ONEDNN=ON");
}
OneDnnMlp::~OneDnnMlp() = default;
void OneDnnMlp::update(const MlpWeights&) {}
std::size_t OneDnnMlp::scratch_floats(int) const { return 0; }
const float* OneDnnMlp::run(int, float* scratch, int) const { return scratch; }

}  // namespace softmpc
