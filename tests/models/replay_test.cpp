// SPDX-License-Identifier: Apache-2.0
// Tests for models/replay.cpp and models/checkpoint.cpp.
#include "replay.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "run/checkpoint.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

namespace fs = std::filesystem;

struct Folder {
  Folder()
      : path(fs::temp_directory_path() / ("softmpc_replay_test_" + std::to_string(::getpid()))) {
    fs::remove_all(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string checkpoint() const { return path / "checkpoint"; }
  fs::path path;
};

void add(Replay& replay, float value) {
  const std::vector<float> x = {value, value + 0.1f}, a = {value + 0.2f};
  const std::vector<float> next = {value + 0.3f, value + 0.4f}, plan = {value, -value, 2 * value};
  replay.add(x, a, next, value + 0.5f, static_cast<int>(value) % 3 == 0, plan);
}

TEST(Replay, KnowsTheRangeOfItsStates) {
  Replay replay(2, 1, 3, 3);
  std::vector<float> low = {9}, high = {9};
  replay.state_range(low, high);
  EXPECT_TRUE(low.empty() && high.empty());
  for (const float value : {5.0f, 8.0f, -1.0f, 4.0f}) add(replay, value);  // 5 is forgotten
  replay.state_range(low, high);
  EXPECT_EQ(low, (std::vector<float>{-1, -1 + 0.1f}));
  EXPECT_EQ(high, (std::vector<float>{8, 8 + 0.1f}));
}

TEST(Replay, KeepsTheNewestTransitions) {
  Replay replay(2, 1, 3, 5);
  for (int i = 0; i < 8; ++i) add(replay, static_cast<float>(i));
  EXPECT_EQ(replay.size(), 5);
  EXPECT_EQ(replay.added(), 8);
  std::set<float> first;
  for (int slot = 0; slot < 5; ++slot) first.insert(replay.record(slot)[0]);
  EXPECT_EQ(first, (std::set<float>{3, 4, 5, 6, 7}));
}

TEST(Replay, SamplesWholeTransitionsWithoutBias) {
  Replay replay(2, 1, 3, 100);
  for (int i = 0; i < 10; ++i) add(replay, static_cast<float>(i));
  std::vector<int> count(10);
  ReplayBatch batch;
  for (std::uint64_t draw = 0; draw < 1000; ++draw) {
    replay.draw(9, draw, 32, 0, batch);
    replay.gather(batch);
    for (int i = 0; i < 32; ++i) {
      const float v = batch.x[2 * i];
      ++count[static_cast<int>(v)];
      ASSERT_EQ(batch.slot[i], static_cast<std::int64_t>(v));
      ASSERT_FLOAT_EQ(batch.a[i], v + 0.2f);
      ASSERT_FLOAT_EQ(batch.next[2 * i + 1], v + 0.4f);
      ASSERT_FLOAT_EQ(batch.reward[i], v + 0.5f);
      ASSERT_EQ(batch.terminated[i], static_cast<int>(v) % 3 == 0 ? 1 : 0);
      ASSERT_FLOAT_EQ(batch.plan[3 * i + 2], 2 * v);
    }
  }
  // 3,200 expected each, standard deviation 54
  for (int n : count) EXPECT_NEAR(n, 3200, 5 * 54);
}

TEST(Replay, KnowsWhichDrawsWaitForTransitionsToCome) {
  Replay replay(2, 1, 3, 10);
  ReplayBatch early, late;
  int waiting = 0;
  for (int i = 0; i < 25; ++i) {
    const std::int64_t pending = 1 + i % 3;
    replay.draw(4, static_cast<std::uint64_t>(i), 2, pending, early);
    const std::set<std::int64_t> drawn(early.slot.begin(), early.slot.end());
    bool touched = false;
    for (std::int64_t k = 0; k < pending; ++k)
      touched |= drawn.count((replay.added() + k) % replay.capacity()) > 0;
    EXPECT_EQ(replay.draws_pending(early, pending), touched);
    waiting += touched;
    for (std::int64_t k = 0; k < pending; ++k) add(replay, static_cast<float>(i));
    replay.draw(4, static_cast<std::uint64_t>(i), 2, 0, late);
    EXPECT_EQ(early.slot, late.slot);
  }
  EXPECT_GT(waiting, 0);
  EXPECT_LT(waiting, 25);
}

TEST(Replay, ListsEachChangeOnce) {
  Replay replay(2, 1, 3, 100);
  for (int i = 0; i < 4; ++i) add(replay, static_cast<float>(i));
  replay.clear_changes();
  const std::vector<float> plan = {7, 8, 9};
  replay.set_plan(2, plan);
  replay.set_plan(2, plan);
  EXPECT_TRUE(replay.changed_records().empty());
  EXPECT_EQ(replay.changed_plans(), std::vector<std::int64_t>{2});
  EXPECT_EQ(replay.plan(2)[1], 8);
}

TEST(Replay, RefusesAnImpossibleCapacity) { EXPECT_THROW(Replay(2, 1, 3, 0), UsageError); }

/// Resident memory of this process, bytes.
double resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) * 1024;
  return -1;
}

TEST(Replay, AMillionHopperTransitionsFitInOneGibibyte) {
  const double before = resident();
  Replay hopper(12, 3, 15, 1000000);
  const std::vector<float> x(12, 1.0f), a(3, 2.0f), plan(15, 3.0f);
  for (int i = 0; i < 1000000; ++i) hopper.add(x, a, x, 1.0f, false, plan);
  const double used = resident() - before;
  RecordProperty("bytes_per_transition", static_cast<int>(used / 1e6));
  EXPECT_GT(used, 170e6) << "less than the transitions themselves take: not measured";
  EXPECT_LT(used, 300e6);
}

