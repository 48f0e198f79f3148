// SPDX-License-Identifier: Apache-2.0
// An animation by libwebp, in this process.
#include <webp/encode.h>
#include <webp/mux.h>

#include <cmath>

#include "io/atomic_file.h"
#include "softmpc/error.h"
#include "video/video_file.h"

namespace softmpc::tools {
namespace {

class WebpFile final : public VideoFile {
 public:
  WebpFile(const std::string& path, const VideoFormat& format) : path_(path), format_(format) {
    WebPAnimEncoderOptions options;
    if (!WebPAnimEncoderOptionsInit(&options) || !WebPConfigInit(&config_))
      throw Error(path + ": libwebp is of another version than this build was made for");
    options.kmax = 30;  // a frame that stands alone at least so often: seeking stays quick
    config_.quality = 78;
    config_.method = 2;
    encoder_ = WebPAnimEncoderNew(format.width, format.height, &options);
    if (encoder_ == nullptr) throw Error(path + ": libwebp has no memory for the animation");
  }
  ~WebpFile() override { WebPAnimEncoderDelete(encoder_); }

  void add(std::span<const std::uint8_t> rgb) override {
    WebPPicture picture;
    WebPPictureInit(&picture);
    picture.width = format_.width;
    picture.height = format_.height;
    picture.use_argb = 1;
    const bool good = WebPPictureImportRGB(&picture, rgb.data(), 3 * format_.width) != 0 &&
                      WebPAnimEncoderAdd(encoder_, &picture, time(), &config_) != 0;
    WebPPictureFree(&picture);
    if (!good) fail();
    ++frames_;
  }

  void finish() override {
    if (!WebPAnimEncoderAdd(encoder_, nullptr, time(), nullptr)) fail();
    WebPData data;
    WebPDataInit(&data);
    if (!WebPAnimEncoderAssemble(encoder_, &data)) fail();
    try {
      write_file_atomically(path_, std::as_bytes(std::span(data.bytes, data.size)));
    } catch (...) {
      WebPDataClear(&data);
      throw;
    }
    WebPDataClear(&data);
  }

 private:
  /// ms at which the next frame begins.
  int time() const { return static_cast<int>(std::lround(1000.0 * frames_ / format_.rate)); }
  [[noreturn]] void fail() {
    throw Error(path_ + ": libwebp: " + WebPAnimEncoderGetError(encoder_));
  }

  std::string path_;
  VideoFormat format_;
  WebPConfig config_{};
  WebPAnimEncoder* encoder_ = nullptr;
  int frames_ = 0;
};

}  // namespace

std::string webp_missing() { return {}; }

std::unique_ptr<VideoFile> create_webp(const std::string& path, const VideoFormat& format) {
  return std::make_unique<WebpFile>(path, format);
}

}  // namespace softmpc::tools
