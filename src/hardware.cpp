// SPDX-License-Identifier: Apache-2.0
// Reads the processor's name, its cores and its instruction set, and the limits of memory.
#include "hardware.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "softmpc/error.h"

namespace softmpc {
namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return CPU_COUNT(&set);
}

std::string widest_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
  return "baseline";
#elif defined(__aarch64__)
  return "neon";
#else
  return "baseline";
#endif
}

/// Pages of address space and of data that this process has.
struct PagesInUse {
  std::uint64_t address_space = 0, data = 0;
};

PagesInUse pages_in_use() {
  PagesInUse pages;
  std::uint64_t skipped;
  std::ifstream file("/proc/self/statm");
  file >> pages.address_space >> skipped >> skipped >> skipped >> skipped >> pages.data;
  return pages;
}

/// "12.6 GB"
std::string gigabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f GB", bytes < 100'000'000 ? 4 : 1,
                static_cast<double>(bytes) * 1e-9);
  return text;
}

}  // namespace

Hardware this_machine() { return {cpu_name(), usable_cores(), widest_instruction_set()}; }

MemoryLimit memory_limit() {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE));
  MemoryLimit limit = {static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * page,
                       "the machine has"};
  const auto lower = [&](std::uint64_t bytes, const char* by) {
    if (bytes < limit.bytes) limit = {bytes, by};
  };
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::uint64_t bytes;  // "max": none
    if (std::ifstream(path) >> bytes) lower(bytes, "its container gives");
  }
  const PagesInUse used = pages_in_use();
  const auto left = [&](auto resource, std::uint64_t pages, const char* by) {
    rlimit most{};
    if (::getrlimit(resource, &most) != 0 || most.rlim_cur == RLIM_INFINITY) return;
    lower(most.rlim_cur > pages * page ? most.rlim_cur - pages * page : 0, by);
  };
  left(RLIMIT_AS, used.address_space, "ulimit -v leaves");
  left(RLIMIT_DATA, used.data, "ulimit -d leaves");
  return limit;
}

void require_memory(std::uint64_t bytes, const std::string& what, const std::string& remedy,
                    const MemoryLimit& limit) {
  if (bytes <= limit.bytes) return;
  throw Error(what + " need " + gigabytes(bytes) + ", " + limit.set_by + ' ' +
              gigabytes(limit.bytes) + ": " + remedy);
}

}  // namespace softmpc
