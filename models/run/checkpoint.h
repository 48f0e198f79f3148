// SPDX-License-Identifier: Apache-2.0
// Checkpoints whose cost follows what changed, not the replay's age. Files of a folder:
//   state-STEP.safetensors   nets, optimisers, counters, environment
//   journal-STEP.bin         replay slots that changed since the checkpoint before
//   manifest.json            names of the two, their checksums; its rename is the commit
//   records.bin, plans.bin   every slot, each with a checksum; the journal is applied to them after
//                            the commit and again on load, so that a kill in between does no harm
#pragma once

#include <cstdint>
#include <string>

#include "io/safetensors.h"
#include "replay.h"

namespace softmpc {

class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::string path) : path_(std::move(path)) {}

  /// Makes `state` and the replay's changes durable and clears the changes. On an Error the
  /// checkpoint before stands.
  void write(std::int64_t step, const TensorFile& state, Replay& replay);

  /// False if there is no checkpoint; throws Error naming the file if one is damaged.
  bool read_state(TensorFile& state);
  /// Fills the replay, whose counters the state has restored.
  void read_replay(Replay& replay) const;

 private:
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string path_;
  std::string journal_;  // of the manifest that read_state() found
};

}  // namespace softmpc
