// SPDX-License-Identifier: Apache-2.0
// Tests cuda/kernel_text.cpp, compiler.cpp and cubin.cpp by NVRTC, which needs no device: texts are
// complete, every instruction's PTX is right, and the reader agrees with ptxas.
#include "compiling.h"

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>
#include <utility>

#include "kernel_files.h"
#include "runtime/cubin_cache.h"
#include "runtime/fixed_kernels.h"
#include "runtime/precompiled.h"
#include "temp_folder.h"

namespace softmpc::cuda {
namespace {

TEST(KernelText, IncludesNothing) {
  for (const FixedKernel& kernel : fixed_kernels()) {
    const std::string text = kernel_text(kernel.source);
    // system headers for nvcc alone, and the emulator's on the branch that is not taken
    const std::regex include("\n[ \t]*#[ \t]*include[^\n]*");
    for (std::sregex_iterator i(text.begin(), text.end(), include), end; i != end; ++i) {
      const std::set<std::string> known = {"#include <cmath>", "#include <cstdint>",
                                           "#include <cstring>", "#include <limits>"};
      const std::string line = i->str().substr(1);
      EXPECT_TRUE(known.contains(line) || line.starts_with("#include \"emulator/"))
          << kernel.name << ": " << line;
    }
  }
}

TEST(KernelText, NamesAMissingHeader) {
  KernelSource source = test_kernel("no_such.cuh", "");
  EXPECT_EQ(test::error_of<Error>([&] { kernel_text(source); }),
            "no file 'cuda/kernels/no_such.cuh' is built into the library");
}

TEST(Compiler, CompilesTheFixedKernelsWithinTheirBudgets) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  for (const FixedKernel& kernel : fixed_kernels()) {
    for (int capability : kernel.capabilities) {
      SCOPED_TRACE(kernel.name + " " + architecture_name(capability));
      const std::string cubin = compile_text(compiler, kernel_text(kernel.source), capability);
      EXPECT_EQ(budget_error(kernel, cubin), "");
    }
  }
}

// not among the fixed ones: a quarter more registers, and no local memory either
TEST(Compiler, CompilesAFullCovariance) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const auto expect_budget = [&](FixedKernel kernel) {
    kernel.source.constants.correlated = 1;
    kernel.max_registers += kernel.max_registers / 4;
    for (int uniform : {0, 1}) {
      kernel.source.constants.uniform_prior = uniform;
      SCOPED_TRACE(kernel.name + (uniform ? ", uniform" : ", gaussian"));
      const int capability = kernel.capabilities.back();
      const std::string cubin = compile_text(compiler, kernel_text(kernel.source), capability);
      EXPECT_EQ(budget_error(kernel, cubin), "");
    }
  };
  for (const FixedKernel& kernel : fixed_kernels()) {
    if (kernel.source.job != "RolloutJob") continue;
    expect_budget(kernel);
    if (kernel.name != "update") continue;
    FixedKernel other = kernel;
    other.source.constants.nu = 9;  // three blocks of normals
    expect_budget(other);
    other.source.call = "charged_plans<Sizes>";
    other.source.job = "ChargeJob";
    expect_budget(other);
  }
}

