// SPDX-License-Identifier: Apache-2.0
// Tests cuda/kernel_binary.cpp and cubin_cache.cpp: where a kernel's cubin comes from.
#include "runtime/kernel_binary.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "compiling.h"
#include "io/atomic_file.h"
#include "runtime/fixed_kernels.h"
#include "temp_folder.h"

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

/// An environment variable, for a while.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() {
    if (old_.empty())
      unsetenv(name_);
    else
      setenv(name_, old_.c_str(), 1);
  }

 private:
  const char* name_;
  std::string old_;
};

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
