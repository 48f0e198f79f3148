// SPDX-License-Identifier: Apache-2.0
#include "run/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "io/atomic_file.h"
#include "io/crc32c.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

namespace fs = std::filesystem;
constexpr int kFormat = 1;

/// One kind of slot: its file and where its floats are.
struct SlotKind {
  const char* name;
  int floats;
  std::size_t bytes() const { return floats * sizeof(float) + sizeof(std::uint32_t); }
};

SlotKind records_of(const Replay& replay) { return {"records.bin", replay.record_floats()}; }
SlotKind plans_of(const Replay& replay) { return {"plans.bin", replay.plan_floats()}; }

/// The floats of a slot followed by a checksum over slot number and floats.
void append_slot(std::string& to, std::int64_t slot, std::span<const float> floats) {
  const auto bytes = std::as_bytes(floats);
  const std::uint32_t sum = crc32c(bytes, crc32c(std::as_bytes(std::span(&slot, 1))));
  to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  to.append(reinterpret_cast<const char*>(&sum), sizeof sum);
}

/// Checks the checksum of a stored slot and gives its floats.
std::vector<float> decode_slot(const char* from, std::int64_t slot, const SlotKind& kind,
                               const std::string& path) {
  std::vector<float> floats(kind.floats);
  std::memcpy(floats.data(), from, floats.size() * sizeof(float));
  std::uint32_t stored;
  std::memcpy(&stored, from + floats.size() * sizeof(float), sizeof stored);
  if (crc32c(std::as_bytes(std::span(floats)), crc32c(std::as_bytes(std::span(&slot, 1)))) !=
      stored)
    throw Error(path + ": slot " + std::to_string(slot) + " is damaged (checksum)");
  return floats;
}

/// A file written in place at offsets.
class SlotFile {
 public:
  explicit SlotFile(const std::string& path)
      : path_(path), file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (file_ < 0) fail("cannot be opened");
  }
  ~SlotFile() { ::close(file_); }
  SlotFile(const SlotFile&) = delete;
  SlotFile& operator=(const SlotFile&) = delete;

  void write(std::string_view bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("cannot be written");
      bytes.remove_prefix(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
  }
  void sync() {
    if (::fdatasync(file_) != 0) fail("cannot be synced");
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(path_ + ": " + what + ": " + std::strerror(errno));
  }
  std::string path_;
  int file_;
};

/// Journal: per kind the number of slots, then slot numbers, then stored slots.
void append_section(std::string& journal, std::vector<std::int64_t> slots, const Replay& replay,
                    std::span<const float> (Replay::*floats)(std::int64_t) const) {
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  const std::uint64_t count = slots.size();
  journal.append(reinterpret_cast<const char*>(&count), sizeof count);
  journal.append(reinterpret_cast<const char*>(slots.data()), count * sizeof(std::int64_t));
  for (std::int64_t slot : slots) append_slot(journal, slot, (replay.*floats)(slot));
}

/// Copies one section of a journal to its slot file; neighbouring slots in one write.
std::string_view apply_section(std::string_view journal, const std::string& folder,
                               const SlotKind& kind) {
  std::uint64_t count;
  std::memcpy(&count, journal.data(), sizeof count);
  journal.remove_prefix(sizeof count);
  std::vector<std::int64_t> slots(count);
  if (count > 0) std::memcpy(slots.data(), journal.data(), count * sizeof(std::int64_t));
  journal.remove_prefix(count * sizeof(std::int64_t));
  SlotFile file(folder + "/" + kind.name);
  for (std::size_t i = 0; i < count;) {
    std::size_t end = i + 1;
    while (end < count && slots[end] == slots[end - 1] + 1) ++end;
    file.write(journal.substr(i * kind.bytes(), (end - i) * kind.bytes()),
               static_cast<std::uint64_t>(slots[i]) * kind.bytes());
    i = end;
  }
  file.sync();
  journal.remove_prefix(count * kind.bytes());
  return journal;
}