Replay restored(const std::string& path, std::int64_t capacity = 100) {
  Replay replay(2, 1, 3, capacity);
  CheckpointFolder folder(path);
  TensorFile state;
  EXPECT_TRUE(folder.read_state(state));
  replay.restore(std::stoll(state.metadata.at("added")));
  folder.read_replay(replay);
  return replay;
}

void write(const std::string& path, Replay& replay, std::int64_t step) {
  TensorFile state;
  state.metadata["added"] = std::to_string(replay.added());
  CheckpointFolder(path).write(step, state, replay);
}

void expect_equal(const Replay& a, const Replay& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::int64_t slot = 0; slot < a.size(); ++slot) {
    EXPECT_TRUE(std::ranges::equal(a.record(slot), b.record(slot)));
    EXPECT_TRUE(std::ranges::equal(a.plan(slot), b.plan(slot)));
  }
}

TEST(Checkpoint, RestoresTheReplayAfterEachWrite) {
  for (std::int64_t capacity : {std::int64_t{100}, std::int64_t{7}}) {  // 7: the ring wraps
    Folder folder;
    Replay replay(2, 1, 3, capacity);
    for (int step = 1; step <= 5; ++step) {
      for (int i = 0; i < 3; ++i) add(replay, static_cast<float>(10 * step + i));
      const std::vector<float> plan = {static_cast<float>(step), 1, 2};
      replay.set_plan(step % replay.size(), plan);
      write(folder.checkpoint(), replay, step);
      expect_equal(replay, restored(folder.checkpoint(), capacity));
    }
  }
}

TEST(Checkpoint, CostFollowsChangesNotAge) {
  Folder folder;
  Replay replay(2, 1, 3, 100000);
  for (int i = 0; i < 50000; ++i) add(replay, static_cast<float>(i));
  write(folder.checkpoint(), replay, 1);
  add(replay, 1);
  write(folder.checkpoint(), replay, 2);
  EXPECT_LT(fs::file_size(fs::path(folder.checkpoint()) / "journal-2.bin"), 200u);
}

TEST(Checkpoint, AKillBetweenCommitAndApplyIsMendedOnLoad) {
  Folder folder;
  Replay replay(2, 1, 3, 100);
  for (int i = 0; i < 4; ++i) add(replay, static_cast<float>(i));
  write(folder.checkpoint(), replay, 1);
  const fs::path plans = fs::path(folder.checkpoint()) / "plans.bin";
  const fs::path records = fs::path(folder.checkpoint()) / "records.bin";
  fs::copy_file(plans, folder.path / "plans_before");
  fs::copy_file(records, folder.path / "records_before");
  add(replay, 9);
  const std::vector<float> plan = {5, 5, 5};
  replay.set_plan(1, plan);
  write(folder.checkpoint(), replay, 2);
  // as if the process had died right after the manifest's rename, one file half applied
  fs::copy_file(folder.path / "plans_before", plans, fs::copy_options::overwrite_existing);
  fs::copy_file(folder.path / "records_before", records, fs::copy_options::overwrite_existing);
  std::ofstream(plans, std::ios::in | std::ios::binary).write("torn", 4);
  // slot 0 of plans was not in the journal: its damage must be found, not hidden
  EXPECT_THROW(restored(folder.checkpoint()), Error);
  fs::copy_file(folder.path / "plans_before", plans, fs::copy_options::overwrite_existing);
  expect_equal(replay, restored(folder.checkpoint()));
}

TEST(Checkpoint, AKillBeforeTheCommitLeavesTheOneBefore) {
  Folder folder;
  Replay replay(2, 1, 3, 100);
  for (int i = 0; i < 4; ++i) add(replay, static_cast<float>(i));
  write(folder.checkpoint(), replay, 1);
  std::ofstream(fs::path(folder.checkpoint()) / "state-2.safetensors") << "half a sta";
  std::ofstream(fs::path(folder.checkpoint()) / "journal-2.bin") << "half";
  expect_equal(replay, restored(folder.checkpoint()));
}

TEST(Checkpoint, DamageIsNamed) {
  for (const char* name :
       {"manifest.json", "state-1.safetensors", "journal-1.bin", "plans.bin", "records.bin"})
    for (bool truncate : {false, true}) {
      Folder folder;
      Replay replay(2, 1, 3, 100);
      for (int i = 0; i < 4; ++i) add(replay, static_cast<float>(i));
      write(folder.checkpoint(), replay, 1);
      const fs::path path = fs::path(folder.checkpoint()) / name;
      if (std::string(name).ends_with("s.bin")) {
        // slots that the journal does not mend
        add(replay, 4);
        write(folder.checkpoint(), replay, 2);
      }
      const auto size = fs::file_size(path);
      if (truncate) {
        fs::resize_file(path, size / 4);
      } else {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(size / 5));
        file.put('\x7f');
      }
      try {
        restored(folder.checkpoint());
        FAIL() << name << " damaged and not found";
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      }
    }
}

TEST(Checkpoint, NoneIsNotAnError) {
  Folder folder;
  TensorFile state;
  EXPECT_FALSE(CheckpointFolder(folder.checkpoint()).read_state(state));
}

}  // namespace
}  // namespace softmpc
