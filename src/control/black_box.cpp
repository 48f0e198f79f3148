// SPDX-License-Identifier: Apache-2.0
// Reads a recorded file. Nothing in it is believed before its checksum is right.
#include "softmpc/black_box.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "control/black_box_format.h"
#include "control/black_box_header.h"
#include "io/atomic_file.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using black_box::FileHead;
using black_box::kHeadBytes;
using black_box::Layout;
using black_box::RecordHead;

constexpr int kMostEntries = 1 << 20;

template <class T>
T read_at(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

bool possible(const RecordHead& r) {
  return r.number > 0 && r.status >= 0 && r.status < kPlanStatuses &&
         r.precision <= static_cast<int>(Precision::float16);
}

FileHead read_head(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeadBytes) throw Error("is cut short, or no black box");
  const auto head = read_at<FileHead>(bytes, 0);
  if (head.magic != black_box::kMagic) throw Error("is no black box");
  if (head.version != black_box::kVersion)
    throw Error("is of format " + std::to_string(head.version) + ", this softmpc reads " +
                std::to_string(black_box::kVersion));
  if (head.text_bytes > kHeadBytes - sizeof head || head.record_bytes == 0 ||
      head.record_bytes > bytes.size() ||
      head.slots > (bytes.size() - kHeadBytes) / head.record_bytes ||
      head.bundles > head.bundle.size())
    throw Error("is damaged in its head, or cut short");
  return head;
}

template <class T>
bool equal_bits(std::span<const T> a, std::span<const T> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

bool equal_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

}  // namespace

bool same_bits(const BlackBoxRecord& record, const Plan& p) {
  const Plan& r = record.plan;
  return equal_bits(r.action, p.action) && equal_bits(r.sequence, p.sequence) &&
         equal_bits(r.value, p.value) && equal_bits(r.effective_samples, p.effective_samples) &&
         equal_bits(r.valid_share, p.valid_share) && equal_bits(r.disagreement, p.disagreement) &&
         r.status == p.status && r.from_fallback == p.from_fallback && r.index == p.index &&
         r.rollouts_used == p.rollouts_used && r.iterations_done == p.iterations_done;
}

BlackBox::BlackBox(const std::string& path) : BlackBox(read_file(path), path) {}

BlackBox::BlackBox(std::string content, const std::string& name) : bytes_(std::move(content)) {
  const auto bytes = std::as_bytes(std::span(bytes_));
  try {
    const FileHead head = read_head(bytes);
    header_ = bytes_.substr(sizeof head, head.text_bytes);
    if (crc32c(header_) != head.text_checksum) throw Error("is damaged in its header");
    const BlackBoxOrigin origin = read_black_box_header(header_, options_);
    of_this_program_ = origin.same_program(BlackBoxOrigin::here());
    nx_ = origin.nx;
    nu_ = origin.nu;
    horizon_ = origin.horizon;
    state_bytes_ = origin.state_bytes;
    for (const int n : {nx_, nu_, horizon_})
      if (n < 1 || n > kMostEntries) throw Error("has sizes that cannot be");
    const Layout at(nx_, nu_, horizon_, state_bytes_);
    if (state_bytes_ > head.record_bytes || at.whole != head.record_bytes)
      throw Error("has records of another size than its header says");
    bundles_.assign(head.bundle.begin(), head.bundle.begin() + head.bundles);
    frozen_first_ = head.frozen_first;
    frozen_last_ = head.frozen_last;
    for (std::uint64_t k = 0; k < head.slots; ++k) {
      const std::size_t begin = kHeadBytes + k * at.whole;
      const auto record = bytes.subspan(begin, at.whole);
      const auto r = read_at<RecordHead>(record, 0);
      if (r.checksum == black_box::checksum(record, at) && possible(r))
        records_.push_back(begin);
      else
        damaged_ += std::ranges::any_of(record, [](std::byte b) { return b != std::byte{}; });
    }
  } catch (const Error& error) {
    throw Error(name + ": " + error.what());
  }
  std::ranges::sort(records_, {},
                    [bytes](std::size_t at) { return read_at<RecordHead>(bytes, at).number; });
}

BlackBoxRecord BlackBox::operator[](std::size_t i) const {
  const Layout at(nx_, nu_, horizon_, state_bytes_);
  const auto record = std::as_bytes(std::span(bytes_)).subspan(records_.at(i), at.whole);
  const auto floats = [&](std::size_t from, std::size_t count) {
    return std::span(reinterpret_cast<const float*>(record.data() + from), count);
  };
  const auto r = read_at<RecordHead>(record, 0);
  BlackBoxRecord out;
  out.number = r.number;
  out.begin = Nanoseconds(r.begin);
  out.timed = r.timed != 0;
  out.cut = r.cut != 0;
  out.state = record.subspan(at.state, state_bytes_);
  out.observation_size = r.observation_size;
  out.observation = floats(at.observation, std::min<std::uint64_t>(r.observation_size, nx_));
  out.state_time = Nanoseconds(r.state_time);
  out.now = Nanoseconds(r.now);
  out.deadline = Nanoseconds(r.deadline);
  out.precision = static_cast<Precision>(r.precision);
  Plan& p = out.plan;
  p.action = floats(at.action, nu_);
  p.sequence = floats(at.sequence, static_cast<std::size_t>(horizon_ + 1) * nu_);
  p.value = r.value;
  p.effective_samples = r.effective_samples;
  p.valid_share = r.valid_share;
  p.status = static_cast<PlanStatus>(r.status);
  p.from_fallback = r.from_fallback != 0;
  p.rollouts_used = r.rollouts_used;
  p.iterations_done = r.iterations_done;
  p.disagreement = r.disagreement;
  p.duration = Nanoseconds(r.duration);
  p.index = r.index;
  p.bundle_hash = r.bundle_hash;
  return out;
}

}  // namespace softmpc
