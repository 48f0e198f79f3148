// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc eval --video: the files, that pictures tell the truth, and wrong requests.
#include <gtest/gtest.h>
#include <png.h>
#include <webp/mux.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pendulum_bundle.h"
#include "program.h"
#include "softmpc/task.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

/// An environment variable of the programs that a test starts.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::string before_;
};

struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]
};

Image read_png(const std::string& path) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&png, path.c_str())) throw std::runtime_error(png.message);
  png.format = PNG_FORMAT_RGB;
  Image image{static_cast<int>(png.width), static_cast<int>(png.height), {}};
  image.rgb.resize(PNG_IMAGE_SIZE(png));
  png_image_finish_read(&png, nullptr, image.rgb.data(), 0, nullptr);
  return image;
}

int different_pixels(const Image& a, const Image& b) {
  int count = 0;
  for (std::size_t i = 0; i < a.rgb.size(); i += 3)
    count += a.rgb[i] != b.rgb[i] || a.rgb[i + 1] != b.rgb[i + 1] || a.rgb[i + 2] != b.rgb[i + 2];
  return count;
}

/// The pixels of one of the overlay's colours: bright in two channels or one, dark in another.
using Points = std::vector<std::pair<int, int>>;
template <class F>
Points pixels_where(const Image& image, const F& holds) {
  Points points;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const std::uint8_t* p = image.rgb.data() + 3 * (std::size_t{1} * y * image.width + x);
      if (holds(int{p[0]}, int{p[1]}, int{p[2]})) points.emplace_back(x, y);
    }
  return points;
}
Points model_pixels(const Image& image) {
  return pixels_where(image, [](int r, int g, int b) { return r > 200 && g < 110 && b > 110; });
}
Points simulator_pixels(const Image& image) {
  return pixels_where(image, [](int r, int g, int b) { return r < 110 && g > 200 && b < 190; });
}
/// How far the farthest of `from` is from all of `to`.
double farthest(const Points& from, const Points& to) {
  double most = 0;
  for (const auto& [x, y] : from) {
    double nearest = 1e9;
    for (const auto& [u, v] : to) nearest = std::min(nearest, std::hypot(x - u, y - v));
    most = std::max(most, nearest);
  }
  return most;
}

/// Of a task, untrained, with episodes of a few steps. Without members it plans with the simulator.
Bundle bundle_of(const std::string& task, int steps, bool learned = true) {
  Bundle bundle;
  bundle.task = task;
  bundle.environment.time_limit = steps;
  const TaskSpec spec = find_task(task).spec(task_options(bundle.environment));
  bundle.nx = spec.nx;
  bundle.nu = spec.nu;
  bundle.action_low = spec.action_low;
  bundle.action_high = spec.action_high;
  bundle.dt = spec.dt;
  if (learned) bundle.members = networks(2, {spec.nx + spec.nu, 8, spec.nx});
  bundle.critics = networks(1, {spec.nx + spec.nu, 8, 1});
  bundle.planner.horizon = 8;
  bundle.planner.rollouts = 30;
  return bundle;
}

class Video : public testing::Test {
 protected:
  void SetUp() override { save_bundle(bundle_of("InvertedPendulum", 5), bundle_); }

  /// `more` with each of `defaults`, option and value, that it does not hold.
  static std::vector<std::string> with(std::vector<std::string> more,
                                       const std::vector<std::array<const char*, 2>>& defaults) {
    for (const auto& [option, value] : defaults)
      if (std::ranges::find(more, option) == more.end()) more.insert(more.end(), {option, value});
    return more;
  }
  Result eval(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"eval", bundle_};
    for (const std::string& word : with(more, {{"--episodes", "2"}, {"--threads", "1"}}))
      arguments.push_back(word);
    return run(arguments);
  }
  /// A small, quick video; false, and the test is to be skipped, where this system cannot draw.
  bool film(const std::string& file, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"--video", file});
    last_ = eval(with(more, {{"--size", "96x72"}, {"--quality", "draft"}}));
    if (last_.err.find("pictures cannot be drawn") != std::string::npos) return false;
    EXPECT_EQ(last_.code, 0) << last_.err;
    return true;
  }
  std::vector<Image> images(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path());
    std::sort(names.begin(), names.end());
    std::vector<Image> all;
    for (const std::string& name : names) all.push_back(read_png(name));
    return all;
  }
  /// What stands in the test's folder beside the bundle.
  std::vector<std::string> left() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      if (entry.path() != bundle_) names.push_back(entry.path().filename());
    return names;
  }

  Folder folder_;
  std::string bundle_ = folder_.file("model.safetensors");
  Result last_;
};

