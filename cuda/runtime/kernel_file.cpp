// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel_file.h"

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/cubin_cache.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

constexpr const char* kFormat = "softmpc kernels 1";

/// Of a text: not only the fingerprint, which two texts may share.
std::string key_of(std::string_view text) {
  return fingerprint(text) + "/" + std::to_string(text.size());
}

/// Name of the cubin of a text that has this key.
std::string name_of(const std::string& key, int capability) {
  return std::to_string(capability) + "/" + key;
}

/// The files of this process.
struct Files {
  std::mutex mutex;
  std::vector<KernelFile> used;
  bool asked_environment = false;
};

Files& files() {
  static Files all;
  return all;
}

}  // namespace

bool runs_on(int made, int capability) {
  return made / 10 == capability / 10 && made <= capability;
}

KernelFile::KernelFile(const std::string& path) : file_(read_safetensors(path)) {
  const auto require = [&](bool holds, const char* what) {
    if (!holds) throw Error(path + ": " + what);
  };
  require(file_.metadata["format"] == kFormat,
          "is no file of kernels that this softmpc reads; softmpc kernels makes one");
  require(file_.metadata["checksum"] == content_checksum(file_),
          "is corrupt: its checksum differs");
  for (const auto& [name, tensor] : file_.tensors)
    require(tensor.type == TensorType::u8, "is corrupt: a kernel is not of bytes");
}

void KernelFile::write(const std::string& path) {
  file_.metadata["format"] = kFormat;
  file_.metadata["checksum"] = content_checksum(file_);
  write_safetensors(path, file_);
}

void KernelFile::add(std::string_view text, int capability, std::string_view cubin) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(cubin.data());
  file_.tensors[name_of(key_of(text), capability)] = Tensor::of<std::uint8_t>(
      {static_cast<std::int64_t>(cubin.size())}, std::span(bytes, cubin.size()));
}

std::string KernelFile::find(std::string_view text, int capability) const {
  const std::string key = key_of(text);  // once: a text has 100 KB
  for (int made = capability; runs_on(made, capability); --made) {
    const auto found = file_.tensors.find(name_of(key, made));
    if (found == file_.tensors.end()) continue;
    const std::vector<std::byte>& bytes = found->second.bytes;
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  return {};
}

std::string cubin_of_files(std::string_view text, int capability) {
  Files& all = files();
  const std::lock_guard lock(all.mutex);
  if (const char* named = std::getenv("SOFTMPC_KERNELS");
      !all.asked_environment && named != nullptr && *named != 0) {
    all.used.insert(all.used.begin(), KernelFile(named));
    all.asked_environment = true;
  }
  for (auto file = all.used.rbegin(); file != all.used.rend(); ++file)
    if (std::string cubin = file->find(text, capability); !cubin.empty()) return cubin;
  return {};
}

void use_kernels(const std::string& path) {
  KernelFile file(path);
  Files& all = files();
  const std::lock_guard lock(all.mutex);
  all.used.push_back(std::move(file));
}

}  // namespace softmpc::cuda
