// SPDX-License-Identifier: Apache-2.0
// An entry: magic, sizes, checksum of the cubin, key, cubin.
#include "runtime/cubin_cache.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "io/atomic_file.h"
#include "io/crc32c.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

struct Head {
  char magic[8] = {'s', 'm', 'c', 'u', 'b', 'i', 'n', '1'};
  std::uint64_t key_size = 0, cubin_size = 0;
  std::uint64_t checksum = 0;
};

/// From the list of users; empty if it has none.
std::string home_of_user() {
  passwd user = {}, *found = nullptr;
  char text[4096];
  if (::getpwuid_r(::getuid(), &user, text, sizeof text, &found) != 0 || found == nullptr)
    return "";
  return user.pw_dir == nullptr ? "" : user.pw_dir;
}

std::string default_folder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string folder = variable("SOFTMPC_CACHE_DIR"); !folder.empty()) return folder;
  if (const std::string base = variable("XDG_CACHE_HOME"); !base.empty()) return base + "/softmpc";
  // a service's, which often has no HOME; several are parted by colons
  if (const std::string service = variable("CACHE_DIRECTORY"); !service.empty())
    return service.substr(0, service.find(':'));
  const std::string home = variable("HOME");
  const std::string folder = home.empty() ? home_of_user() : home;
  return folder.empty() ? "" : folder + "/.cache/softmpc";
}

}  // namespace

std::string fingerprint(std::string_view text) {
  using Wide = unsigned __int128;
  constexpr Wide prime = (Wide{1} << 88) + 0x13b;
  Wide hash = (Wide{0x6c62272e07bb0142} << 64) + 0x62b821756295c58d;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * prime;
  std::string digits(32, '0');
  for (int i = 31; i >= 0; --i, hash >>= 4)
    digits[static_cast<std::size_t>(i)] = "0123456789abcdef"[hash & 15];
  return digits;
}

CubinCache::CubinCache() : folder_(default_folder()) {}

std::string CubinCache::path(std::string_view key) const {
  return folder_ + "/" + fingerprint(key) + ".cubin";
}

std::optional<std::string> CubinCache::find(std::string_view key) const {
  std::error_code ignored;
  if (folder_.empty() || !std::filesystem::is_regular_file(path(key), ignored)) return std::nullopt;
  std::string entry;
  try {
    entry = read_file(path(key));
  } catch (const Error&) {
    return std::nullopt;
  }
  Head head;
  const Head expected;
  if (entry.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, entry.data(), sizeof head);
  const std::string_view body = std::string_view(entry).substr(sizeof head);
  if (std::memcmp(head.magic, expected.magic, sizeof head.magic) != 0 ||
      head.key_size != key.size() || body.size() < head.key_size ||
      body.size() - head.key_size != head.cubin_size || body.substr(0, key.size()) != key) {
    return std::nullopt;
  }
  const std::string_view cubin = body.substr(key.size());
  if (crc32c(cubin) != head.checksum) return std::nullopt;
  return std::string(cubin);
}

std::string CubinCache::store(std::string_view key, std::string_view cubin) const {
  if (folder_.empty()) return "no folder for a cache is known: set SOFTMPC_CACHE_DIR";
  Head head;
  head.key_size = key.size();
  head.cubin_size = cubin.size();
  head.checksum = crc32c(cubin);
  std::string entry(reinterpret_cast<const char*>(&head), sizeof head);
  entry.append(key).append(cubin);
  std::error_code ignored;
  std::filesystem::create_directories(folder_, ignored);
  try {
    write_file_atomically(path(key), std::string_view(entry));
  } catch (const Error& error) {  // the kernel is here all the same
    return error.what();
  }
  return {};
}

}  // namespace softmpc::cuda
