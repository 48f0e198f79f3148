// SPDX-License-Identifier: Apache-2.0
// Tests cuda/runtime/kernel_binary.cpp, cubin_cache.cpp and nvrtc_places.cpp: where a kernel's
// cubin comes from, and where its compiler does.
#include "runtime/kernel_binary.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "compiling.h"
#include "io/atomic_file.h"
#include "runtime/fixed_kernels.h"
#include "runtime/nvrtc_places.h"
#include "temp_folder.h"
#include "variable.h"

namespace softmpc::cuda {
namespace {

constexpr int kAnyDriver = 0;

KernelSource probe() { return fixed_kernels().front().source; }

// No two kernels alike: nothing is in the library.
KernelSource other_kernel() {
  KernelSource source = probe();
  source.threads = 128;
  return source;
}

TEST(CubinCache, FindsWhatItStored) {
  const test::TempFolder temp;
  const CubinCache cache(temp.file("below/here"));
  EXPECT_FALSE(cache.find("key"));
  cache.store("key", std::string("\0binary", 7));
  EXPECT_EQ(cache.find("key"), std::string("\0binary", 7));
  EXPECT_FALSE(cache.find("other key"));
}

TEST(CubinCache, PassesOverDamage) {
  const test::TempFolder temp;
  const CubinCache cache(temp.path());
  cache.store("key", "binary");
  const std::string whole = read_file(cache.path("key"));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_file_atomically(cache.path("key"), std::string_view(damaged));
    EXPECT_FALSE(cache.find("key")) << at;
    write_file_atomically(cache.path("key"), std::string_view(whole).substr(0, at));
    EXPECT_FALSE(cache.find("key")) << at;
  }
  cache.store("key", "binary");
  EXPECT_EQ(cache.find("key"), "binary");
}

TEST(CubinCache, ComparesKeysNotFingerprints) {
  const test::TempFolder temp;
  const CubinCache cache(temp.path());
  cache.store("key", "binary");
  std::filesystem::rename(cache.path("key"), cache.path("yek"));  // as if they collided
  EXPECT_FALSE(cache.find("yek"));
}

TEST(CubinCache, LiesWhereTheUserSays) {
  const Variable folder("SOFTMPC_CACHE_DIR", "/a");
  EXPECT_EQ(CubinCache().folder(), "/a");
  const Variable none("SOFTMPC_CACHE_DIR", ""), base("XDG_CACHE_HOME", "/b");
  EXPECT_EQ(CubinCache().folder(), "/b/softmpc");
  const Variable no_base("XDG_CACHE_HOME", ""), home("HOME", "/c");
  EXPECT_EQ(CubinCache().folder(), "/c/.cache/softmpc");
  const Variable service("CACHE_DIRECTORY", "/d/one:/d/two");  // of a unit, which has no HOME
  EXPECT_EQ(CubinCache().folder(), "/d/one");
}

TEST(CubinCache, NeedsNoHome) {
  const Variable none("SOFTMPC_CACHE_DIR", ""), base("XDG_CACHE_HOME", ""), home("HOME", ""),
      service("CACHE_DIRECTORY", "");
  const passwd* user = getpwuid(getuid());
  if (user == nullptr) GTEST_SKIP() << "this user is in no list";
  EXPECT_EQ(CubinCache().folder(), std::string(user->pw_dir) + "/.cache/softmpc");
}

TEST(CubinCache, PassesOverWhatAnotherVersionWrote) {
  const test::TempFolder temp;
  const CubinCache cache(temp.path());
  cache.store("key", "binary");
  std::string other = read_file(cache.path("key"));
  ASSERT_EQ(other[7], '1');
  other[7] = '2';
  write_file_atomically(cache.path("key"), std::string_view(other));
  EXPECT_FALSE(cache.find("key"));
  EXPECT_EQ(cache.store("key", "binary"), "");
  EXPECT_EQ(cache.find("key"), "binary");
}

// Files may grow no further, as on a full disk.
TEST(CubinCache, SaysWhyAFullDiskKeepsNothing) {
  const test::TempFolder temp;
  const CubinCache cache(temp.path());
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {.rlim_cur = 1000, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string why = cache.store("key", std::string(5000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(why.find("cannot write"), std::string::npos) << why;
  EXPECT_TRUE(temp.names().empty()) << "nothing half-written remains";
  EXPECT_FALSE(cache.find("key"));
  EXPECT_EQ(CubinCache("").store("key", "x"),
            "no folder for a cache is known: set SOFTMPC_CACHE_DIR");
}

/// An empty file where a library could lie, its folders made.
std::string make_file(const test::TempFolder& temp, const std::string& name) {
  const std::filesystem::path file = temp.file(name);
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file).put('\n');
  return file.string();
}

TEST(NvrtcPlaces, AreThoseOfToolkitsAndPythonPackages) {
  const test::TempFolder temp;
  const Variable home("HOME", temp.file("home")), cuda_home("CUDA_HOME", temp.file("own")),
      path("CUDA_PATH", ""), environment("VIRTUAL_ENV", temp.file("venv")),
      conda("CONDA_PREFIX", temp.file("conda"));
  std::vector<std::string> wanted = {"libnvrtc.so.13"};  // the loader's own search comes first
  for (const char* name :
       {"own/lib64/libnvrtc.so.13", "usr/local/cuda/lib64/libnvrtc.so.13",
        "usr/local/cuda-13.1/lib64/libnvrtc.so.13", "usr/local/cuda-13.0/lib64/libnvrtc.so.13",
        "venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
        "conda/lib/libnvrtc.so.13",
        "usr/lib/python3/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.13",
        "home/.local/lib/python3.9/site-packages/nvidia/cu13/lib/libnvrtc.so.13"})
    wanted.push_back(make_file(temp, name));
  make_file(temp, "usr/local/cuda-12.4/lib64/libnvrtc.so.12");
  std::vector<std::string> found = nvrtc_places(13, temp.path());
  // beside the libraries of this process there may be a real one, too
  std::erase_if(found, [&](const std::string& file) {
    return file.find('/') != std::string::npos && !file.starts_with(temp.path());
  });
  EXPECT_EQ(found, wanted);
}

TEST(CubinCache, FingerprintsAreFnv1a) {
  EXPECT_EQ(fingerprint(""), "6c62272e07bb014262b821756295c58d");
  EXPECT_EQ(fingerprint("a"), "d228cb696f1a8caf78912b704e4a8964");
}

TEST(KernelBinary, ComesFromTheCacheTheSecondTime) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const test::TempFolder temp;
  const CubinCache cache(temp.path());
  const KernelBinary first = kernel_binary(other_kernel(), 80, kAnyDriver, cache);
  const KernelBinary second = kernel_binary(other_kernel(), 80, kAnyDriver, cache);
  EXPECT_EQ(first.origin, Origin::compiler);
  EXPECT_EQ(second.origin, Origin::cache);
  EXPECT_EQ(first.cubin, second.cubin);
  // another device's is another entry
  EXPECT_EQ(kernel_binary(other_kernel(), 90, kAnyDriver, cache).origin, Origin::compiler);
  EXPECT_EQ(temp.names().size(), 2u);
}

TEST(KernelBinary, DoesWithoutACacheThatCannotBeWritten) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  const test::TempFolder temp;
  write_file_atomically(temp.file("file"), std::string_view("no folder"));
  const CubinCache cache(temp.file("file") + "/below");
  EXPECT_EQ(kernel_binary(other_kernel(), 80, kAnyDriver, cache).origin, Origin::compiler);
  EXPECT_EQ(kernel_binary(other_kernel(), 80, kAnyDriver, cache).origin, Origin::compiler);
}

TEST(KernelBinary, NeedsNoCompilerForAFixedKernel) {
  if (precompiled_cubin(kernel_text(probe()), 80).empty())
    GTEST_SKIP() << "built without nvcc: no kernels are in the library";
  const Variable no_compiler("SOFTMPC_NVRTC", "/does/not/exist.so");
  const test::TempFolder temp;
  const CubinCache cache(temp.path());
  for (int capability : {80, 86, 89, 90})
    EXPECT_EQ(kernel_binary(probe(), capability, 12010, cache).origin, Origin::library);
  // what is made for 9.0 does not run on 10.0, and what is not fixed needs the compiler
  EXPECT_THROW(kernel_binary(probe(), 100, 12010, cache), Error);
  EXPECT_EQ(
      test::error_of<Error>([&] { kernel_binary(other_kernel(), 80, 12010, cache); }).substr(0, 54),
      "SOFTMPC_NVRTC: cannot load '/does/not/exist.so': /does");
}

TEST(KernelBinary, TakesNoCompilerThatIsNewerThanTheDriver) {
  const Variable no_place("CUDA_HOME", ""), no_path("CUDA_PATH", "");
  try {
    const Compiler compiler(12040);
    EXPECT_LT(compiler.version(), 13000);
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what())
                  .find("NVRTC, which compiles the others, is not found "
                        "(libnvrtc.so.12)"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace softmpc::cuda
