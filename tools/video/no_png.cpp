// SPDX-License-Identifier: Apache-2.0
// Stands in for png_file.cpp where libpng was not found.
#include "softmpc/error.h"
#include "video/video_file.h"

namespace softmpc::tools {

std::string png_missing() {
  return "this build of softmpc writes no PNGs: install libpng-dev and build it again";
}

std::unique_ptr<VideoFile> create_frames(const std::string& path, const VideoFormat&) {
  throw Error(path + ": " + png_missing());
}

}  // namespace softmpc::tools
