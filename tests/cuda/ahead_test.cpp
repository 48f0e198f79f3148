// SPDX-License-Identifier: Apache-2.0
// Tests cuda/plan/ahead.cpp and runtime/kernel_file.cpp: kernels compiled without a device serve a
// planner that has one and no compiler. The driver is the fake one of driver_test.cpp.
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "compiling.h"
#include "io/atomic_file.h"
#include "plan/device_planner.h"
#include "runtime/kernel_file.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"
#include "temp_folder.h"
#include "variable.h"

namespace softmpc::cuda {
namespace {

using test::error_of;

/// A planner of sizes that no fixed kernel has.
struct SmallPlanner {
  explicit SmallPlanner(int horizon) {
    config.rollouts = 96;
    config.horizon = horizon;
    config.precision = Precision::float16;
    config.control_mode = ControlMode::mean_residual;  // one kernel more
    shape = {5, 2, {-1, -1}, {1, 1}, 3};
  }
  std::unique_ptr<DevicePlanner> make(const DeviceOptions& on) const {
    return std::make_unique<DevicePlanner>(config, shape, models, on);
  }
  PlannerConfig config;
  ProblemShape shape;
  NetWeights members = NetWeights::zeros(2, NetSpec::mlp({7, 256, 256, 6}));
  NetWeights critic = NetWeights::zeros(1, NetSpec::mlp({7, 256, 256, 1}));
  DeviceModels models = {.members = &members, .outputs = {.reward = true}, .critics = &critic};
};

std::string without_compiler(const SmallPlanner& planner, Path path = Path::automatic) {
  const test::TempFolder empty;
  const Variable no_compiler("SOFTMPC_NVRTC", "/does/not/exist.so"),
      no_cache("SOFTMPC_CACHE_DIR", empty.path());
  return error_of<Error>([&] {
    const DeviceDiagnostics d = planner.make({})->diagnostics();
    if (path != Path::automatic) {
      EXPECT_EQ(d.path, path) << d.why;
    }
    EXPECT_EQ(d.carried, 3);
    EXPECT_EQ(d.compiled, 0);
    EXPECT_EQ(d.cached, 0);
  });
}

TEST(CompileAhead, APlannerOfItsKernelsNeedsNoCompiler) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const test::TempFolder folder;
  const SmallPlanner planner(3);
  const std::string file = folder.file("model.kernels");
  EXPECT_NE(without_compiler(planner), "(no exception)");
  const int capabilities[] = {90, 90};  // the same twice is once
  const CompiledKernels done =
      compile_kernels(file, capabilities, [&](const DeviceOptions& on) { planner.make(on); });
  EXPECT_GE(done.kernels, 5);
  EXPECT_GT(done.bytes, 10000u);
  use_kernels(file);
  EXPECT_EQ(without_compiler(planner, Path::cluster), "(no exception)");
  // where clusters would wait, its tiles are there as well
  const Variable groups("FAKE_CUDA", "groups");
  EXPECT_EQ(without_compiler(planner, Path::tile), "(no exception)");
  // another horizon is another planner
  EXPECT_NE(without_compiler(SmallPlanner(4)), "(no exception)");
}

TEST(CompileAhead, NamesWhatCannotBe) {
  const test::TempFolder folder;
  const std::string file = folder.file("model.kernels");
  const auto compile = [&](std::vector<int> capabilities, bool makes) {
    return error_of<Error>([&] {
      compile_kernels(file, capabilities, [&](const DeviceOptions& on) {
        if (makes) SmallPlanner(3).make(on);
      });
    });
  };
  EXPECT_EQ(compile({70}, true),
            "architecture: sm_70 is not one of sm_80, sm_86, sm_87, sm_89, sm_90, sm_100, sm_103, "
            "sm_110, sm_120, sm_121");
  EXPECT_EQ(compile({}, true), "architecture: none is given, at least one is needed");
  EXPECT_EQ(compile({90}, false), "compile_kernels: nothing was made on the device it was given");
  EXPECT_TRUE(folder.names().empty());
}

TEST(KernelFile, ServesTheFamilyOfItsArchitecture) {
  EXPECT_TRUE(runs_on(80, 80));
  EXPECT_TRUE(runs_on(80, 89));
  EXPECT_FALSE(runs_on(87, 86));
  EXPECT_FALSE(runs_on(80, 90));
  KernelFile file;
  file.add("text", 80, "for 80");
  file.add("text", 87, "for 87");
  EXPECT_EQ(file.find("text", 80), "for 80");
  EXPECT_EQ(file.find("text", 86), "for 80");
  EXPECT_EQ(file.find("text", 87), "for 87");
  EXPECT_EQ(file.find("text", 89), "for 87");
  EXPECT_EQ(file.find("text", 90), "");
  EXPECT_EQ(file.find("another", 80), "");
}

TEST(KernelFile, RefusesWhatIsNone) {
  const test::TempFolder folder;
  const std::string path = folder.file("a.kernels");
  KernelFile file;
  file.add("text", 80, std::string(100, 'x'));
  file.write(path);
  EXPECT_EQ(KernelFile(path).find("text", 80), std::string(100, 'x'));
  const std::string whole = read_file(path);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    write_file_atomically(path, std::string_view(damaged));
    const std::string said = error_of<Error>([&] { use_kernels(path); });
    EXPECT_TRUE(said.starts_with(path)) << at << ": " << said;
    write_file_atomically(path, std::string_view(whole).substr(0, at));
    EXPECT_NE(error_of<Error>([&] { use_kernels(path); }), "(no exception)") << at;
  }
  TensorFile other;
  other.tensors["w"] = Tensor::of<float>({1}, std::vector<float>{1});
  write_safetensors(path, other);
  EXPECT_EQ(error_of<Error>([&] { use_kernels(path); }),
            path + ": is no file of kernels that this softmpc reads; softmpc kernels makes one");
}

TEST(KernelFile, OfTheEnvironmentIsReadOnce) {
  const test::TempFolder folder;
  const std::string path = folder.file("a.kernels");
  const Variable named("SOFTMPC_KERNELS", path);
  EXPECT_NE(error_of<Error>([] { cubin_of_files("a text of nobody", 80); }).find(path),
            std::string::npos);
  KernelFile file;
  file.add("a text of nobody", 80, "cubin");
  file.write(path);
  EXPECT_EQ(cubin_of_files("a text of nobody", 86), "cubin");
  std::filesystem::remove(path);
  EXPECT_EQ(cubin_of_files("a text of nobody", 86), "cubin");
}

}  // namespace
}  // namespace softmpc::cuda