// Paths and tiles at the widths that presets have, 512 beside them, and bfloat16: those of the
// fixed kernels that are not 256 wide or 16-bit by float16.
TEST(Compiler, CompilesAllWidthsOfAllTiles) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const auto fixed = [](const std::string& name) {
    return *std::ranges::find(fixed_kernels(), name, &FixedKernel::name);
  };
  const auto expect_budget = [&](FixedKernel kernel, int slots, int width, const char* number) {
    std::string& call = kernel.source.call;
    const auto put = [&](const std::string& old, const std::string& now) {
      call.replace(call.find(old), old.size(), now);
    };
    if (slots != 16) put(" 16,", " " + std::to_string(slots) + ",");
    put("Number::f16", number);
    KernelConstants& c = kernel.source.constants;
    c.dynamics_width = c.critic_width = c.policy_width = width;
    const bool shares =
        slots == 32 && width <= 256 && kernel.name == "tile_16";  // as dispatch does
    kernel.source.blocks_per_processor = shares ? 2 : 1;
    kernel.max_registers = shares ? 128 : 255;
    SCOPED_TRACE(call + " " + std::to_string(width));
    const int capability = kernel.capabilities.back();
    EXPECT_EQ(budget_error(kernel, compile_text(compiler, kernel_text(kernel.source), capability)),
              "");
  };
  const FixedKernel tile = fixed("tile_16"), cluster = fixed("cluster_16"), wgmma = fixed("wgmma");
  for (const int slots : {16, 32, 64}) expect_budget(tile, slots, 128, "Number::f16");
  for (const int slots : {16, 32}) expect_budget(tile, slots, 512, "Number::f16");
  for (const int width : {64, 256}) expect_budget(tile, 32, width, "Number::f16");
  expect_budget(tile, 32, 256, "Number::bf16");
  FixedKernel full = tile;
  full.source.constants.correlated = 1;
  expect_budget(full, 32, 256, "Number::f16");
  expect_budget(tile, 16, 128, "Number::bf16");
  for (const int width : {256, 512}) expect_budget(cluster, 32, width, "Number::f16");
  expect_budget(wgmma, 16, 128, "Number::bf16");
}

// not among the fixed ones: as many registers as 256 threads can have, and no local memory either
TEST(Compiler, CompilesLayerNormOnTheTwoPathsThatHaveIt) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  int compiled = 0;
  for (FixedKernel kernel : fixed_kernels()) {
    if (!kernel.name.starts_with("tile_") && kernel.name != "plain") continue;
    kernel.max_registers = 255;
    KernelConstants& constants = kernel.source.constants;
    constants.critic_norm = 250;
    kernel.source.blocks_per_processor = 1;  // as dispatch does
    for (int members : {0, 256}) {
      constants.dynamics_norm = members;
      SCOPED_TRACE(kernel.name + (members ? ", members too" : ""));
      const int capability = kernel.capabilities.back();
      const std::string cubin = compile_text(compiler, kernel_text(kernel.source), capability);
      EXPECT_EQ(budget_error(kernel, cubin), "");
      ++compiled;
    }
  }
  EXPECT_EQ(compiled, 6);
}

// Sizes that are no power of two, and layers between the first and the last: where a shape's sizes
// become variables of a loop. The fixed kernels have neither.
TEST(Compiler, DividesByConstantsInRolloutsOfAllSizes) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  int compiled = 0;
  for (FixedKernel kernel : fixed_kernels()) {
    if (kernel.name != "tile_16" && kernel.name != "wgmma") continue;
    KernelConstants& constants = kernel.source.constants;
    constants.nx = 40;  // with nu = 3: 43 inputs, padded to 48
    constants.dynamics_outputs = 42;
    constants.dynamics_layers = 3;
    constants.critic_layers = 4;
    constants.dynamics_width = 64;
    const std::string cubin = compile_text(compiler, kernel_text(kernel.source), 90);
    EXPECT_EQ(budget_error(kernel, cubin), "");
    ++compiled;
  }
  EXPECT_EQ(compiled, 2);
}

TEST(Compiler, ADivisionAtRunTimeBreaksTheBudget) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const auto error = [&](const std::string& value, int capability, int allowed) {
    FixedKernel kernel;
    kernel.name = "kernel";
    kernel.max_to_integer = allowed;
    kernel.source = test_kernel("intrinsics.h",
                                "struct Job { long long* out; const int* in; int count; };\n"
                                "SOFTMPC_KERNEL void body(const Job& job) {\n"
                                "  const int i = thread();\n  const float f = job.in[i];\n"
                                "  job.out[i] = " +
                                    value + ";\n}");
    return budget_error(kernel, compile_text(compiler, kernel_text(kernel.source), capability));
  };
  for (const int capability : kCapabilities) {
    SCOPED_TRACE(architecture_name(capability));
    // of a thread's own numbers, of what all threads share; of 64 bits with a short cut for 32
    const std::pair<const char*, int> divisions[] = {{"i / job.in[i]", 1},
                                                     {"i % job.in[i]", 1},
                                                     {"blocks() / job.count", 1},
                                                     {"job.out[i] / job.count", 2}};
    for (const auto& [value, count] : divisions) {
      EXPECT_EQ(error(value, capability, 0),
                "kernel: conversions to integers (divisions by what is no constant) " +
                    std::to_string(count) + ", at most 0 are allowed")
          << value;
      EXPECT_EQ(error(value, capability, count), "") << value;
    }
    // by a constant; a number from an integer, as noise is drawn
    for (const char* value : {"i / 48 + i % 48", "f * 2 > 1"})
      EXPECT_EQ(error(value, capability, 0), "") << value;
  }
}

