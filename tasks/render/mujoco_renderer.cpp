// SPDX-License-Identifier: Apache-2.0
#include "render/mujoco_renderer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "render/dressed_model.h"
#include "render/gl_context.h"
#include "render/line_painter.h"
#include "softmpc/error.h"

namespace softmpc::tasks {
namespace {

constexpr int kMostShapes = 2000;       // of a scene
constexpr double kReferenceRows = 480;  // PictureLine::width is of such a picture

/// MuJoCo's scene and OpenGL context of one model.
class Canvas {
 public:
  Canvas(const mjModel& model, int font_scale) : gl_(make_gl_context()) {
    const MujocoScope quiet;
    mjv_defaultScene(&scene);
    mjr_defaultContext(&context);
    mjv_makeScene(&model, &scene, kMostShapes);
    mjr_makeContext(&model, &context, font_scale);
    mjr_setBuffer(mjFB_OFFSCREEN, &context);
    if (context.currentBuffer != mjFB_OFFSCREEN)
      throw Error("pictures cannot be drawn: OpenGL has no framebuffers beside the screen's");
  }
  ~Canvas() {
    gl_->use();
    mjr_freeContext(&context);
    mjv_freeScene(&scene);
  }
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;
  void use() { gl_->use(); }

  mjvScene scene;
  mjrContext context;

 private:
  std::unique_ptr<GlContext> gl_;
};

class MujocoRenderer final : public Renderer {
 public:
  MujocoRenderer(const std::string& task, std::string_view mjcf, const SceneFacts& scene,
                 Following following, const RendererOptions& options)
      : scene_(scene),
        following_(std::move(following)),
        options_(options),
        model_(dressed_model(task, mjcf, scene, options)),
        data_(make_data(*model_)),
        canvas_(*model_, font_scale(options.height)),
        painter_(options.width, options.height) {
    for (const TracedPoint& point : scene_.traced) bodies_.push_back(body(task, point.body));
    if (!scene_.tracked.empty()) tracked_ = body(task, scene_.tracked);
    mjv_defaultOption(&look_);
    mjv_defaultCamera(&camera_);
    camera_.type = mjCAMERA_FREE;
    camera_.distance = scene_.distance;
    camera_.azimuth = scene_.azimuth;
    camera_.elevation = scene_.elevation;
    canvas_.scene.flags[mjRND_SHADOW] = options.good ? 1 : 0;
    canvas_.scene.flags[mjRND_REFLECTION] = 0;
    canvas_.scene.flags[mjRND_HAZE] = 1;
  }

  int traced_points() const override { return static_cast<int>(bodies_.size()); }

  void trace(std::span<const double> positions, std::span<double> points) override {
    place(positions);
    mj_kinematics(model_.get(), data_.get());
    for (std::size_t i = 0; i < bodies_.size(); ++i) {
      mjtNum* point = points.subspan(3 * i, 3).data();
      mju_mulMatVec3(point, data_->xmat + 9 * bodies_[i], scene_.traced[i].offset.data());
      mju_addTo3(point, data_->xpos + 3 * bodies_[i]);
    }
  }

  bool adds_up() const override { return following_.adds_up; }
  void follow(std::span<const float> before, std::span<const float> after,
              std::span<double> positions) const override {
    following_.move({before.data(), 1}, {after.data(), 1}, positions.data());
  }

  void draw(const Picture& picture, std::span<std::uint8_t> rgb) override {
    const MujocoScope quiet;
    canvas_.use();
    place(picture.positions);
    mj_forward(model_.get(), data_.get());
    for (int i = 0; i < 3; ++i) {
      const bool along = tracked_ >= 0 && i < 2;
      camera_.lookat[i] = scene_.centre[static_cast<std::size_t>(i)] +
                          (along ? data_->xpos[3 * tracked_ + i] : 0.0);
    }
    mjv_updateScene(model_.get(), data_.get(), &look_, nullptr, &camera_, mjCAT_ALL,
                    &canvas_.scene);
    const mjrRect all = {0, 0, options_.width, options_.height};
    mjr_render(all, &canvas_.scene, &canvas_.context);
    write(picture.top, true);
    write(picture.bottom, false);
    rows_.resize(rgb.size());
    mjr_readPixels(rows_.data(), nullptr, all, &canvas_.context);
    const std::size_t row = std::size_t{3} * options_.width;  // OpenGL's come from the bottom up
    for (int y = 0; y < options_.height; ++y)
      std::copy_n(rows_.begin() + static_cast<std::ptrdiff_t>(row * y), row,
                  rgb.begin() + static_cast<std::ptrdiff_t>(row * (options_.height - 1 - y)));
    for (const PictureLine& line : picture.lines) paint(line, rgb);
  }

