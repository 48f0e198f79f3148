// SPDX-License-Identifier: Apache-2.0
// Linked where oneDNN was not asked for.
#include "onednn/onednn_mlp.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

[[noreturn]] void refuse() {
  throw Error("this build has no oneDNN: configure with -DSOFTMPC_WITH_ONEDNN=ON");
}

}  // namespace

struct OneDnnMlp::Impl {};

bool OneDnnMlp::built() { return false; }
bool OneDnnMlp::usable() { return false; }
bool OneDnnMlp::has_amx() { return false; }

OneDnnMlp::OneDnnMlp(int, const std::vector<int>&) { refuse(); }
OneDnnMlp::~OneDnnMlp() = default;
void OneDnnMlp::load(int, std::size_t, const cpu::PackedLayer&) { refuse(); }
void OneDnnMlp::run(int, const float*, float*, int) const { refuse(); }

}  // namespace softmpc
