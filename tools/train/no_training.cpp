// SPDX-License-Identifier: Apache-2.0
// Stands in for training.cpp where softmpc::train is not part of the build.
#include "softmpc/error.h"
#include "train/training.h"

namespace softmpc::tools {
namespace {

[[noreturn]] void missing() {
  throw Error("this build of softmpc has no trainer; build it with SOFTMPC_WITH_TRAIN=ON");
}

}  // namespace

RecordedRun read_recorded_run(const std::string&) { missing(); }

void check_request(const TrainRequest&) { missing(); }

TrainOutcome train(const TrainRequest&, TrainObserver&, const std::atomic<bool>&) { missing(); }

void train_in_memory(const std::string&, const Config&, TrainObserver&) { missing(); }

double library_matrix_rate(ThreadPool&, Precision, double) { return 0; }

MemberOutputs learned_outputs_of(const Config&, const TaskSpec&) { missing(); }

UpdateTimes update_times(const Config&, int, int, int) { missing(); }

std::vector<double> play_bundle(const Bundle&, const std::string&, const PlayOptions&,
                                std::vector<int>&) {
  missing();
}

}  // namespace softmpc::tools