#define SKIP_IF_IT_CANNOT_DRAW(filmed) \
  if (!(filmed)) GTEST_SKIP() << "this system cannot draw: no EGL and no OSMesa"

TEST_F(Video, FramesAreAFolderOfPngs) {
  const std::string one = folder_.file("one"), two = folder_.file("two");
  SKIP_IF_IT_CANNOT_DRAW(film(one));
  EXPECT_NE(last_.out.find(one + ": episode "), std::string::npos);
  EXPECT_NE(last_.out.find("5 frames of 96x72, 25 a second"), std::string::npos) << last_.out;
  const auto first = images(one);
  ASSERT_EQ(first.size(), 5u);
  for (const Image& image : first)
    EXPECT_EQ(std::pair(image.width, image.height), std::pair(96, 72));
  ASSERT_TRUE(film(two, {"--threads", "2"}));
  const auto second = images(two);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].rgb, second[i].rgb) << i;
  EXPECT_GT(different_pixels(first.front(), first.back()), 0);
}

TEST_F(Video, ReturnsAreThoseWithoutIt) {
  save_bundle(bundle_of("InvertedDoublePendulum", 20), bundle_);
  const std::string plain = eval({"--episodes", "4"}).out;
  int number = 0;
  for (const char* which : {"best", "median", "worst", "0", "3"}) {
    const std::string file = folder_.file("frames" + std::to_string(number++));
    SKIP_IF_IT_CANNOT_DRAW(film(file, {"--episodes", "4", "--episode", which}));
    EXPECT_TRUE(last_.out.starts_with(plain)) << which << '\n' << last_.out;
  }
  Json with = Json::parse(eval({"--episodes", "4", "--json", "--video", folder_.file("frames.webp"),
                                "--size", "64x48", "--quality", "draft", "--episode", "2"})
                              .out);
  const Json without = Json::parse(eval({"--episodes", "4", "--json"}).out);
  EXPECT_EQ(with.at("video").at("episode"), 2);
  EXPECT_EQ(with.at("video").at("frames"), with.at("lengths").at(2));
  EXPECT_EQ(with.at("video").at("width"), 64);
  EXPECT_EQ(with.at("video").at("height"), 48);
  with.erase("video");
  EXPECT_EQ(with, without);
}

TEST_F(Video, WebpHasFramesSizeAndDuration) {
  const std::string file = folder_.file("film.webp");
  SKIP_IF_IT_CANNOT_DRAW(film(file, {"--speed", "0.5"}));
  const std::string bytes = read_file(file);
  const WebPData data = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
  WebPMux* mux = WebPMuxCreate(&data, 0);
  ASSERT_NE(mux, nullptr);
  int width = 0, height = 0, frames = 0, duration = 0;
  WebPMuxGetCanvasSize(mux, &width, &height);
  WebPMuxNumChunks(mux, WEBP_CHUNK_ANMF, &frames);
  for (int i = 1; i <= frames; ++i) {
    WebPMuxFrameInfo frame{};
    ASSERT_EQ(WebPMuxGetFrame(mux, static_cast<std::uint32_t>(i), &frame), WEBP_MUX_OK);
    duration += frame.duration;
    WebPDataClear(&frame.bitstream);
  }
  WebPMuxDelete(mux);
  EXPECT_EQ(std::pair(width, height), std::pair(96, 72));
  EXPECT_EQ(frames, 5);
  EXPECT_EQ(duration, 5 * 80);  // ms; 0.04 s a step, half as fast
  EXPECT_EQ(left(), std::vector<std::string>{"film.webp"});
}