/// Redo: writing the same slots twice changes nothing.
void apply(std::string_view journal, const std::string& folder, const Replay& replay) {
  apply_section(apply_section(journal, folder, records_of(replay)), folder, plans_of(replay));
}

template <class Restore>
void read_slots(const std::string& folder, const SlotKind& kind, std::int64_t size,
                const Restore& restore) {
  const std::string path = folder + "/" + kind.name;
  const std::string bytes = read_file(path);
  if (bytes.size() < static_cast<std::size_t>(size) * kind.bytes())
    throw Error(path + ": is truncated: " + std::to_string(bytes.size()) + " bytes, " +
                std::to_string(static_cast<std::size_t>(size) * kind.bytes()) + " are needed");
  for (std::int64_t slot = 0; slot < size; ++slot)
    restore(slot, decode_slot(bytes.data() + slot * kind.bytes(), slot, kind, path));
}

/// Deletes states and journals of earlier checkpoints; a failure leaves litter, no harm.
void remove_older(const std::string& folder, const std::string& state, const std::string& journal) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename();
    const bool ours = name.starts_with("state-") || name.starts_with("journal-");
    if (ours && name != state && name != journal) fs::remove(entry.path(), ignored);
  }
}

std::string read_checked(const std::string& path, std::uint32_t sum) {
  std::string bytes = read_file(path);
  if (crc32c(bytes) != sum) throw Error(path + ": is damaged (checksum)");
  return bytes;
}

}  // namespace

void CheckpointFolder::write(std::int64_t step, const TensorFile& state, Replay& replay) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) throw Error(path_ + ": cannot be created: " + error.message());
  remove_partial_files(path_);
  const std::string state_name = "state-" + std::to_string(step) + ".safetensors";
  const std::string journal_name = "journal-" + std::to_string(step) + ".bin";
  const std::string state_bytes = encode_safetensors(state);
  std::string journal;
  append_section(journal, replay.changed_records(), replay, &Replay::record);
  append_section(journal, replay.changed_plans(), replay, &Replay::plan);
  write_file_atomically(file(state_name), state_bytes);
  write_file_atomically(file(journal_name), journal);
  const nlohmann::ordered_json manifest = {
      {"format", kFormat},       {"step", step},
      {"state", state_name},     {"state_checksum", crc32c(state_bytes)},
      {"journal", journal_name}, {"journal_checksum", crc32c(journal)}};
  write_file_atomically(file("manifest.json"), manifest.dump(2) + "\n");
  apply(journal, path_, replay);
  replay.clear_changes();
  remove_older(path_, state_name, journal_name);
}

bool CheckpointFolder::read_state(TensorFile& state) {
  const std::string path = file("manifest.json");
  if (!fs::exists(path)) return false;
  try {
    const auto manifest = nlohmann::json::parse(read_file(path));
    if (manifest.at("format").get<int>() != kFormat)
      throw Error(path + ": format " + manifest.at("format").dump() +
                  " is not known; this version reads 1");
    const std::string state_path = file(manifest.at("state").get<std::string>());
    const std::string bytes = read_checked(state_path, manifest.at("state_checksum"));
    journal_ = read_checked(file(manifest.at("journal").get<std::string>()),
                            manifest.at("journal_checksum"));
    try {
      state = decode_safetensors(bytes);
    } catch (const Error& e) {
      throw Error(state_path + ": " + e.what());
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(path + ": is damaged: " + std::string(e.what()));
  }
  return true;
}

void CheckpointFolder::read_replay(Replay& replay) const {
  apply(journal_, path_, replay);
  read_slots(path_, records_of(replay), replay.size(),
             [&](std::int64_t slot, const auto& v) { replay.restore_record(slot, v); });
  read_slots(path_, plans_of(replay), replay.size(),
             [&](std::int64_t slot, const auto& v) { replay.restore_plan(slot, v); });
}

}  // namespace softmpc
