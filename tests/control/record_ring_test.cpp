// SPDX-License-Identifier: Apache-2.0
// Tests what the planner thread and others hand to each other: records that are read whole while
// the next are written, and the latest observation.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "control/mailbox.h"
#include "control/record_ring.h"

namespace softmpc {
namespace {

TEST(RecordRing, ThereIsNoneBeforeTheFirst) {
  RecordRing ring(3);
  int copies = 0;
  EXPECT_FALSE(ring.read([&](auto) { ++copies; }));
  EXPECT_EQ(copies, 0);
}

TEST(RecordRing, AStructIsReadAsItWasStored) {
  struct Pair {
    std::int64_t time;
    std::uint32_t a, b;
    bool operator==(const Pair&) const = default;
  };
  const Pair written = {-5, 6, 7};
  Pair read{};
  RecordRing ring(RecordRing::words_of<Pair>);
  for (int k = 0; k < 9; ++k) ring.publish([&](auto words) { RecordRing::store(words, written); });
  EXPECT_TRUE(ring.read([&](auto words) { read = RecordRing::load<Pair>(words); }));
  EXPECT_EQ(read, written);
}

// A writer that never pauses comes round while a reader copies: what counts as read is whole, and
// never older than what was read before.
TEST(RecordRing, ReadersSeeWholeRecordsInOrder) {
  constexpr std::uint32_t kRecords = 20'000;
  constexpr int kReaders = 3;
  RecordRing ring(50);
  std::atomic<int> ready{0}, torn{0}, backwards{0};
  const auto read = [&] {
    std::uint32_t last = 0;
    std::vector<std::uint32_t> words(50);
    ++ready;
    while (last < kRecords) {
      if (!ring.read([&](auto record) {
            for (std::size_t i = 0; i < words.size(); ++i) words[i] = record[i].load();
          }))
        continue;
      torn += std::ranges::count(words, words[0]) != 50;
      backwards += words[0] < last;
      last = words[0];
    }
  };
  std::vector<std::thread> readers;
  for (int k = 0; k < kReaders; ++k) readers.emplace_back(read);
  while (ready < kReaders) std::this_thread::yield();
  for (std::uint32_t n = 1; n <= kRecords; ++n)
    ring.publish([n](auto record) {
      for (auto& word : record) word.store(n, std::memory_order_release);
    });
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(backwards, 0);
}

TEST(RecordRing, AReaderThatIsDisturbedForeverGivesUp) {
  RecordRing ring(1);
  const auto publish = [&] { ring.publish([](auto) {}); };
  publish();
  int copies = 0;
  EXPECT_FALSE(ring.read([&](auto) {
    ++copies;
    for (int k = 0; k < 4; ++k) publish();
  }));
  EXPECT_EQ(copies, 64);
  EXPECT_TRUE(ring.read([&](auto) {
    for (int k = 0; k < 3; ++k) publish();  // elsewhere in the ring: no harm
  }));
}

TEST(Mailbox, TheLatestIsTakenOnce) {
  Mailbox box(2);
  EXPECT_FALSE(box.take());
  for (const float x : {1.0f, 2.0f, 3.0f})
    EXPECT_TRUE(box.put(std::vector{x, x}, Nanoseconds(static_cast<int>(x))));
  EXPECT_FALSE(box.put(std::vector{1.0f}, Nanoseconds(9)));
  EXPECT_TRUE(box.take());
  EXPECT_FALSE(box.take());
  EXPECT_EQ(box.latest().state, (std::vector{3.0f, 3.0f}));
  EXPECT_EQ(box.latest().measured.count(), 3);
}

TEST(Mailbox, WhatIsTakenIsWholeAndTheLastArrives) {
  constexpr int kLast = 20'000;
  Mailbox box(8);
  std::thread producer([&box] {
    for (int k = 1; k <= kLast; ++k) box.put(std::vector(8, static_cast<float>(k)), Nanoseconds(k));
  });
  std::int64_t last = 0;
  int torn = 0, backwards = 0;
  while (last < kLast) {
    if (!box.take()) continue;
    const Observed& o = box.latest();
    torn += std::ranges::count(o.state, static_cast<float>(o.measured.count())) != 8;
    backwards += o.measured.count() <= last;
    last = o.measured.count();
  }
  producer.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(backwards, 0);
}

}  // namespace
}  // namespace softmpc