TEST_F(Video, FfmpegWritesTheOthers) {
  if (std::system("ffprobe -version >/dev/null 2>&1 && ffmpeg -version >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "ffmpeg is not installed";
  for (const std::string name : {"film.mp4", "film.webm", "film.gif"}) {
    SCOPED_TRACE(name);
    SKIP_IF_IT_CANNOT_DRAW(film(folder_.file(name)));
    const std::string said = folder_.file("said");
    const std::string command =
        "ffprobe -v error -count_frames -select_streams v -show_entries "
        "stream=width,height,nb_read_frames:format=duration -of json '" +
        folder_.file(name) + "' >'" + said + "'";
    ASSERT_EQ(std::system(command.c_str()), 0);
    const Json probed = Json::parse(read_file(said));
    EXPECT_EQ(probed.at("streams").at(0).at("width"), 96);
    EXPECT_EQ(probed.at("streams").at(0).at("height"), 72);
    EXPECT_EQ(probed.at("streams").at(0).at("nb_read_frames"), "5");
    EXPECT_NEAR(std::stod(probed.at("format").at("duration").get<std::string>()), 0.2, 0.011);
    fs::remove(said);
    fs::remove(folder_.file(name));
    EXPECT_TRUE(left().empty()) << left().front();
  }
}

TEST_F(Video, EglAndOsmesaDrawAlike) {
  const auto by = [&](const char* kind) {
    const Variable gl("SOFTMPC_GL", kind);
    return film(folder_.file(kind), {"--size", "160x120"});
  };
  if (!by("egl") || !by("osmesa")) GTEST_SKIP() << "this system has not both of EGL and OSMesa";
  const auto egl = images(folder_.file("egl")), osmesa = images(folder_.file("osmesa"));
  ASSERT_EQ(egl.size(), osmesa.size());
  for (std::size_t i = 0; i < egl.size(); ++i)
    EXPECT_LT(different_pixels(egl[i], osmesa[i]), 0.02 * 160 * 120) << i;
}

TEST_F(Video, TheModelsPathIsTheSimulatorsWhereItPlansWithIt) {
  int number = 0;
  const auto gap = [&](const std::string& task, bool learned) {
    save_bundle(bundle_of(task, 1, learned), bundle_);
    const std::string folder = folder_.file("frames" + std::to_string(number++));
    if (!film(folder, {"--size", "640x480", "--overlay", "plan"})) return -1.0;
    const Image image = images(folder).front();
    const Points model = model_pixels(image), simulator = simulator_pixels(image);
    EXPECT_GT(model.size(), 3u);
    EXPECT_GT(simulator.size(), 3u);
    return std::max(farthest(model, simulator), farthest(simulator, model));
  };
  for (const char* task : {"lq", "pendulum", "InvertedPendulum"}) {
    SCOPED_TRACE(task);
    const double same = gap(task, false);
    SKIP_IF_IT_CANNOT_DRAW(same >= 0);
    EXPECT_LE(same, 3);  // the model's line lies on the simulator's, which is 5 pixels wide
    if (std::string(task) != "lq") {
      EXPECT_GT(gap(task, true), 6);  // of nets that learned nothing
    }
  }
}

TEST_F(Video, PartsCanBeLeftOut) {
  Bundle bundle = bundle_of("InvertedPendulum", 1, false);
  bundle.planner.variance = {9};  // rollouts that leave the plan
  save_bundle(bundle, bundle_);
  std::vector<Image> pictures;
  for (const char* parts : {"none", "text", "rollouts", "plan", "rollouts,plan", "all"}) {
    const std::string folder = folder_.file(std::string("parts-") + parts);
    SKIP_IF_IT_CANNOT_DRAW(film(folder, {"--overlay", parts, "--size", "320x240"}));
    pictures.push_back(images(folder).front());
  }
  for (std::size_t i = 0; i < pictures.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      EXPECT_GT(different_pixels(pictures[i], pictures[j]), 0) << i << ' ' << j;
}

TEST_F(Video, RefusesWhatItCannotDoBeforeItPlays) {
  const auto refused = [&](const std::vector<std::string>& more, int code,
                           const std::vector<std::string>& parts) {
    const Result result = eval(more);
    expect_error(result, code, parts);
    EXPECT_EQ(result.out, "");
  };
  const std::string file = folder_.file("film.webp");
  refused({"--video", folder_.file("film.avi")}, 2,
          {"--video", "film.avi", ".mp4", "folder of PNGs"});
  for (const char* size : {"0x0", "100000x480", "640", "641x480"})
    refused({"--video", file, "--size", size}, 2, {"--size", size, "16 to 4096"});
  refused({"--video", file, "--episode", "2"}, 2, {"--episode", "'2'", "0 to 1"});
  refused({"--video", file, "--episode", "good"}, 2, {"--episode", "best, median, worst"});
  refused({"--video", file, "--speed", "0"}, 2, {"--speed", "'0'", "0.01 to 100"});
  refused({"--video", file, "--quality", "high"}, 2, {"--quality", "'high'", "draft"});
  refused({"--video", file, "--overlay", "plan,x"}, 2,
          {"--overlay", "'x'", "rollouts, plan, text"});
  for (const char* option : {"--episode", "--size", "--speed", "--quality", "--overlay"})
    refused({option, "1"}, 2, {option, "--video FILE"});
  refused({"--video", folder_.file("none/film.webp")}, 1, {"none/film.webp", "no folder"});
  fs::create_directory(folder_.file("frames"));
  refused({"--video", folder_.file("frames")}, 1, {"frames", "exists already"});
  fs::create_directory(folder_.file("folder.webp"));
  refused({"--video", folder_.file("folder.webp")}, 1, {"folder.webp", "is a folder"});
}

TEST_F(Video, SaysWhatIsMissing) {
  const auto refused = [&](const char* name, const std::vector<std::string>& parts) {
    const Result result = eval({"--video", folder_.file(name), "--size", "64x48"});
    expect_error(result, 1, parts);
    EXPECT_EQ(result.out, "");
  };
  fs::create_directory(folder_.file("empty"));
  {
    const Variable path("PATH", folder_.file("empty"));
    for (const char* name : {"film.mp4", "film.webm", "film.gif"})
      refused(name, {name, "package ffmpeg", ".webp and a folder of PNGs"});
  }
  // libraries that the loader finds first, and cannot open
  for (const char* library : {"libEGL.so.1", "libOSMesa.so.8", "libOSMesa.so.6"})
    write_file(folder_.file(std::string("empty/") + library), "");
  const Variable path("LD_LIBRARY_PATH", folder_.file("empty"));
  refused("film.webp",
          {"libEGL.so.1", "libOSMesa.so.8", "libegl1 and libegl-mesa0, or libosmesa6"});
  refused("frames", {"cannot be drawn"});
}

TEST_F(Video, ABundleOfAnUnknownTaskIsNamed) {
  Bundle bundle = bundle_of("InvertedPendulum", 5);
  bundle.task = "Unicycle";
  save_bundle(bundle, bundle_);
  expect_error(eval({"--video", folder_.file("film.webp")}), 1,
               {"model.safetensors", "unknown task 'Unicycle'"});
}

TEST_F(Video, NothingHalfWrittenIsLeft) {
  SKIP_IF_IT_CANNOT_DRAW(film(folder_.file("frames")));
  fs::remove_all(folder_.file("frames"));
  fs::create_directory(folder_.file("bin"));
  const std::string ffmpeg = folder_.file("bin/ffmpeg");
  write_file(ffmpeg,
             "#!/bin/sh\nhead -c 10000 >/dev/null\necho 'the codec is broken' >&2\nexit 3\n");
  fs::permissions(ffmpeg, fs::perms::owner_all);
  {
    const Variable path("PATH", folder_.file("bin") + ":" + std::getenv("PATH"));
    expect_error(eval({"--video", folder_.file("film.mp4"), "--size", "96x72"}), 1,
                 {"film.mp4", "ffmpeg stopped (exit code 3)", "the codec is broken"});
  }
  fs::remove_all(folder_.file("bin"));
  ProgramOptions full;  // as a disk that is full
  full.most_file_bytes = 2000;
  for (const char* name : {"film.webp", "frames"}) {
    const Result result = run({"eval", bundle_, "--episodes", "1", "--video", folder_.file(name),
                               "--size", "640x480", "--quality", "draft"},
                              full);
    EXPECT_EQ(result.code, 1) << name << result.err;
    EXPECT_NE(result.err.find(name), std::string::npos) << result.err;
  }
  EXPECT_TRUE(left().empty()) << left().front();
}

}  // namespace
}  // namespace softmpc::test
