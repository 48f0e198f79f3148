// SPDX-License-Identifier: Apache-2.0
// Files that are whole or absent, and files that only grow. Every failure is an Error that names
// the path and the cause.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace softmpc {

/// Replaces `path` by `bytes`: written aside in the same folder, synced, renamed, folder synced.
/// On an error the old file stands and nothing half-written remains.
void write_file_atomically(const std::string& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::string& path, std::string_view text);

/// The whole content of a regular file.
std::string read_file(const std::string& path);

/// Makes the entries of a folder durable.
void sync_folder(const std::string& folder);

/// Deletes what writers that were killed left aside in `folder` (not below it). Only for a folder
/// with no other writer.
void remove_partial_files(const std::string& folder);

/// A file opened for appending, created if absent. Appending is whole or not at all.
class AppendFile {
 public:
  explicit AppendFile(const std::string& path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  /// Hands `text` to the system; it survives this process, but not a power cut before sync().
  void append(std::string_view text);
  void sync();
  /// Cuts the file to its first `size` bytes; an Error if it has fewer.
  void truncate(std::uint64_t size);

 private:
  std::string path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace softmpc
