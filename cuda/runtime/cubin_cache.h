// SPDX-License-Identifier: Apache-2.0
// Compiled kernels on disk. An entry holds all that its cubin is a function of, and is used only if
// that is equal to the last byte; a cache that cannot be read or written is as good as none.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace softmpc::cuda {

/// 128 bits in 32 hexadecimal digits (FNV-1a).
std::string fingerprint(std::string_view text);

class CubinCache {
 public:
  /// In $SOFTMPC_CACHE_DIR, $XDG_CACHE_HOME/softmpc, systemd's $CACHE_DIRECTORY, or .cache/softmpc
  /// below $HOME or the user's home folder; without any of these, off.
  CubinCache();
  explicit CubinCache(std::string folder) : folder_(std::move(folder)) {}

  /// The cubin that was stored under `key`, unless the entry is damaged.
  std::optional<std::string> find(std::string_view key) const;
  /// Empty, or in one sentence why the cubin is not kept.
  std::string store(std::string_view key, std::string_view cubin) const;
  std::string path(std::string_view key) const;
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

}  // namespace softmpc::cuda
