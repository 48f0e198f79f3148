// SPDX-License-Identifier: Apache-2.0
// Videos of run folders, for a page that carries what it shows.
#pragma once

#include <string>
#include <vector>

namespace softmpc::tools::report {

struct Video {
  std::string path{};   ///< the file
  std::string media{};  ///< "video/mp4"
  std::string data{};   ///< base64; empty: too large to be carried
  std::uintmax_t bytes = 0;
};

/// RUN/video/*.webp, .mp4, .webm, .gif by name. Each is read while it and all that `room` still
/// holds allow; `room` shrinks by what was read.
std::vector<Video> videos_of(const std::string& run, std::uintmax_t& room);
/// Bytes of videos that a page carries at most, and of one of them.
inline constexpr std::uintmax_t kMostVideoBytes = 8u << 20, kMostOneVideo = 2u << 20;

std::string base64(const std::string& bytes);

}  // namespace softmpc::tools::report
