// SPDX-License-Identifier: Apache-2.0
// NVIDIA's wheels unpack to site-packages/nvidia/cu13 from CUDA 13 on, to nvidia/cuda_nvrtc before.
#include "runtime/nvrtc_places.h"

#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>

namespace softmpc::cuda {
namespace {

namespace fs = std::filesystem;

/// Collects those candidates that exist, each once.
class Places {
 public:
  explicit Places(int major) : major_(std::to_string(major)), name_("libnvrtc.so." + major_) {
    found_.push_back(name_);
  }

  void file_in(const fs::path& folder) {
    std::error_code ignored;
    const fs::path file = (folder / name_).lexically_normal();
    if (!fs::exists(file, ignored)) return;
    if (std::ranges::find(found_, file.string()) == found_.end()) found_.push_back(file.string());
  }
  void toolkit(const fs::path& folder) {
    for (const char* below : {"lib64", "lib"}) file_in(folder / below);
  }
  void python_packages(const fs::path& folder) {
    for (const std::string& below : {"cu" + major_, std::string("cuda_nvrtc")})
      file_in(folder / "nvidia" / below / "lib");
  }
  /// lib/python3.X/site-packages and dist-packages below `prefix`.
  void python_below(const fs::path& prefix) {
    for (const fs::path& python : sorted_entries(prefix / "lib", "python3"))
      for (const char* packages : {"site-packages", "dist-packages"})
        python_packages(python / packages);
  }
  /// Those of `folder` whose names begin so, the last first.
  static std::vector<fs::path> sorted_entries(const fs::path& folder, const std::string& begin) {
    std::vector<fs::path> entries;
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored))
      if (entry.path().filename().string().starts_with(begin)) entries.push_back(entry.path());
    std::ranges::sort(entries, std::greater<>());
    return entries;
  }
  std::vector<std::string> take() { return std::move(found_); }

 private:
  std::string major_, name_;
  std::vector<std::string> found_;
};

/// Folders of the libraries that this process has loaded, LibTorch's among them.
std::vector<fs::path> loaded_folders() {
  std::vector<fs::path> folders;
  dl_iterate_phdr(
      [](dl_phdr_info* library, std::size_t, void* out) {
        const fs::path folder = fs::path(library->dlpi_name).parent_path();
        auto& all = *static_cast<std::vector<fs::path>*>(out);
        if (!folder.empty() && std::ranges::find(all, folder) == all.end()) all.push_back(folder);
        return 0;
      },
      &folders);
  return folders;
}

fs::path variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::vector<std::string> nvrtc_places(int major, const std::string& root) {
  Places places(major);
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const fs::path folder = variable(name); !folder.empty()) places.toolkit(folder);
  if constexpr (sizeof SOFTMPC_CUDA_LIBRARY_DIR > 1) places.file_in(SOFTMPC_CUDA_LIBRARY_DIR);
  const fs::path local = root + "/usr/local";
  places.toolkit(local / "cuda");  // where NVIDIA's packages put it
  for (const fs::path& toolkit :
       Places::sorted_entries(local, "cuda-" + std::to_string(major) + "."))
    places.toolkit(toolkit);
  for (const fs::path& folder : loaded_folders()) {
    places.file_in(folder);
    places.python_packages(folder / ".." / "..");  // .../torch/lib beside .../nvidia
  }
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    const fs::path prefix = variable(name);
    if (prefix.empty()) continue;
    places.toolkit(prefix);
    places.python_below(prefix);
  }
  for (const fs::path& prefix : {local, fs::path(root + "/usr")}) places.python_below(prefix);
  if (const fs::path home = variable("HOME"); !home.empty()) places.python_below(home / ".local");
  return places.take();
}

}  // namespace softmpc::cuda
