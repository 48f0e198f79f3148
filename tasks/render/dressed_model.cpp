// SPDX-License-Identifier: Apache-2.0
#include "render/dressed_model.h"

#include <algorithm>
#include <array>

#include "softmpc/error.h"

namespace softmpc::tasks {
namespace {

using Rgb = std::array<double, 3>;
constexpr Rgb kZenith = {0.30, 0.46, 0.68}, kHorizon = {0.86, 0.91, 0.96};
constexpr Rgb kLightSquare = {0.66, 0.70, 0.74}, kDarkSquare = {0.55, 0.60, 0.65};
constexpr double kFloor = 40;  // m, from its middle to its edge
constexpr const char* kFloorName = "softmpc_floor";

void set(double* to, const Rgb& colour) { std::ranges::copy(colour, to); }

mjsTexture* add_texture(mjSpec* spec, const char* name, mjtTexture type, mjtBuiltin builtin) {
  mjsTexture* texture = mjs_addTexture(spec, nullptr);
  mjs_setName(texture->element, name);
  texture->type = type;
  texture->builtin = builtin;
  return texture;
}

void add_sky(mjSpec* spec) {
  mjsTexture* sky = add_texture(spec, "softmpc_sky", mjTEXTURE_SKYBOX, mjBUILTIN_GRADIENT);
  set(sky->rgb1, kHorizon);
  set(sky->rgb2, kZenith);
  sky->width = 256;
  sky->height = 6 * 256;
}

/// A material of squares; every plane of the model gets it.
void add_floor(mjSpec* spec, const SceneFacts& scene) {
  mjsTexture* squares = add_texture(spec, kFloorName, mjTEXTURE_2D, mjBUILTIN_CHECKER);
  set(squares->rgb1, kLightSquare);
  set(squares->rgb2, kDarkSquare);
  squares->width = squares->height = 512;
  mjsMaterial* material = mjs_addMaterial(spec, nullptr);
  mjs_setName(material->element, kFloorName);
  mjs_setInStringVec(material->textures, mjTEXROLE_RGB, kFloorName);
  material->texuniform = 1;
  material->texrepeat[0] = material->texrepeat[1] = static_cast<float>(0.5 / scene.square);
  material->specular = 0.1f;
  bool found = false;
  mjsBody* world = mjs_findBody(spec, "world");
  const auto cover = [&](mjsGeom* plane) {
    mjs_setString(plane->material, kFloorName);
    std::ranges::fill(plane->rgba, 1.0f);
    plane->size[0] = plane->size[1] = kFloor;
    plane->pos[2] = scene.floor_height.value_or(plane->pos[2]);
  };
  for (mjsElement* e = mjs_firstChild(world, mjOBJ_GEOM, 0); e != nullptr;
       e = mjs_nextChild(world, e, 0)) {
    mjsGeom* geom = mjs_asGeom(e);
    if (geom->type != mjGEOM_PLANE) continue;
    cover(geom);
    found = true;
  }
  if (found) return;
  mjsGeom* plane = mjs_addGeom(world, nullptr);
  plane->type = mjGEOM_PLANE;
  plane->size[2] = 1;
  cover(plane);
}

/// One sun, from behind the camera's left shoulder, that goes along with the tracked body.
void set_light(mjSpec* spec, const SceneFacts& scene) {
  mjsBody* world = mjs_findBody(spec, "world");
  while (mjsElement* light = mjs_firstChild(world, mjOBJ_LIGHT, 0)) mjs_delete(spec, light);
  mjsBody* tracked = scene.tracked.empty() ? world : mjs_findBody(spec, scene.tracked.c_str());
  mjsLight* sun = mjs_addLight(tracked, nullptr);
  sun->type = mjLIGHT_DIRECTIONAL;
  sun->mode = scene.tracked.empty() ? mjCAMLIGHT_FIXED : mjCAMLIGHT_TRACK;
  sun->castshadow = 1;
  const double turn = scene.azimuth / 180 * mjPI;
  const std::array<double, 3> ahead = {std::cos(turn), std::sin(turn), 0};
  // along the view, a little to the right, and down
  for (int i = 0; i < 3; ++i) sun->dir[i] = 0.35 * ahead[static_cast<std::size_t>(i)];
  sun->dir[0] += 0.25 * ahead[1];
  sun->dir[1] -= 0.25 * ahead[0];
  sun->dir[2] = -1;
  for (int i = 0; i < 3; ++i) sun->pos[i] = -4 * sun->dir[i];
  std::ranges::fill(sun->diffuse, 0.62f);
  std::ranges::fill(sun->specular, 0.25f);
  std::ranges::fill(sun->ambient, 0.0f);
  auto& head = spec->visual.headlight;
  std::ranges::fill(head.ambient, 0.42f);
  std::ranges::fill(head.diffuse, 0.22f);
  std::ranges::fill(head.specular, 0.0f);
}

}  // namespace

ModelPointer dressed_model(const std::string& task, std::string_view mjcf, const SceneFacts& scene,
                           const RendererOptions& options) {
  const MujocoScope quiet;
  std::array<char, 1024> message{};
  const std::unique_ptr<mjSpec, MujocoDeleter> spec(mj_parseXMLString(
      std::string(mjcf).c_str(), nullptr, message.data(), static_cast<int>(message.size())));
  if (!spec) throw Error(task + ": MJCF is not readable: " + message.data());
  add_sky(spec.get());
  add_floor(spec.get(), scene);
  set_light(spec.get(), scene);
  mjVisual& visual = spec->visual;
  visual.global.offwidth = options.width;
  visual.global.offheight = options.height;
  visual.quality.shadowsize = 1024;
  visual.quality.offsamples = options.good ? 4 : 0;
  spec->stat.extent = 2 * scene.distance;  // distances of clipping, haze and shadow follow it
  visual.map.znear = 0.01f;
  visual.map.zfar = 20;
  visual.map.shadowclip = 0.5f;
  ModelPointer model(mj_compile(spec.get(), nullptr));
  if (!model)
    throw Error(task + ": the model to draw does not compile: " + mjs_getError(spec.get()));
  return model;
}

}  // namespace softmpc::tasks
