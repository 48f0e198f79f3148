// SPDX-License-Identifier: Apache-2.0
// Frames become a file: .mp4, .webm and .gif by ffmpeg, .webp by libwebp, or a folder of PNGs. The
// file stands where it was asked for once it is whole; nothing half-written is left.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace softmpc::tools {

enum class VideoKind : std::uint8_t { mp4, webm, gif, webp, frames };

struct VideoFormat {
  int width = 640, height = 480;  // pixels
  double rate = 25;               // frames per second
};

class VideoFile {
 public:
  virtual ~VideoFile() = default;
  VideoFile() = default;
  VideoFile(const VideoFile&) = delete;
  VideoFile& operator=(const VideoFile&) = delete;

  /// The next frame, [height, width, 3] from the top row down. Throws Error naming the file.
  virtual void add(std::span<const std::uint8_t> rgb) = 0;
  /// Puts the file where it belongs. Without it the destructor leaves nothing. Throws Error.
  virtual void finish() = 0;
};

/// By the ending; a name without one is a folder. Throws UsageError for other endings.
VideoKind video_kind(const std::string& path);
/// Throws Error if `path` cannot be written: no such folder, a folder of frames that exists
/// already, no ffmpeg, or a library that this build lacks.
void check_video(const std::string& path);
std::unique_ptr<VideoFile> create_video(const std::string& path, const VideoFormat& format);

/// In the folder of `path`: where it is written before it is whole.
std::string video_aside(const std::string& path);

// One file each; those of a library that is not part of the build are stubs.
/// Why this build cannot write the kind, with the package that brings it; empty where it can.
std::string webp_missing();
std::string png_missing();
std::unique_ptr<VideoFile> create_webp(const std::string& path, const VideoFormat& format);
std::unique_ptr<VideoFile> create_frames(const std::string& path, const VideoFormat& format);
/// Where ffmpeg is, on PATH; empty: nowhere.
std::string find_ffmpeg();
std::unique_ptr<VideoFile> create_by_ffmpeg(const std::string& path, VideoKind kind,
                                            const VideoFormat& format);

}  // namespace softmpc::tools
