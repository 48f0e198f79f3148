// SPDX-License-Identifier: Apache-2.0
// A folder of PNGs, frame-000000.png and so on.
#include <png.h>

#include <filesystem>

#include "program/console.h"
#include "softmpc/error.h"
#include "video/video_file.h"

namespace softmpc::tools {
namespace {

class PngFiles final : public VideoFile {
 public:
  PngFiles(const std::string& path, const VideoFormat& format)
      : path_(path), aside_(video_aside(path)), format_(format) {
    std::error_code fault;
    std::filesystem::create_directory(aside_, fault);
    if (fault) throw Error(path + ": cannot create the folder: " + fault.message());
  }
  ~PngFiles() override {
    std::error_code ignored;
    std::filesystem::remove_all(aside_, ignored);  // after finish() there is none
  }

  void add(std::span<const std::uint8_t> rgb) override {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(format_.width);
    image.height = static_cast<png_uint_32>(format_.height);
    image.format = PNG_FORMAT_RGB;
    image.flags = PNG_IMAGE_FLAG_FAST;
    const std::string name = text("frame-%06d.png", frames_++);
    if (!png_image_write_to_file(&image, (aside_ + "/" + name).c_str(), 0, rgb.data(), 0, nullptr))
      throw Error(path_ + "/" + name + ": " + image.message);
  }

  void finish() override {
    std::error_code fault;
    std::filesystem::rename(aside_, path_, fault);
    if (fault) throw Error(path_ + ": cannot be put in place: " + fault.message());
  }

 private:
  std::string path_, aside_;
  VideoFormat format_;
  int frames_ = 0;
};

}  // namespace

std::string png_missing() { return {}; }

std::unique_ptr<VideoFile> create_frames(const std::string& path, const VideoFormat& format) {
  return std::make_unique<PngFiles>(path, format);
}

}  // namespace softmpc::tools
