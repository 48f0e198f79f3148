// SPDX-License-Identifier: Apache-2.0
// Runs the built program as a user does, and catches what it says.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace softmpc::test {

/// A folder of one test, deleted at its end.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);
std::vector<std::string> lines_of(const std::string& text);

struct ProgramOptions {
  std::string input{};       ///< standard input
  std::string output{};      ///< a file for standard output, else it is caught
  long most_file_bytes = 0;  ///< limit on the size of files; 0: none
  long most_memory = 0;      ///< bytes of address space, as by ulimit -v; 0: none
};

/// One run of the program.
class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments, const ProgramOptions& options = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Exit code, 128 + signal if one killed it.
  int wait();
  void signal(int number) const;
  pid_t id() const { return child_; }
  /// Waits until standard output holds `text`; false if the program ends or 30 s pass before.
  bool wait_for(const std::string& text);

  std::string out() const;
  std::string err() const;

 private:
  bool ended();

  Folder folder_;
  pid_t child_ = 0;
  int code_ = -1;
};

/// A finished run.
struct Result {
  int code = 0;
  std::string out, err;
};
Result run(const std::vector<std::string>& arguments, const ProgramOptions& options = {});

/// Expects the exit code, exactly one line of error in the program's form, and `parts` in it.
void expect_error(const Result& result, int code, const std::vector<std::string>& parts);

}  // namespace softmpc::test
