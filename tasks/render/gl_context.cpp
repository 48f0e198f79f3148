// SPDX-License-Identifier: Apache-2.0
#include "render/gl_context.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "softmpc/error.h"

namespace softmpc::tasks {
namespace {

/// A shared library that stays open: drivers do not bear being closed.
class Library {
 public:
  /// Throws Error with the loader's words.
  explicit Library(const char* name) : name_(name), handle_(::dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw Error(::dlerror());
  }
  template <class F>
  F* function(const char* name) const {
    void* found = ::dlsym(handle_, name);
    if (found == nullptr) throw Error(std::string(name_) + " lacks " + name);
    return reinterpret_cast<F*>(found);
  }

 private:
  const char* name_;
  void* handle_;
};

// Of EGL's and OSMesa's interfaces what is used here, so that no header of theirs is needed.
using Handle = void*;
constexpr int kEglNone = 0x3038, kEglSurfaceType = 0x3033, kEglPbuffer = 0x0001;
constexpr int kEglRenderable = 0x3040, kEglOpenGlBit = 0x0008, kEglDepth = 0x3025;
constexpr unsigned kEglOpenGlApi = 0x30A2, kEglSurfaceless = 0x31DD, kEglDevice = 0x313F;

class EglContext final : public GlContext {
 public:
  EglContext() : library_("libEGL.so.1") {
    if (!open_surfaceless() && !open_device())
      throw Error("libEGL.so.1 finds no driver that draws without a display");
    if (library_.function<unsigned(unsigned)>("eglBindAPI")(kEglOpenGlApi) == 0)
      throw Error("EGL's driver has no OpenGL");
    const std::array<int, 7> wanted = {kEglSurfaceType, kEglPbuffer, kEglRenderable, kEglOpenGlBit,
                                       kEglDepth,       24,          kEglNone};
    Handle config = nullptr;
    int count = 0;
    library_.function<unsigned(Handle, const int*, Handle*, int, int*)>("eglChooseConfig")(
        display_, wanted.data(), &config, 1, &count);
    context_ = library_.function<Handle(Handle, Handle, Handle, const int*)>("eglCreateContext")(
        display_, count > 0 ? config : nullptr, nullptr, nullptr);
    if (context_ == nullptr) throw Error("EGL's driver makes no OpenGL context");
    use();
  }
  ~EglContext() override {
    make_current(nullptr);
    library_.function<unsigned(Handle, Handle)>("eglDestroyContext")(display_, context_);
  }
  void use() override {
    if (!make_current(context_)) throw Error("EGL's driver does not draw without a surface");
  }

 private:
  using PlatformDisplay = Handle(unsigned, void*, const int*);
  using QueryDevices = unsigned(int, Handle*, int*);

  template <class F>
  F* extension(const char* name) const {
    return reinterpret_cast<F*>(library_.function<Handle(const char*)>("eglGetProcAddress")(name));
  }
  bool make_current(Handle context) const {
    return library_.function<unsigned(Handle, Handle, Handle, Handle)>("eglMakeCurrent")(
               display_, nullptr, nullptr, context) != 0;
  }
  bool open(unsigned platform, void* native) {
    auto* display_of = extension<PlatformDisplay>("eglGetPlatformDisplayEXT");
    if (display_of == nullptr) return false;
    display_ = display_of(platform, native, nullptr);
    return display_ != nullptr && library_.function<unsigned(Handle, int*, int*)>("eglInitialize")(
                                      display_, nullptr, nullptr) != 0;
  }
  bool open_surfaceless() { return open(kEglSurfaceless, nullptr); }
  bool open_device() {
    auto* query = extension<QueryDevices>("eglQueryDevicesEXT");
    std::array<Handle, 16> devices{};
    int count = 0;
    if (query == nullptr || query(static_cast<int>(devices.size()), devices.data(), &count) == 0)
      return false;
    for (int i = 0; i < count; ++i)
      if (open(kEglDevice, devices[static_cast<std::size_t>(i)])) return true;
    return false;
  }

  Library library_;
  Handle display_ = nullptr, context_ = nullptr;
};

class OsmesaContext final : public GlContext {
 public:
  OsmesaContext() : library_(name()) {
    constexpr unsigned kRgba = 0x1908;
    context_ = library_.function<Handle(unsigned, int, int, int, Handle)>("OSMesaCreateContextExt")(
        kRgba, 24, 8, 0, nullptr);
    if (context_ == nullptr) throw Error("OSMesa makes no OpenGL context");
    use();
  }
  ~OsmesaContext() override { library_.function<void(Handle)>("OSMesaDestroyContext")(context_); }
  void use() override {
    constexpr unsigned kBytes = 0x1401;
    // a surface of its own is needed, although pictures go to a framebuffer of MuJoCo's
    if (library_.function<unsigned char(Handle, void*, unsigned, int, int)>("OSMesaMakeCurrent")(
            context_, surface_.data(), kBytes, kSide, kSide) == 0)
      throw Error("OSMesa does not draw");
  }

 private:
  static constexpr int kSide = 16;
  static const char* name() {
    for (const char* name : {"libOSMesa.so.8", "libOSMesa.so.6"})
      if (::dlopen(name, RTLD_NOW | RTLD_LOCAL) != nullptr) return name;
    return "libOSMesa.so.8";
  }

  Library library_;
  Handle context_ = nullptr;
  std::vector<std::uint8_t> surface_ = std::vector<std::uint8_t>(4 * kSide * kSide);
};

}  // namespace

std::unique_ptr<GlContext> make_gl_context() {
  const char* variable = std::getenv("SOFTMPC_GL");
  const std::string wanted = variable == nullptr ? "" : variable;
  if (!wanted.empty() && wanted != "egl" && wanted != "osmesa")
    throw UsageError("SOFTMPC_GL is '" + wanted + "', must be egl or osmesa");
  std::string missing;
  if (wanted != "osmesa") {
    try {
      return std::make_unique<EglContext>();
    } catch (const Error& error) {
      missing = error.what();
    }
  }
  if (wanted != "egl") {
    try {
      return std::make_unique<OsmesaContext>();
    } catch (const Error& error) {
      missing += (missing.empty() ? "" : "; ") + std::string(error.what());
    }
  }
  throw Error("pictures cannot be drawn (" + missing +
              "): install libegl1 and libegl-mesa0, or libosmesa6");
}

}  // namespace softmpc::tasks
