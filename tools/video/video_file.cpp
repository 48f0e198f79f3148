// SPDX-License-Identifier: Apache-2.0
#include "video/video_file.h"

#include <unistd.h>

#include <filesystem>

#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

namespace fs = std::filesystem;

/// "a/b/" as "a/b".
fs::path without_slash(const std::string& path) {
  const fs::path p(path);
  return p.has_filename() ? p : p.parent_path();
}

}  // namespace

VideoKind video_kind(const std::string& path) {
  const std::string ending = without_slash(path).extension().string();
  if (ending == ".mp4") return VideoKind::mp4;
  if (ending == ".webm") return VideoKind::webm;
  if (ending == ".gif") return VideoKind::gif;
  if (ending == ".webp") return VideoKind::webp;
  if (ending.empty() && !without_slash(path).empty()) return VideoKind::frames;
  throw UsageError("--video: '" + path + "' must end in .mp4, .webm, .gif or .webp, or have no " +
                   "ending, for a folder of PNGs");
}

void check_video(const std::string& path) {
  const VideoKind kind = video_kind(path);
  const fs::path file = without_slash(path);
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code fault;
  if (!fs::is_directory(folder, fault))
    throw Error(path + ": there is no folder " + folder.string() + ", make it first");
  if (::access(folder.c_str(), W_OK) != 0)
    throw Error(path + ": the folder " + folder.string() + " must be writable");
  if (kind == VideoKind::frames && fs::exists(file, fault))
    throw Error(path + ": exists already; frames go to a folder that does not");
  if (kind != VideoKind::frames && fs::is_directory(file, fault))
    throw Error(path + ": is a folder, a file is to be written");
  std::string missing;
  if (kind == VideoKind::webp) {
    missing = webp_missing();
  } else if (kind == VideoKind::frames) {
    missing = png_missing();
  } else if (find_ffmpeg().empty()) {
    missing = file.extension().string() +
              " needs the program ffmpeg, which is not on PATH: install the package ffmpeg; .webp "
              "and a folder of PNGs work without";
  }
  if (!missing.empty()) throw Error(path + ": " + missing);
}

std::unique_ptr<VideoFile> create_video(const std::string& path, const VideoFormat& format) {
  const std::string file = without_slash(path).string();
  const VideoKind kind = video_kind(file);
  if (kind == VideoKind::webp) return create_webp(file, format);
  if (kind == VideoKind::frames) return create_frames(file, format);
  return create_by_ffmpeg(file, kind, format);
}

std::string video_aside(const std::string& path) {
  return path + ".partial-" + std::to_string(::getpid());
}

}  // namespace softmpc::tools