 private:
  static int font_scale(int height) {
    return height < 420 ? mjFONTSCALE_50 : height < 900 ? mjFONTSCALE_100 : mjFONTSCALE_200;
  }
  int body(const std::string& task, const std::string& name) const {
    const int found = mj_name2id(model_.get(), mjOBJ_BODY, name.c_str());
    if (found < 0) throw Error(task + ": its scene names a body '" + name + "', there is none");
    return found;
  }
  void place(std::span<const double> positions) {
    std::copy_n(positions.begin(), model_->nq, data_->qpos);
  }

  /// Over everything that would hide the line; it ends where it goes behind the camera.
  void paint(const PictureLine& line, std::span<std::uint8_t> rgb) {
    const mjvGLCamera* eyes = canvas_.scene.camera;  // a pair; the picture is from between them
    const mjvGLCamera& eye = eyes[0];
    const double tall = 0.5 * (double{eye.frustum_top} - eye.frustum_bottom) / eye.frustum_near;
    std::vector<double> pixels;
    for (std::size_t i = 0; i + 3 <= line.points.size(); i += 3) {
      std::array<double, 3> view{};
      double ahead = 0, up = 0, right = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        view[c] = line.points[i + c] - 0.5 * (double{eyes[0].pos[c]} + eyes[1].pos[c]);
        ahead += view[c] * eye.forward[c];
        up += view[c] * eye.up[c];
      }
      for (std::size_t c = 0; c < 3; ++c) {
        const std::size_t a = (c + 1) % 3, b = (c + 2) % 3;
        right += view[c] * (eye.forward[a] * eye.up[b] - eye.forward[b] * eye.up[a]);
      }
      if (ahead < eye.frustum_near) break;
      const double scale = 0.5 * options_.height / (tall * ahead);  // pixels per metre
      pixels.push_back(0.5 * options_.width + scale * right);
      pixels.push_back(0.5 * options_.height - scale * up);
    }
    painter_.paint(pixels, line.width * std::max(1.0, options_.height / kReferenceRows), line.rgba,
                   rgb);
  }

  /// On a dark band, the corner's lines from the top down.
  void write(const std::vector<PictureText>& lines, bool top) {
    if (lines.empty()) return;
    const mjrContext& c = canvas_.context;
    const int step = c.charHeight + 2, margin = step / 3;
    int widest = 0;
    for (const PictureText& line : lines) widest = std::max(widest, text_width(line.text));
    const int tall = step * static_cast<int>(lines.size()) + margin;
    const int wide = widest + 2 * margin, low = top ? options_.height - tall - margin : margin;
    mjr_rectangle({margin, low, wide, tall}, 0.08f, 0.10f, 0.14f, 0.62f);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const int y = tall - step * static_cast<int>(i + 1);
      const auto& [text, rgb] = lines[i];  // placed by shares of the rectangle
      mjr_text(mjFONT_NORMAL, text.c_str(), &c, share(margin, wide), share(y, tall), rgb[0], rgb[1],
               rgb[2]);
    }
  }
  static float share(int part, int whole) {
    return static_cast<float>(part) / static_cast<float>(whole);
  }
  int text_width(const std::string& text) const {
    int width = 0;
    for (const char letter : text)
      if (letter >= 32 && letter < 127)
        width += canvas_.context.charWidth[static_cast<unsigned char>(letter)];
    return width;
  }

  SceneFacts scene_;
  Following following_;
  RendererOptions options_;
  ModelPointer model_;
  DataPointer data_;
  Canvas canvas_;
  LinePainter painter_;
  std::vector<int> bodies_;  // of the traced points
  int tracked_ = -1;
  mjvOption look_;
  mjvCamera camera_;
  std::vector<std::uint8_t> rows_;
};

}  // namespace

std::unique_ptr<Renderer> make_mujoco_renderer(const std::string& task, std::string_view mjcf,
                                               const SceneFacts& scene, Following following,
                                               const RendererOptions& options) {
  return std::make_unique<MujocoRenderer>(task, mjcf, scene, std::move(following), options);
}

}  // namespace softmpc::tasks
