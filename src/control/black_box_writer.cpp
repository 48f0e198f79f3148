// SPDX-License-Identifier: Apache-2.0
#include "control/black_box_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>
#include <type_traits>

#include "softmpc/error.h"

namespace softmpc {
namespace {

using black_box::FileHead;
using black_box::kHeadBytes;
using black_box::RecordHead;

constexpr int kMost = 1 << 16;  // MiB
constexpr int kKept = 1000;     // earlier files beside a new one
constexpr std::int64_t kSecond = 1'000'000'000, kBefore = 10 * kSecond, kAfter = 2 * kSecond;

[[noreturn]] void refuse(const std::string& path, const std::string& what, int error) {
  throw Error("black box " + path + ": " + what + ": " + std::generic_category().message(error));
}

/// Closes a file unless it was let go.
struct OpenFile {
  explicit OpenFile(int number) : file(number) {}
  ~OpenFile() {
    if (file >= 0) ::close(file);
  }
  int release() { return std::exchange(file, -1); }
  int file;
};

/// Or what one begins as, of a process that was killed at its start.
bool is_black_box(int file) {
  std::array<char, 8> magic{};
  return ::pread(file, magic.data(), magic.size(), 0) == static_cast<ssize_t>(magic.size()) &&
         (magic == black_box::kMagic || magic == std::array<char, 8>{});
}

void lock(int file, const std::string& path) {
  if (::flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw Error("black box " + path + ": another controller writes it");
}

/// A file that holds something is put aside.
void keep_earlier(const std::string& path) {
  const OpenFile earlier(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (earlier.file < 0) return;  // none, or the next open says why not
  lock(earlier.file, path);
  struct stat info {};
  if (::fstat(earlier.file, &info) != 0 || info.st_size == 0) return;
  if (!is_black_box(earlier.file))
    throw Error("black box " + path + ": is a file of another kind, and stays as it is");
  for (int k = 1; k <= kKept; ++k) {
    const std::string aside = path + "." + std::to_string(k);
    // link and unlink, as rename would replace what is there
    if (::link(path.c_str(), aside.c_str()) == 0) {
      ::unlink(path.c_str());
      return;
    }
    if (errno != EEXIST) refuse(path, "cannot be kept as " + aside, errno);
  }
  throw Error("black box " + path + ": there are " + std::to_string(kKept) +
              " earlier ones beside it, move them away");
}

}  // namespace

BlackBoxPlace::BlackBoxPlace(const std::string& option) : path(option) {
  const std::size_t colon = option.rfind(':');
  if (colon == std::string::npos) return;
  const char *from = option.data() + colon + 1, *end = option.data() + option.size();
  if (from == end || !std::all_of(from, end, [](char c) { return c >= '0' && c <= '9'; })) return;
  const auto read = std::from_chars(from, end, mebibytes);
  if (read.ec != std::errc() || mebibytes < 1 || mebibytes > kMost)
    throw UsageError("controller: black_box " + option + " has a size out of range 1.." +
                     std::to_string(kMost) + " MiB");
  path.resize(colon);
}

BlackBoxWriter::BlackBoxWriter(const BlackBoxPlace& place, int nx, LoopState recorded,
                               const std::string& text)
    : state_(std::move(recorded)),
      layout_(nx, static_cast<int>(state_.low.size()), state_.horizon(), state_.bytes()),
      nx_(nx) {
  static_assert(std::is_trivially_copyable_v<FileHead> && sizeof(FileHead) % 8 == 0);
  static_assert(sizeof(RecordHead) == 16 + 8 * 12 + 16, "padding would be written");
  const std::size_t bytes = static_cast<std::size_t>(place.mebibytes) << 20;
  FileHead head;
  head.text_bytes = text.size();
  head.text_checksum = crc32c(text);
  head.record_bytes = layout_.whole;
  head.slots = (bytes - kHeadBytes) / layout_.whole;
  if (head.slots < 4 || sizeof head + text.size() > kHeadBytes)
    throw Error("black box " + place.path + ": " + std::to_string(place.mebibytes) +
                " MiB hold fewer than 4 records of " + std::to_string(layout_.whole) + " bytes");
  map(place, kHeadBytes + head.slots * layout_.whole);
  std::memcpy(mapped_.data() + sizeof head, text.data(), text.size());
  // its name last: who is killed before has left no black box, and none that looks damaged
  head.magic = {};
  head_ = new (mapped_.data()) FileHead(head);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  head_->magic = black_box::kMagic;
}

BlackBoxWriter::~BlackBoxWriter() {
  if (!mapped_.empty()) ::munmap(mapped_.data(), mapped_.size());
  if (file_ >= 0) ::close(file_);
}

void BlackBoxWriter::map(const BlackBoxPlace& place, std::size_t bytes) {
  const std::string& path = place.path;
  keep_earlier(path);
  OpenFile made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (made.file < 0) refuse(path, "cannot be made", errno);
  lock(made.file, path);
  // all of it now: a disk that fills up later would kill the process at a write
  int error;
  do {
    error = ::posix_fallocate(made.file, 0, static_cast<off_t>(bytes));
  } while (error == EINTR);
  if (error != 0) {
    ::unlink(path.c_str());
    refuse(path, "cannot have its " + std::to_string(place.mebibytes) + " MiB", error);
  }
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.file, 0);
  if (at == MAP_FAILED) {
    error = errno;
    ::unlink(path.c_str());
    refuse(path, "cannot be mapped", error);
  }
  mapped_ = {static_cast<std::byte*>(at), bytes};
  file_ = made.release();
  // pages are there before the first plan
  for (std::size_t i = 0; i < bytes; i += 4096) *static_cast<volatile std::byte*>(&mapped_[i]) = {};
}

std::span<std::byte> BlackBoxWriter::slot(std::uint64_t k) const {
  return mapped_.subspan(kHeadBytes + k * layout_.whole, layout_.whole);
}

void BlackBoxWriter::begin(const LoopState& before, const PlanRequest& request, bool timed,
                           SolveBudget::Clock::time_point begin, Precision precision) noexcept {
  RecordHead& r = record_;
  ++r.number;
  r.begin = Nanoseconds(begin.time_since_epoch()).count();
  r.state_time = request.state_time.count();
  r.now = request.now.count();
  r.deadline = Nanoseconds(request.deadline.time_since_epoch()).count();
  r.observation_size = request.observation.size();
  r.timed = timed;
  r.precision = static_cast<std::uint8_t>(precision);
  const std::span<std::byte> to = slot(slot_);
  const RecordHead none;  // until all of it is there
  std::memcpy(to.data(), &none, sizeof none);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const auto given =
      request.observation.first(std::min<std::size_t>(request.observation.size(), nx_));
  const std::span<std::byte> observation = to.subspan(layout_.observation, nx_ * sizeof(float));
  const auto rest = std::ranges::copy(std::as_bytes(given), observation.begin()).out;
  std::fill(rest, observation.end(), std::byte{});
  state_.take(before);
  r.cut = !state_.log.covers(before.counts.time, before.log);
  state_.save(to.subspan(layout_.state, layout_.end - layout_.state));
}

void BlackBoxWriter::finish(const Plan& plan) noexcept {
  RecordHead& r = record_;
  r.status = static_cast<std::int32_t>(plan.status);
  r.duration = plan.duration.count();
  r.index = plan.index;
  r.bundle_hash = plan.bundle_hash;
  r.value = plan.value;
  r.effective_samples = plan.effective_samples;
  r.valid_share = plan.valid_share;
  r.disagreement = plan.disagreement;
  r.rollouts_used = plan.rollouts_used;
  r.iterations_done = plan.iterations_done;
  r.from_fallback = plan.from_fallback;
  const std::span<std::byte> to = slot(slot_);
  std::memcpy(to.data() + layout_.action, plan.action.data(), plan.action.size_bytes());
  std::memcpy(to.data() + layout_.sequence, plan.sequence.data(), plan.sequence.size_bytes());
  r.checksum = 0;
  std::memcpy(to.data(), &r, sizeof r);
  const std::uint32_t sum = black_box::checksum(to, layout_);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(to.data(), &sum, sizeof sum);
  freeze(plan.status);
  slot_ = next_slot();
}

/// The first trouble is kept: later ones, and the end, are in what goes on.
void BlackBoxWriter::freeze(PlanStatus status) {
  const bool frozen = frozen_slots_ > 0;
  if (!frozen && usable(status)) return;
  if (!frozen) {
    const std::uint64_t first =
        std::max(first_since(record_.begin - kBefore),
                 record_.number - std::min(record_.number - 1, head_->slots / 4));
    frozen_slot_ = (first - 1) % head_->slots;
    frozen_slots_ = record_.number - first + 1;
    frozen_until_ = record_.begin + kAfter;
    head_->frozen_first = first;
  } else if (record_.begin <= frozen_until_ && frozen_slots_ < head_->slots / 2 &&
             head_->frozen_last + 1 == record_.number) {
    ++frozen_slots_;
  } else {
    return;
  }
  head_->frozen_last = record_.number;
}

/// The first record that began at `time` or later, of those that are still there, while number k
/// lies in slot k - 1.
std::uint64_t BlackBoxWriter::first_since(std::int64_t time) const {
  std::uint64_t low = record_.number - std::min(record_.number - 1, head_->slots - 1);
  std::uint64_t high = record_.number;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    RecordHead r;
    std::memcpy(&r, slot((middle - 1) % head_->slots).data(), sizeof r);
    if (r.begin < time)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

std::uint64_t BlackBoxWriter::next_slot() const {
  const std::uint64_t slots = head_->slots, next = (slot_ + 1) % slots;
  const std::uint64_t off = (next + slots - frozen_slot_) % slots;
  return off < frozen_slots_ ? (frozen_slot_ + frozen_slots_) % slots : next;
}

void BlackBoxWriter::flies(std::uint64_t bundle_hash) noexcept {
  const auto begin = head_->bundle.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(head_->bundles);
  if (std::find(begin, end, bundle_hash) != end || end == head_->bundle.end()) return;
  *end = bundle_hash;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  ++head_->bundles;
}

}  // namespace softmpc
