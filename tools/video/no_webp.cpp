// SPDX-License-Identifier: Apache-2.0
// Stands in for webp_file.cpp where libwebp was not found.
#include "softmpc/error.h"
#include "video/video_file.h"

namespace softmpc::tools {

std::string webp_missing() {
  return "this build of softmpc writes no .webp: install libwebp-dev and build it again";
}

std::unique_ptr<VideoFile> create_webp(const std::string& path, const VideoFormat&) {
  throw Error(path + ": " + webp_missing());
}

}  // namespace softmpc::tools
