// SPDX-License-Identifier: Apache-2.0
#include "io/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "softmpc/error.h"

namespace softmpc {
namespace {

/// The holder's number; it writes it just after it locks.
std::string holder(int file) {
  std::array<char, 32> text{};
  const ssize_t count = ::pread(file, text.data(), text.size() - 1, 0);
  std::string number;
  for (ssize_t i = 0; i < count && text[i] >= '0' && text[i] <= '9'; ++i) number += text[i];
  return number.empty() ? "another process" : "process " + number;
}

/// Whether `path` still names the open file: its last holder deletes it when done.
bool still_named(int file, const std::string& path) {
  struct stat open {
  }, named{};
  return ::fstat(file, &open) == 0 && ::stat(path.c_str(), &named) == 0 &&
         open.st_ino == named.st_ino && open.st_dev == named.st_dev;
}

int lock_whole(int file) {
  int result;
  do {
    result = ::flock(file, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  return result;
}

}  // namespace

FolderLock::FolderLock(const std::string& folder, const std::string& what)
    : path_(folder + "/" + kName) {
  for (;;) {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file_ < 0) {
      throw Error(path_ + ": cannot open: " + std::generic_category().message(errno));
    }
    if (lock_whole(file_) != 0 && errno == EWOULDBLOCK) {
      const std::string by = holder(file_);
      ::close(file_);
      throw Error(folder + ": is being " + what + " by " + by);
    }  // any other failure: a file system without locks, where the user must take care
    if (still_named(file_, path_)) break;
    ::close(file_);
  }
  const std::string number = std::to_string(::getpid()) + "\n";
  // the number is a courtesy: a full disk must not keep a run from going on
  if (::ftruncate(file_, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(file_, number.data(), number.size(), 0);
  }
}

FolderLock::~FolderLock() {
  ::unlink(path_.c_str());  // while it is held: whoever has it open looks again
  ::close(file_);
}

}  // namespace softmpc
