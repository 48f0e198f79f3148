// SPDX-License-Identifier: Apache-2.0
// Runs the built program as a user does, and catches what it says.
#include "program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "../core/memory_limit.h"

namespace softmpc::test {
namespace {

std::string program_path() {
  const char* path = std::getenv("SOFTMPC_PROGRAM");
  if (path == nullptr) throw std::runtime_error("SOFTMPC_PROGRAM must name the program: use ctest");
  return path;
}

void open_as(int descriptor, const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags, 0644);
  if (file < 0) ::_exit(126);
  ::dup2(file, descriptor);
}

}  // namespace

Folder::Folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "softmpc_XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) throw std::runtime_error(path + ": cannot write");
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Program::Program(const std::vector<std::string>& arguments, const ProgramOptions& options) {
  write_file(folder_.file("in"), options.input);
  write_file(folder_.file("out"), "");
  std::vector<std::string> words = {program_path()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const std::string in = folder_.file("in"), err = folder_.file("err");
  const std::string out = options.output.empty() ? folder_.file("out") : options.output;
  child_ = ::fork();
  if (child_ < 0) throw std::runtime_error("fork failed");
  if (child_ > 0) return;
  open_as(STDIN_FILENO, in, O_RDONLY);
  open_as(STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_APPEND);
  open_as(STDERR_FILENO, err, O_WRONLY | O_CREAT | O_TRUNC);
  if (options.most_file_bytes > 0) {
    const auto most = static_cast<rlim_t>(options.most_file_bytes);
    const rlimit limit{most, most};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (options.most_memory > 0) limit_address_space(static_cast<rlim_t>(options.most_memory));
  ::execv(pointers[0], pointers.data());
  ::_exit(127);
}

Program::~Program() {
  if (ended()) return;
  ::kill(child_, SIGKILL);
  wait();
}

bool Program::ended() {
  if (code_ >= 0) return true;
  int status = 0;
  if (::waitpid(child_, &status, WNOHANG) != child_) return false;
  code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

int Program::wait() {
  while (!ended()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return code_;
}

void Program::signal(int number) const { ::kill(child_, number); }

bool Program::wait_for(const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (out().find(text) == std::string::npos) {
    if (ended() || std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::string Program::out() const { return read_file(folder_.file("out")); }
std::string Program::err() const { return read_file(folder_.file("err")); }

Result run(const std::vector<std::string>& arguments, const ProgramOptions& options) {
  Program program(arguments, options);
  const int code = program.wait();
  return {code, program.out(), program.err()};
}

void expect_error(const Result& result, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(lines_of(result.err).size(), 1u) << result.err;
  EXPECT_TRUE(result.err.starts_with("softmpc: error: ")) << result.err;
  for (const std::string& part : parts) {
    EXPECT_NE(result.err.find(part), std::string::npos) << "no '" << part << "' in " << result.err;
  }
}

}  // namespace softmpc::test