TEST(Precompiled, HoldTheFixedKernels) {
  if (precompiled_kernels().empty()) GTEST_SKIP() << "built without nvcc: none are in the library";
  for (const FixedKernel& kernel : fixed_kernels()) {
    const std::string print = fingerprint(kernel_text(kernel.source));
    for (int capability : kernel.capabilities) {
      int found = 0;
      for (const PrecompiledKernel& p : precompiled_kernels()) {
        if (p.fingerprint != print || p.capability != capability) continue;
        ++found;
        EXPECT_EQ(budget_error(kernel, p.cubin), "");
      }
      EXPECT_EQ(found, 1) << kernel.name << " " << capability;
    }
  }
}

// Every function of intrinsics_ptx.cuh; names after `since_90` need sm_90.
constexpr const char* kUseAll = R"(
struct Job { float* out; const std::uint32_t* in; std::uint32_t* counter; double* wide; };
SOFTMPC_DEVICE void use(const Job& job, float v) { job.out[thread()] += v; }
SOFTMPC_KERNEL void body(const Job& job) {
  char* shared = shared_memory();
  use(job, static_cast<float>(threads() + block() + blocks() + lane() + warp()));
  sync_block();
  sync_warp();
  sync_some(1, 64);
  float v = job.out[thread()];
  use(job, shuffle_xor(v, 1));
  job.wide[thread()] = shuffle_xor(static_cast<double>(v), 2);
  use(job, static_cast<float>(shuffle_xor(thread(), 4)));
  use(job, static_cast<float>(ballot(v > 0)));
  use(job, static_cast<float>(take_ticket(job.counter)));
  fence_device();
  const Words4 words = load_constant(job.in + 4 * thread());
  use(job, static_cast<float>(words.x + words.y + words.z + words.w));
  copy_async(shared + 16 * thread(), job.in + 4 * thread());
  copy_commit();
  copy_wait<0>();
  copy_wait<1>();
  sync_block();
  float low, high;
  unpack_f16(pack_f16(v, 2 * v), low, high);
  use(job, low + high + tanh_fast(v) + exp2_fast(v) + reciprocal_fast(v));
  use(job, static_cast<float>(pack_bf16(v, 3 * v) + shared_address(shared)));
  std::uint32_t a[4];
  load_matrix(a, shared + 16 * lane());
  float d[4] = {v, v, v, v};
  mma_f16(d, a, words.x, words.y);
  mma_bf16(d, a, words.z, words.w);
  use(job, d[0] + d[1] + d[2] + d[3]);
#if __CUDA_ARCH__ >= 900
  use(job, static_cast<float>(cluster_rank()));
  cluster_arrive();
  cluster_wait();
  const std::uint32_t there = remote_address(shared, 1);
  store_remote(there, v, v, v, v);
  store_remote(there + 16, v, v);
  Barrier* barrier = reinterpret_cast<Barrier*>(shared + 4096);
  if (thread() == 0) {
    barrier_init(barrier, threads());
    barrier_init_fence();
  }
  sync_block();
  if (thread() == 0) {
    barrier_expect(barrier, 256);
    copy_bulk(shared, job.in, 256, barrier);
  } else {
    barrier_arrive(barrier);
  }
  barrier_wait(barrier, 0);
  barrier_wait(barrier, 1);
  use(job, static_cast<float>(shared[thread()]));
#endif
}
)";

