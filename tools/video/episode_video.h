// SPDX-License-Identifier: Apache-2.0
// One of the episodes that were played, played once more and drawn.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "softmpc/bundle.h"
#include "softmpc/train/trainer.h"
#include "video/plan_overlay.h"
#include "video/video_file.h"

namespace softmpc::tools {

/// As typed; empty: the default.
struct VideoOptions {
  std::string file, episode, size, speed, quality, overlay;
};

struct VideoReport {
  int episode = 0, frames = 0;
  VideoFormat format;
};

class EpisodeVideo {
 public:
  /// Refuses what can be refused before anything is played: UsageError for a wrong option, Error
  /// for a file or a system that cannot be used.
  EpisodeVideo(const VideoOptions& options, const Bundle& bundle, const std::string& path,
               int episodes);
  ~EpisodeVideo();

  /// `play` is what gave `returns` and, in play.starts, their beginnings. Shows progress unless
  /// `quiet`.
  VideoReport record(const PlayOptions& play, const std::vector<double>& returns,
                     const std::vector<int>& lengths, bool quiet);

 private:
  int choose(const std::vector<double>& returns) const;

  const Bundle& bundle_;
  std::string path_, file_, episode_;
  VideoFormat format_;
  int stride_ = 1;  // steps from frame to frame
  std::unique_ptr<Renderer> renderer_;
  std::unique_ptr<PlanOverlay> overlay_;
};

}  // namespace softmpc::tools
