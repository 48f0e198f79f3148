// SPDX-License-Identifier: Apache-2.0
// Tests for src/atomic_file.cpp.
#include "io/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "file_limit.h"
#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc {
namespace {

using test::error_of;
using test::FileLimit;
using test::TempFolder;
using Names = std::vector<std::string>;

TEST(AtomicFile, WritesAndReplaces) {
  const TempFolder folder;
  write_file_atomically(folder.file("a"), "first");
  EXPECT_EQ(read_file(folder.file("a")), "first");
  const std::string second("sec\0nd", 6);
  write_file_atomically(folder.file("a"), second);
  EXPECT_EQ(read_file(folder.file("a")), second);
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, ADiskThatFillsUpLeavesTheOldFileAndNothingElse) {
  const TempFolder folder;
  write_file_atomically(folder.file("old"), "old");
  const std::string large(100000, 'x');
  {
    const FileLimit limit(5000);
    EXPECT_EQ(error_of<Error>([&] { write_file_atomically(folder.file("old"), large); }),
              folder.file("old") + ": cannot write: File too large");
    EXPECT_EQ(error_of<Error>([&] { write_file_atomically(folder.file("new"), large); }),
              folder.file("new") + ": cannot write: File too large");
  }
  EXPECT_EQ(folder.names(), Names{"old"});
  EXPECT_EQ(read_file(folder.file("old")), "old");
}

TEST(AtomicFile, AMissingFolderIsNamed) {
  const TempFolder folder;
  EXPECT_EQ(error_of<Error>([&] { write_file_atomically(folder.file("no/a"), "x"); }),
            folder.file("no/a") + ": cannot create: No such file or directory");
}

TEST(AtomicFile, AFolderInTheWayStands) {
  const TempFolder folder;
  ::mkdir(folder.file("a").c_str(), 0777);
  const std::string text = error_of<Error>([&] { write_file_atomically(folder.file("a"), "x"); });
  EXPECT_EQ(text.rfind(folder.file("a") + ": cannot replace: ", 0), 0u) << text;
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, WritesInTheWorkingFolder) {
  const TempFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  EXPECT_NO_THROW(write_file_atomically("a", "x"));
  std::filesystem::current_path(before);
  EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, LeftoversOfKilledWritersAreDeleted) {
  const TempFolder folder;
  write_file_atomically(folder.file("a"), "x");
  write_file_atomically(folder.file("a.partial-123-0"), "x");
  remove_partial_files(folder.path());
  EXPECT_EQ(folder.names(), Names{"a"});
  EXPECT_NE(error_of<Error>([&] { remove_partial_files(folder.file("no")); }), "(no exception)");
}

TEST(ReadFile, NamesWhatCannotBeRead) {
  const TempFolder folder;
  EXPECT_EQ(error_of<Error>([&] { read_file(folder.file("no")); }),
            folder.file("no") + ": cannot open: No such file or directory");
  EXPECT_EQ(error_of<Error>([&] { read_file(folder.path()); }),
            folder.path() + ": is not a regular file");
  ::mkfifo(folder.file("pipe").c_str(), 0666);
  EXPECT_EQ(error_of<Error>([&] { read_file(folder.file("pipe")); }),
            folder.file("pipe") + ": is not a regular file");
}

TEST(AppendFile, AppendsCutsAndReopens) {
  const TempFolder folder;
  {
    AppendFile file(folder.file("a"));
    file.append("one\n");
    file.append("two\n");
    file.sync();
    file.truncate(4);
    file.append("three\n");
    EXPECT_EQ(file.size(), 10u);
  }
  AppendFile file(folder.file("a"));
  EXPECT_EQ(file.size(), 10u);
  file.append("four\n");
  EXPECT_EQ(read_file(folder.file("a")), "one\nthree\nfour\n");
}

TEST(AppendFile, RefusesToCutBeyondTheEnd) {
  const TempFolder folder;
  AppendFile file(folder.file("a"));
  file.append("one");
  EXPECT_EQ(error_of<Error>([&] { file.truncate(4); }),
            folder.file("a") + ": has 3 bytes, at least 4 are needed");
}

TEST(AppendFile, AFullDiskIsNamed) {
  AppendFile file("/dev/full");
  EXPECT_EQ(error_of<Error>([&] { file.append("x"); }),
            "/dev/full: cannot write: No space left on device");
}

TEST(AppendFile, ALineIsWholeOrAbsent) {
  const TempFolder folder;
  AppendFile file(folder.file("a"));
  file.append("whole\n");
  {
    const FileLimit limit(10);
    EXPECT_EQ(error_of<Error>([&] { file.append("a line that does not fit\n"); }),
              folder.file("a") + ": cannot write: File too large");
  }
  EXPECT_EQ(file.size(), 6u);
  file.append("next\n");
  EXPECT_EQ(read_file(folder.file("a")), "whole\nnext\n");
}

TEST(AppendFile, NamesWhatCannotBeOpened) {
  const TempFolder folder;
  EXPECT_EQ(error_of<Error>([&] { AppendFile(folder.file("no/a")); }),
            folder.file("no/a") + ": cannot open: No such file or directory");
}

}  // namespace
}  // namespace softmpc