// The same of intrinsics_wgmma.cuh, for sm_90a.
constexpr const char* kUseWgmma = R"(
struct Job { float* out; };
template <int N>
SOFTMPC_DEVICE void products(const Job& job, const std::uint32_t (&a)[4], char* shared) {
  float d[N / 2];
  const std::uint64_t plain = wgmma_plain(shared, N), swizzled = wgmma_swizzled(shared);
  fence_async();
  wgmma_fence();
  wgmma_f16<N, false>(d, a, plain);
  wgmma_f16<N>(d, a, swizzled);
  wgmma_bf16<N>(d, a, wgmma_descriptor(shared, WgmmaLayout::plain, 16 * N, 128));
  wgmma_f16_shared<N>(d, plain, swizzled);
  wgmma_bf16_shared<N>(d, swizzled, swizzled);
  wgmma_commit();
  wgmma_wait<0>();
  wgmma_hold(d);
  for (int i = 0; i < N / 2; ++i) job.out[i * thread()] += d[i];
}
SOFTMPC_KERNEL void body(const Job& job) {
  char* shared = shared_memory();
  std::uint32_t a[4];
  load_matrix(a, shared + 16 * lane());
  if (warp() >= 4)
    registers_down<24>();
  else
    registers_up<240>();
  products<16>(job, a, shared);
  products<32>(job, a, shared);
  products<64>(job, a, shared);
  products<128>(job, a, shared);
  products<256>(job, a, shared);
}
)";

std::string file_text(const std::string& name) {
  for (const auto& file : kernel_files())
    if (name == file.name) return std::string(file.text);
  return "";
}

// Functions of a header that `uses` does not name; `count` is how many there are.
std::string unused(const std::string& header, const std::string& uses, int& count) {
  const std::string text = file_text(header);
  const std::regex function("SOFTMPC_DEVICE [A-Za-z0-9_:]+\\*? ([a-z0-9_]+)\\(");
  std::string names;
  count = 0;
  for (std::sregex_iterator i(text.begin(), text.end(), function), end; i != end; ++i, ++count)
    if (uses.find((*i)[1].str()) == std::string::npos) names += " " + (*i)[1].str();
  return names;
}

TEST(Intrinsics, AllAreUsedByTheTest) {
  int count = 0;
  EXPECT_EQ(unused("cuda/kernels/intrinsics_ptx.cuh", kUseAll, count), "");
  EXPECT_GE(count, 40);
  EXPECT_EQ(unused("cuda/kernels/intrinsics_wgmma.cuh", kUseWgmma, count), "");
  EXPECT_GE(count, 14);
}

TEST(Intrinsics, OfWarpgroupsCompile) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  KernelSource source = test_kernel("intrinsics_wgmma.cuh", kUseWgmma);
  std::string log;
  const std::string cubin = compile_text(compiler, kernel_text(source), 90, &log, true);
  EXPECT_EQ(log.find("warning"), std::string::npos) << log;
  const CubinFacts facts = read_cubin(cubin, kKernelName);
  EXPECT_EQ(facts.count(kHgmma), 15);  // 3 for each of 5 sizes
  EXPECT_EQ(facts.count(kHgmmaShared), 10);
}

TEST(Intrinsics, CompileForAllArchitectures) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const KernelSource source = test_kernel("intrinsics.h", kUseAll);
  for (int capability : kCapabilities) {
    const std::string cubin = compile_text(compiler, kernel_text(source), capability);
    const CubinFacts facts = read_cubin(cubin, kKernelName);
    EXPECT_EQ(facts.count(kHmma), 2);
    EXPECT_EQ(facts.count(kLdsm), 1);
    EXPECT_GE(facts.count(kMufu), 3);  // tanh, exp2, reciprocal
    EXPECT_EQ(facts.frame_bytes, 0);
  }
}

