// SPDX-License-Identifier: Apache-2.0
// File writing with every call checked.
#include "io/atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "softmpc/error.h"

namespace softmpc {
namespace {

constexpr const char* kAside = ".partial-";

[[noreturn]] void fail(const std::string& path, const std::string& doing, int cause) {
  throw Error(path + ": " + doing + ": " + std::generic_category().message(cause));
}

/// Closes on the way out; a close that must be checked goes through release().
class Descriptor {
 public:
  explicit Descriptor(int file) : file_(file) {}
  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return file_; }
  int release() { return std::exchange(file_, -1); }

 private:
  int file_;
};

int open_file(const std::string& path, int flags) {
  int file;
  do {
    file = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (file < 0 && errno == EINTR);
  return file;
}

/// 0, or the errno of the write that failed.
int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return 0;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// Writes, syncs and closes `file`; 0 or errno.
int finish_file(int file, std::string_view text) {
  Descriptor guard(file);
  if (const int cause = write_all(file, text)) return cause;
  if (::fsync(file) != 0) return errno;
  return ::close(guard.release()) != 0 ? errno : 0;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void sync_folder(const std::string& folder) {
  const Descriptor file(open_file(folder, O_RDONLY | O_DIRECTORY));
  if (file.get() < 0) fail(folder, "cannot open the folder", errno);
  // Some network file systems cannot sync a folder and say EINVAL.
  if (::fsync(file.get()) != 0 && errno != EINVAL) fail(folder, "cannot sync the folder", errno);
}

void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  write_file_atomically(path, as_text(bytes));
}

void write_file_atomically(const std::string& path, std::string_view text) {
  static std::atomic<unsigned> counter{0};
  std::string aside;
  int file;
  do {
    aside = path + kAside + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    file = open_file(aside, O_WRONLY | O_CREAT | O_EXCL);
  } while (file < 0 && errno == EEXIST);  // left by a killed process of the same number
  if (file < 0) fail(path, "cannot create", errno);

  const int cause = finish_file(file, text);
  if (cause != 0) {
    ::unlink(aside.c_str());
    fail(path, "cannot write", cause);
  }
  if (std::rename(aside.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    ::unlink(aside.c_str());
    fail(path, "cannot replace", reason);
  }
  sync_folder(folder_of(path));
}

std::string read_file(const std::string& path) {
  const Descriptor file(open_file(path, O_RDONLY | O_NONBLOCK));  // a pipe must not block
  if (file.get() < 0) fail(path, "cannot open", errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail(path, "cannot read", errno);
  if (!S_ISREG(info.st_mode)) throw Error(path + ": is not a regular file");
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "cannot read", errno);
    if (count == 0) break;  // it was cut while we read
    done += static_cast<std::size_t>(count);
  }
  text.resize(done);
  return text;
}

void remove_partial_files(const std::string& folder) {
  DIR* const open = ::opendir(folder.c_str());
  if (open == nullptr) fail(folder, "cannot open the folder", errno);
  std::vector<std::string> left;
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    if (name.find(kAside) != std::string::npos) left.push_back(folder + "/" + name);
  }
  ::closedir(open);
  for (const std::string& path : left) {
    if (::unlink(path.c_str()) != 0) fail(path, "cannot delete", errno);
  }
}

AppendFile::AppendFile(const std::string& path)
    : path_(path), file_(open_file(path, O_WRONLY | O_CREAT | O_APPEND)) {
  if (file_ < 0) fail(path, "cannot open", errno);
  struct stat info {};
  if (::fstat(file_, &info) != 0) {
    const int cause = errno;
    ::close(file_);
    fail(path, "cannot read its size", cause);
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
}

AppendFile::~AppendFile() { ::close(file_); }

void AppendFile::append(std::string_view text) {
  if (const int cause = write_all(file_, text)) {
    // Takes back the part that was written, so that no torn line stands; where even that fails,
    // the first failure is what the user must hear of.
    if (::ftruncate(file_, static_cast<off_t>(size_)) != 0) errno = 0;
    fail(path_, "cannot write", cause);
  }
  size_ += text.size();
}

void AppendFile::sync() {
  if (::fsync(file_) != 0) fail(path_, "cannot sync", errno);
}

void AppendFile::truncate(std::uint64_t size) {
  if (size > size_) {
    throw Error(path_ + ": has " + std::to_string(size_) + " bytes, at least " +
                std::to_string(size) + " are needed");
  }
  if (::ftruncate(file_, static_cast<off_t>(size)) != 0) fail(path_, "cannot cut", errno);
  size_ = size;
}

}  // namespace softmpc
