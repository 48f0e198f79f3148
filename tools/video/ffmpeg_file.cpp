// SPDX-License-Identifier: Apache-2.0
// Raw frames through a pipe to ffmpeg.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <utility>
#include <vector>

#include "program/child_process.h"
#include "program/console.h"
#include "softmpc/error.h"
#include "video/video_file.h"

namespace softmpc::tools {
namespace {

std::vector<std::string> encoder(VideoKind kind) {
  if (kind == VideoKind::mp4)
    return {"-c:v",     "libx264", "-preset",   "veryfast",   "-crf", "20",
            "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f",   "mp4"};
  if (kind == VideoKind::webm)
    return {"-c:v",      "libvpx-vp9", "-crf",      "32",  "-b:v",    "0",
            "-deadline", "realtime",   "-cpu-used", "6",   "-row-mt", "1",
            "-pix_fmt",  "yuv420p",    "-f",        "webm"};
  // colours chosen for this video, its frames kept until its end
  return {"-vf", "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=bayer", "-f",
          "gif"};
}

class FfmpegFile final : public VideoFile {
 public:
  FfmpegFile(const std::string& path, VideoKind kind, const VideoFormat& format)
      : path_(path), aside_(video_aside(path)), words_(std::tmpfile()) {
    if (words_ == nullptr) throw Error(path + ": no temporary file for what ffmpeg says");
    std::vector<std::string> arguments = {"ffmpeg",
                                          "-nostdin",
                                          "-y",
                                          "-loglevel",
                                          "error",
                                          "-f",
                                          "rawvideo",
                                          "-pixel_format",
                                          "rgb24",
                                          "-video_size",
                                          text("%dx%d", format.width, format.height),
                                          "-framerate",
                                          text("%.6f", format.rate),
                                          "-i",
                                          "pipe:0",
                                          "-an"};
    for (std::string& word : encoder(kind)) arguments.push_back(std::move(word));
    arguments.push_back("file:" + aside_);
    start(arguments);
  }

  ~FfmpegFile() override {
    close_pipe();
    if (child_ > 0) wait_for_child();
    std::fclose(words_);
    std::error_code ignored;
    std::filesystem::remove(aside_, ignored);  // after finish() there is none
  }

  void add(std::span<const std::uint8_t> rgb) override {
    while (!rgb.empty()) {
      const ssize_t count = ::write(pipe_, rgb.data(), rgb.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail(wait_for_child());
      rgb = rgb.subspan(static_cast<std::size_t>(count));
    }
  }

  void finish() override {
    close_pipe();
    if (const int code = wait_for_child(); code != 0) fail(code);
    std::error_code fault;
    std::filesystem::rename(aside_, path_, fault);
    if (fault) throw Error(path_ + ": cannot be put in place: " + fault.message());
  }

 private:
  void start(std::vector<std::string>& arguments) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      throw Error(path_ + ": no pipe to ffmpeg: " + std::strerror(errno));
    pipe_ = ends[1];
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, ::fileno(words_), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, ::fileno(words_), STDERR_FILENO);
    posix_spawnattr_t attributes;  // a process group of its own: Ctrl-C reaches it through us
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::vector<char*> pointers;
    pointers.reserve(arguments.size() + 1);
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const int fault = ::posix_spawn(&child_, find_ffmpeg().c_str(), &files, &attributes,
                                    pointers.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    ::close(ends[0]);
    if (fault != 0) {
      child_ = 0;
      throw Error(path_ + ": ffmpeg does not start: " + std::strerror(fault));
    }
  }
  void close_pipe() {
    if (pipe_ >= 0) ::close(std::exchange(pipe_, -1));
  }
  int wait_for_child() {
    int status = 0;
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
    }
    child_ = 0;
    return exit_code(status);
  }
  [[noreturn]] void fail(int code) {
    std::rewind(words_);
    char line[400] = "";
    std::string said = std::fgets(line, sizeof line, words_) != nullptr ? line : "";
    while (!said.empty() && (said.back() == '\n' || said.back() == '\r')) said.pop_back();
    throw Error(path_ + ": ffmpeg stopped (exit code " + std::to_string(code) + ")" +
                (said.empty() ? "" : ": " + said));
  }

  std::string path_, aside_;
  std::FILE* words_;
  int pipe_ = -1;
  pid_t child_ = 0;
};

}  // namespace

std::string find_ffmpeg() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = (folder.empty() ? "." : folder) + "/ffmpeg";
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return {};
}

std::unique_ptr<VideoFile> create_by_ffmpeg(const std::string& path, VideoKind kind,
                                            const VideoFormat& format) {
  return std::make_unique<FfmpegFile>(path, kind, format);
}

}  // namespace softmpc::tools
