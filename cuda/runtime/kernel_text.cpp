// SPDX-License-Identifier: Apache-2.0
// Prelude, project headers, constants, rules, entry.
#include "runtime/kernel_text.h"

#include <set>

#include "amalgamate.h"
#include "kernel_files.h"

namespace softmpc::cuda {
namespace {

// What the headers take from the standard library. NVRTC has none; nvcc has included its own.
constexpr std::string_view kPrelude = R"(#line 1 "prelude"
#if defined(__CUDACC_RTC__)
namespace std {
using int8_t = signed char;
using int16_t = short;
using int32_t = int;
using int64_t = long;
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using uint32_t = unsigned;
using uint64_t = unsigned long;
using uintptr_t = unsigned long;
using size_t = decltype(sizeof 0);
using ptrdiff_t = long;
using ::abs;
using ::acos;
using ::asin;
using ::atan;
using ::atan2;
using ::ceil;
using ::cos;
using ::exp;
using ::fabs;
using ::floor;
using ::fma;
using ::fmax;
using ::fmin;
using ::hypot;
using ::isfinite;
using ::isnan;
using ::log;
using ::log1p;
using ::memcpy;
using ::memset;
using ::pow;
using ::round;
using ::sin;
using ::sqrt;
using ::tan;
using ::tanh;
template <class T>
struct numeric_limits;
template <>
struct numeric_limits<float> {
  static constexpr __host__ __device__ float max() { return 3.402823466e+38f; }
  static constexpr __host__ __device__ float epsilon() { return 1.1920928955e-7f; }
  static constexpr __host__ __device__ float infinity() { return __builtin_bit_cast(float, 0x7f800000); }
  static constexpr __host__ __device__ float quiet_NaN() { return __builtin_bit_cast(float, 0x7fc00000); }
};
template <>
struct numeric_limits<double> {
  static constexpr __host__ __device__ double max() { return 1.7976931348623157e+308; }
  static constexpr __host__ __device__ double epsilon() { return 2.2204460492503131e-16; }
  static constexpr __host__ __device__ double infinity() { return __builtin_bit_cast(double, 0x7ff0000000000000); }
  static constexpr __host__ __device__ double quiet_NaN() { return __builtin_bit_cast(double, 0x7ff8000000000000); }
};
template <>
struct numeric_limits<int> {
  static constexpr __host__ __device__ int max() { return 2147483647; }
};
}  // namespace std
using std::int32_t;
using std::int64_t;
using std::size_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;
#else
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#endif
// the host's words, which neither compiler knows on a device
#define __builtin_huge_valf() __builtin_bit_cast(float, 0x7f800000)
#define __builtin_huge_val() __builtin_bit_cast(double, 0x7ff0000000000000)
#define __builtin_nanf(text) __builtin_bit_cast(float, 0x7fc00000)
#define __builtin_fmaf(a, b, c) ::fmaf(a, b, c)
#define __builtin_fma(a, b, c) ::fma(a, b, c)
#define __builtin_sqrtf(a) ::sqrtf(a)
#define __builtin_sqrt(a) ::sqrt(a)
#define __builtin_fabsf(a) ::fabsf(a)
#define __builtin_fabs(a) ::fabs(a)
)";

std::optional<std::string_view> find_file(const std::string& path) {
  // a header is named as a host's compiler would find it, too
  for (const std::string& full : {path, "include/" + path, "cuda/kernels/" + path}) {
    for (const softmpc::detail::EmbeddedFile& file : kernel_files())
      if (full == file.name) return file.text;
  }
  return std::nullopt;
}

std::string sizes_text(const KernelConstants& constants) {
  std::string text = "#line 1 \"sizes\"\nnamespace softmpc::cuda {\nstruct Sizes {\n";
  const auto add = [&](const char* name, int value) {
    text += std::string("  static constexpr int ") + name + " = " + std::to_string(value) + ";\n";
  };
#define SOFTMPC_ADD(name) add(#name, constants.name);
  SOFTMPC_KERNEL_CONSTANTS(SOFTMPC_ADD)
#undef SOFTMPC_ADD
  add("dynamics_width", constants.dynamics_width);
  add("critic_width", constants.critic_width);
  add("policy_width", constants.policy_width);
  return text + "};\n";
}

// The host's word for unrolling, in the device's.
std::string with_device_pragmas(std::string text) {
  const std::string host = "#pragma GCC unroll", device = "#pragma unroll";
  for (std::size_t at = 0; (at = text.find(host, at)) != std::string::npos; at += device.size())
    text.replace(at, host.size(), device);
  return text;
}

// Rules of a kernel that has none: never asked for anything.
constexpr std::string_view kNoRules = R"(struct NoRules {
  static constexpr bool has_termination = false;
  template <class X, class A, class N>
  __host__ __device__ static float reward(const X&, const A&, const N&) { return 0; }
  template <class N>
  __host__ __device__ static bool terminated(const N&) { return false; }
};
)";

std::string entry_text(const KernelSource& source) {
  const bool rules = !source.rules.type.empty();
  std::string text = "#line 1 \"entry\"\n";
  if (!rules) text += kNoRules;
  text += "using Rules = " + (rules ? source.rules.type : "NoRules") + ";\n";
  if (!source.dynamics.type.empty()) text += "using Dynamics = " + source.dynamics.type + ";\n";
  if (!source.value.type.empty()) text += "using Value = " + source.value.type + ";\n";
  text += "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(source.threads) +
          ", " + std::to_string(source.blocks_per_processor) + ")\n";
  text +=
      std::string("    ") + kKernelName + "(const __grid_constant__ " + source.job + " job) {\n";
  text += "  " + source.call + "(job);\n}\n}  // namespace softmpc::cuda\n";
  return text;
}

}  // namespace

std::string kernel_text(const KernelSource& source) {
  Amalgamation text(find_file);
  text.add_file("cuda/kernels/" + source.header);
  // after the kernel's own headers: rules may lean on those of hd/, and must not come before them
  std::set<std::string_view> added = {""};  // one text may define the types of several models
  for (const DeviceRules* rules : {&source.rules, &source.dynamics, &source.value})
    if (added.insert(rules->source).second) text.add_text(rules->source, "rules");
  return std::string(kPrelude) + with_device_pragmas(text.text()) + sizes_text(source.constants) +
         entry_text(source);
}

std::string architecture_name(int capability) {
  return "sm_" + std::to_string(capability) + (capability == 90 ? "a" : "");
}

}  // namespace softmpc::cuda
