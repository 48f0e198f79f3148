// SPDX-License-Identifier: Apache-2.0
// Records that one thread publishes and any others read, without waiting for each other.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace softmpc {

/// A record is words that are written while they may be read; a reader finds out by the record's
/// number, before and after its copy (a sequence lock). Several slots, so that a copy is disturbed
/// only by the writer's coming round. Words are released and acquired, not relaxed between fences:
/// the same instructions on x86, and the thread sanitizer knows no fences.
class RecordRing {
 public:
  using Word = std::atomic<std::uint32_t>;

  explicit RecordRing(std::size_t words) : size_(words), words_(kSlots * words) {}

  /// Calls write(std::span<Word>), which fills the record. One thread.
  template <class Write>
  void publish(const Write& write) {
    const std::uint64_t number = newest_.load(std::memory_order_relaxed) + 1;
    const std::size_t slot = number % kSlots;
    numbers_[slot].store(kInWriting, std::memory_order_relaxed);
    write(std::span(words_).subspan(slot * size_, size_));
    numbers_[slot].store(number, std::memory_order_release);
    newest_.store(number, std::memory_order_release);
  }

  /// Calls copy(std::span<const Word>) with the newest record, again where that was disturbed: what
  /// it reads may be of two records then, and is to be forgotten. False before the first record,
  /// and after 64 disturbed tries. Any threads.
  template <class Copy>
  bool read(const Copy& copy) const {
    for (int k = 0; k < kTries; ++k) {
      const std::uint64_t number = newest_.load(std::memory_order_acquire);
      if (number == kNone) return false;
      const std::size_t slot = number % kSlots;
      if (numbers_[slot].load(std::memory_order_acquire) != number) continue;
      copy(std::span(words_).subspan(slot * size_, size_));
      if (numbers_[slot].load(std::memory_order_relaxed) == number) return true;
    }
    return false;
  }

  static void store(Word& to, float value) {
    to.store(std::bit_cast<std::uint32_t>(value), std::memory_order_release);
  }
  static float load(const Word& from) {
    return std::bit_cast<float>(from.load(std::memory_order_acquire));
  }

  /// Words of a struct without holes.
  template <class T>
  static constexpr std::size_t words_of = sizeof(T) / sizeof(std::uint32_t);
  template <class T>
  static void store(std::span<Word> to, const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);
    const auto words = std::bit_cast<std::array<std::uint32_t, words_of<T>>>(value);
    for (std::size_t i = 0; i < words.size(); ++i) to[i].store(words[i], std::memory_order_release);
  }
  template <class T>
  static T load(std::span<const Word> from) {
    std::array<std::uint32_t, words_of<T>> words;
    for (std::size_t i = 0; i < words.size(); ++i)
      words[i] = from[i].load(std::memory_order_acquire);
    return std::bit_cast<T>(words);
  }

 private:
  static constexpr std::size_t kSlots = 4;
  static constexpr int kTries = 64;
  static constexpr std::uint64_t kNone = 0, kInWriting = 0;  // records count from 1

  std::size_t size_;
  std::vector<Word> words_;  // [kSlots, size]
  std::array<std::atomic<std::uint64_t>, kSlots> numbers_{};
  std::atomic<std::uint64_t> newest_{kNone};
};

}  // namespace softmpc
