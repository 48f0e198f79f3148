// SPDX-License-Identifier: Apache-2.0
#include "report/videos.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "program/json_reader.h"

namespace softmpc::tools::report {

std::vector<Video> videos_of(const std::string& run, std::uintmax_t& room) {
  namespace fs = std::filesystem;
  static const std::map<std::string, std::string> kMedia = {{".webp", "image/webp"},
                                                            {".gif", "image/gif"},
                                                            {".mp4", "video/mp4"},
                                                            {".webm", "video/webm"}};
  std::vector<Video> videos;
  std::error_code fault;
  for (fs::directory_iterator entry(run + "/video", fault), end; !fault && entry != end;
       entry.increment(fault)) {
    const auto media = kMedia.find(entry->path().extension().string());
    if (media == kMedia.end() || !entry->is_regular_file(fault)) continue;
    videos.push_back({entry->path().string(), media->second, "", entry->file_size(fault)});
  }
  std::ranges::sort(videos, {}, [](const Video& v) { return std::pair(v.path.size(), v.path); });
  for (Video& video : videos) {
    if (video.bytes > std::min(room, kMostOneVideo)) continue;
    room -= video.bytes;
    video.data = base64(read_text(video.path));
  }
  return videos;
}

std::string base64(const std::string& bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned word = 0;
    for (std::size_t k = 0; k < 3; ++k)
      word = word << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      text += i + k <= bytes.size() ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace softmpc::tools::report
