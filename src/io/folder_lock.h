// SPDX-License-Identifier: Apache-2.0
// A folder that one process at a time may write into.
#pragma once

#include <string>

namespace softmpc {

/// Holds FOLDER/lock until destroyed. The system holds the lock, so that one whose process was
/// killed keeps nobody out; readers of the folder need none.
class FolderLock {
 public:
  /// Throws Error "FOLDER: is being WHAT by process N" where another holds it, without a change to
  /// the folder, which must exist.
  FolderLock(const std::string& folder, const std::string& what);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  static constexpr const char* kName = "lock";

 private:
  std::string path_;
  int file_ = -1;
};

}  // namespace softmpc