TEST(Compiler, PutsTheFirstErrorsOnOneLine) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const KernelSource source = test_kernel(
      "intrinsics.h",
      "struct Job { int x; };\nSOFTMPC_KERNEL void body(const Job& j) {\n  nonsense(j);\n}");
  const std::string text =
      test::error_of<Error>([&] { compile_text(compiler, kernel_text(source), 80); });
  EXPECT_EQ(
      text,
      "cannot compile the test's kernel: rules(4): error: identifier \"nonsense\" is undefined");
}

TEST(Compiler, TakesTheNearestArchitectureOfAFamily) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  EXPECT_EQ(compiler.architecture(80), "sm_80");
  EXPECT_EQ(compiler.architecture(89), "sm_89");
  EXPECT_EQ(compiler.architecture(90), "sm_90a");
  EXPECT_NE(test::error_of<Error>([&] { compiler.architecture(999); }).find("99.9"),
            std::string::npos);
}

// The number before `word` in ptxas' report, 0 if it says none.
int reported(const std::string& log, const std::string& word) {
  std::smatch found;
  return std::regex_search(log, found, std::regex("([0-9]+) " + word)) ? std::stoi(found[1]) : 0;
}

TEST(Cubin, AgreesWithThePtxas) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  // plain; static shared memory; a local array; registers beyond the launch bounds
  const std::string bodies[] = {
      "job.out[thread()] = 1;",
      "__shared__ float s[100]; s[thread()] = job.out[thread()]; sync_block();"
      "job.out[thread()] = s[thread() ^ 1];",
      "float s[40]; for (int i = 0; i < 40; ++i) s[job.in[i]] = job.out[i];"
      "job.out[0] = s[job.in[40]];",
      "float s[250];\n#pragma unroll\nfor (int i = 0; i < 250; ++i) s[i] = job.out[i * thread()];"
      "sync_block();\n#pragma unroll\nfor (int i = 0; i < 250; ++i) job.out[i] = s[i];"};
  int frames = 0, shared = 0;
  for (const std::string& body : bodies) {
    KernelSource source = test_kernel("intrinsics.h",
                                      "struct Job { float* out; int* in; int more[7]; };\n"
                                      "SOFTMPC_KERNEL void body(const Job& job) {" +
                                          body + "}");
    source.blocks_per_processor = 4;
    for (int capability : kCapabilities) {
      SCOPED_TRACE(architecture_name(capability) + ": " + body);
      std::string log;
      const std::string cubin = compile_text(compiler, kernel_text(source), capability, &log, true);
      const CubinFacts facts = read_cubin(cubin, kKernelName);
      EXPECT_EQ(facts.registers, reported(log, "registers")) << log;
      EXPECT_EQ(facts.frame_bytes, reported(log, "bytes stack frame")) << log;
      EXPECT_EQ(facts.static_shared, reported(log, "bytes smem")) << log;
      EXPECT_EQ(facts.parameter_bytes, 48);
      frames += facts.frame_bytes > 0;
      shared += facts.static_shared > 0;
    }
  }
  EXPECT_EQ(frames, 4);
  EXPECT_EQ(shared, 2);
}

TEST(Cubin, RefusesWhatIsNone) {
  EXPECT_EQ(test::error_of<Error>([] { read_cubin("", "k"); }), "cubin: ends too early");
  EXPECT_EQ(test::error_of<Error>([] { read_cubin(std::string(100, 'x'), "k"); }),
            "cubin: not a 64-bit ELF file");
  if (precompiled_kernels().empty()) return;
  const std::string_view good = precompiled_kernels()[0].cubin;
  EXPECT_EQ(test::error_of<Error>([&] { read_cubin(good, "k"); }), "cubin: no kernel 'k'");
  for (std::size_t size = 0; size < good.size(); size += 61) {  // never reads beyond the end
    const std::string part(good.substr(0, size));
    const std::string error = test::error_of<Error>([&] { read_cubin(part, kKernelName); });
    EXPECT_TRUE(error.starts_with("cubin: ") || error == "(no exception)") << error;
  }
}

}  // namespace
}  // namespace softmpc::cuda
