// SPDX-License-Identifier: Apache-2.0
// OpenGL without a display, by EGL or OSMesa: opened when it is wanted, never linked.
#pragma once

#include <memory>

namespace softmpc::tasks {

/// A context that pictures are drawn with. All of a process are of one kind, since MuJoCo looks
/// OpenGL's functions up once.
class GlContext {
 public:
  virtual ~GlContext() = default;
  GlContext() = default;
  GlContext(const GlContext&) = delete;
  GlContext& operator=(const GlContext&) = delete;

  /// Makes it the calling thread's. Throws Error.
  virtual void use() = 0;
};

/// EGL, or OSMesa where that is not to be had; SOFTMPC_GL=egl|osmesa asks for one. Throws Error
/// that says what is missing and which packages bring it, UsageError for other words.
std::unique_ptr<GlContext> make_gl_context();

}  // namespace softmpc::tasks
