// SPDX-License-Identifier: Apache-2.0
// Tests the black box: every recorded plan is made again to the bit, whatever decided it; what a
// killed process leaves can be read; damage is found; a file that cannot be had stops nobody.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "control/black_box_writer.h"
#include "control/controllers.h"
#include "core/file_limit.h"
#include "core/temp_folder.h"
#include "io/crc32c.h"
#include "planner_inputs.h"
#include "softmpc/black_box.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using namespace testing;

#ifdef NDEBUG
constexpr int kTicks = 20'000;
#else
constexpr int kTicks = 2'000;
#endif

struct Recorded : SmallController {
  test::TempFolder folder;
  const std::string path = folder.file("flight.blackbox");
  Bundle other = bundle;

  Recorded() {
    for (Bundle* b : {&bundle, &other}) b->planner.precision = Precision::float32;
    bundle.planner.rollouts = 150;
    bundle.planner.iterations = 2;
    bundle.state_low.assign(4, -1.0f);
    bundle.state_high.assign(4, 1.0f);
    other.planner.rollouts = 120;
    other.critics = random_weights(random, 1, NetSpec::mlp({6, 24, 1}));
  }
  std::string bytes() const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& content) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }
  /// kTicks plans and one: of both forms, with every kind of trouble, with swaps and resets
  /// between.
  void fly(Controller& controller, Prepared& prepared, Random& draw) const {
    const auto whole = controller.plan(PlanRequest{.observation = observation(1)}).duration;
    Nanoseconds now = kStart;
    for (int tick = 0; tick < kTicks; ++tick) {
      now += Nanoseconds(draw.whole(0, 250'000'000));
      std::vector<float> x = observation(tick);
      const int kind = draw.whole(0, 39);
      if (kind == 0) x[1] = std::nanf("");
      if (kind == 1) x.resize(draw.whole(0, 6));
      if (kind == 2) x[3] = 30;
      if (kind == 3) controller.swap(prepared);
      if (kind == 4) controller.reset();
      if (kind == 5) {
        x.resize(4, 0.5f);
        controller.plan(x);
        continue;
      }
      PlanRequest request = {.observation = x, .state_time = now, .now = now};
      if (kind == 6) request.state_time = {};
      if (kind == 9) {
        const std::vector<float> low = {-1, static_cast<float>(draw.real(-1, 0))}, high = {1, 1.5f};
        EXPECT_TRUE(controller.set_bounds(low, high));
      }
      if (kind == 7) request.now = now + milliseconds(draw.whole(0, 600));
      if (kind == 8) request.state_time = now - milliseconds(draw.whole(0, 2000));
      if (kind >= 25)
        request.deadline = SolveBudget::Clock::now() +
                           Nanoseconds(draw.whole(0, static_cast<int>(2 * whole.count())));
      controller.plan(request);
    }
  }
  /// Replays all records; the number of statuses that were seen.
  std::size_t replay_all(const BlackBox& box) const {
    ControllerOptions options = box.options();
    options.precision = Precision::float32;
    Controller first(bundle, &nets.reward, options), second(other, &nets.reward, options);
    std::vector<std::size_t> seen(kPlanStatuses);
    for (std::size_t i = 0; i < box.size(); ++i) {
      const BlackBoxRecord r = box[i];
      Controller& c = r.plan.bundle_hash == bundle_hash(bundle) ? first : second;
      const Plan& again = c.replay(r);
      ++seen[static_cast<std::size_t>(r.plan.status)];
      EXPECT_TRUE(same_bits(r, again))
          << "record " << r.number << ", " << to_string(r.plan.status) << " and "
          << to_string(again.status) << ", value " << r.plan.value << " and " << again.value;
      if (HasFailure()) break;
    }
    return static_cast<std::size_t>(std::ranges::count_if(seen, [](auto n) { return n > 0; }));
  }
};

TEST_F(Recorded, EveryPlanIsMadeAgainToTheBit) {
  for (const int threads : {1, 2}) {
    ControllerOptions options = {.threads = threads,
                                 .max_rate = {20, 20},
                                 .max_state_age = milliseconds(300),
                                 .command_delay = milliseconds(threads == 1 ? 0 : 150)};
    options.want_predicted = true;
    options.fallback = threads == 1 ? Fallback::callback : Fallback::shifted_plan;
    Random draw(31 + threads);
    options.on_fallback = [&draw](PlanStatus, std::span<const float>, std::span<float> action) {
      if (draw.whole(0, 9) == 0) throw std::runtime_error("a user's fallback");
      for (float& a : action) a = static_cast<float>(draw.real(-3, 3));
    };
    options.validate = [&draw](std::span<const float>, const Plan&) {
      const int word = draw.whole(0, 19);
      return word > 1 ? Verdict::send : word ? Verdict::reject : Verdict::reject_and_restart;
    };
    const std::string name = path + std::to_string(threads);
    options.black_box = name + ":64";
    {
      Controller controller = make(options);
      ASSERT_EQ(controller.notes(), "");
      Prepared prepared(controller, other);
      fly(controller, prepared, draw);
    }
    const BlackBox box(name);
    EXPECT_EQ(box.size(), static_cast<std::size_t>(kTicks) + 1);
    EXPECT_EQ(box.damaged(), 0u);
    EXPECT_EQ(box.bundles(), (std::vector{bundle_hash(bundle), bundle_hash(other)}));
    EXPECT_TRUE(box.of_this_program());
    EXPECT_GE(replay_all(box), 7u);  // ok, bad, deadline, no time, rejected, stale, unlikely
  }
}

TEST_F(Recorded, AModelThatThrewIsTakenFromTheRecord) {
  MoodyModel moody(nets.dynamics);
  {
    Controller controller = make({.dynamics = &moody, .black_box = path + ":1"});
    for (int tick = 0; tick < 10; ++tick) {
      moody.throws = tick % 3 == 2;
      controller.plan(PlanRequest{.observation = observation(tick)});
    }
  }
  const BlackBox box(path);
  ControllerOptions options = box.options();
  options.dynamics = &nets.dynamics;
  Controller again = make(options);
  ASSERT_EQ(box.size(), 10u);
  for (std::size_t i = 0; i < box.size(); ++i) {
    EXPECT_EQ(box[i].plan.status == PlanStatus::user_error, i % 3 == 2);
    EXPECT_TRUE(same_bits(box[i], again.replay(box[i]))) << i;
  }
}

TEST_F(Recorded, AKilledProcessLosesNoFinishedRecord) {
  Random draw(5);
  int read = 0;
  for (int run = 0; run < 100; ++run) {
    const std::string name = path + std::to_string(run);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Controller controller = make({.black_box = name + ":1"});
      for (int tick = 0;; ++tick) controller.plan(PlanRequest{.observation = observation(tick)});
    }
    while (!std::filesystem::exists(name)) ::usleep(100);
    ::usleep(static_cast<useconds_t>(2000 + draw.whole(0, 8000)));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    try {
      const BlackBox box(name);
      EXPECT_LE(box.damaged(), 1u) << "run " << run;
      // the latest, without a hole
      for (std::size_t i = 1; i < box.size(); ++i)
        ASSERT_EQ(box[i].number, box[i - 1].number + 1) << "run " << run;
      ++read;
    } catch (const Error& error) {  // killed before it had a head
      EXPECT_NE(std::string(error.what()).find("no black box"), std::string::npos) << error.what();
    }
    std::filesystem::remove(name);
  }
  EXPECT_GT(read, 50);
}

TEST_F(Recorded, OneBitThatChangedIsFound) {
  {
    Controller controller = make({.black_box = path + ":1"});
    for (int tick = 0; tick < 3; ++tick)
      controller.plan(PlanRequest{.observation = observation(tick)});
  }
  const std::string whole = bytes();
  const std::size_t bytes_of_record = [&] {
    std::uint64_t n;
    std::memcpy(&n, whole.data() + 24, sizeof n);
    return n;
  }();
  ASSERT_EQ(BlackBox(path).size(), 3u);
  Random draw(6);
  for (int run = 0; run < 100; ++run) {
    std::string damaged = whole;
    const BlackBox sound(path);
    const auto at = static_cast<std::size_t>(draw.whole(0, static_cast<int>(bytes_of_record) - 65));
    damaged[black_box::kHeadBytes + bytes_of_record + at] ^=
        static_cast<char>(1 << draw.whole(0, 7));
    write(damaged);
    const BlackBox box(path);
    EXPECT_EQ(box.size(), 2u) << "byte " << at;
    EXPECT_EQ(box.damaged(), 1u);
    EXPECT_EQ(box[1].number, 3u);
    write(whole);
  }
}

// A checksum that is right says nothing of the rest.
TEST_F(Recorded, AForgedRecordDoesNoHarm) {
  {
    Controller controller = make({.black_box = path + ":1"});
    for (int tick = 0; tick < 3; ++tick)
      controller.plan(PlanRequest{.observation = observation(tick)});
  }
  const std::string whole = bytes();
  black_box::FileHead head;
  std::memcpy(&head, whole.data(), sizeof head);
  Controller controller = make(BlackBox(path).options());
  const black_box::Layout at(4, 2, bundle.planner.horizon, controller.state_size());  // no delay
  ASSERT_EQ(at.whole, head.record_bytes);
  Random draw(7);
  int replayed = 0;
  for (int run = 0; run < 400; ++run) {
    std::string forged = whole;
    char* record = forged.data() + black_box::kHeadBytes;
    for (int k = draw.whole(1, 4); k > 0; --k)
      record[4 + draw.whole(0, static_cast<int>(at.end) - 5)] =
          static_cast<char>(draw.whole(0, 255));
    const auto sum = black_box::checksum(std::as_bytes(std::span(record, at.whole)), at);
    std::memcpy(record, &sum, sizeof sum);
    write(forged);
    const BlackBox box(path);
    for (std::size_t i = 0; i < box.size(); ++i) {
      try {
        EXPECT_TRUE(in_bounds(controller.replay(box[i]).action) || !box[i].timed);
        ++replayed;
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(replayed, 800);
}

TEST_F(Recorded, AFileThatCannotBeHadStopsNobody) {
  const auto refused = [&](const std::string& where, const std::string& word) {
    Controller controller = make({.black_box = where});
    EXPECT_TRUE(usable(controller.plan(PlanRequest{.observation = observation(1)}).status));
    const std::string& notes = controller.notes();
    EXPECT_NE(notes.find(word), std::string::npos) << notes;
    EXPECT_NE(notes.find(where.substr(0, where.find(':'))), std::string::npos) << notes;
    EXPECT_EQ(std::ranges::count(notes, '\n'), 1);
  };
  refused(folder.file("absent/flight"), "cannot be made");
  refused(folder.path(), "cannot be made");
  write("something of the user's\n");
  refused(path, "another kind");
  EXPECT_EQ(bytes(), "something of the user's\n");
  {
    const test::FileLimit disk(1 << 20);
    refused(folder.file("full:8"), "cannot have its 8 MiB");
  }
  EXPECT_FALSE(std::filesystem::exists(folder.file("full")));
  const std::string shared = folder.file("shared");
  Controller holder = make({.black_box = shared + ":1"});
  refused(shared + ":1", "another controller writes it");
  holder.plan(observation(0));
  EXPECT_EQ(BlackBox(shared).size(), 1u);
  EXPECT_THROW(make({.black_box = path + ":0"}), UsageError);
  EXPECT_THROW(make({.black_box = path + ":99999999999"}), UsageError);
}

TEST_F(Recorded, AnEarlierFlightIsKept) {
  for (int flight = 0; flight < 3; ++flight) {
    Controller controller = make({.seed = 10u + flight, .black_box = path + ":1"});
    for (int tick = 0; tick <= flight; ++tick) controller.plan(observation(tick));
  }
  EXPECT_EQ(BlackBox(path + ".1").size(), 1u);
  EXPECT_EQ(BlackBox(path + ".2").size(), 2u);
  EXPECT_EQ(BlackBox(path).size(), 3u);
  EXPECT_EQ(BlackBox(path).options().seed, 12u);
  Controller controller = make(BlackBox(path).options());
  EXPECT_THROW(controller.replay(BlackBoxRecord{}), Error);
  // of a process that was killed at its start
  write(std::string(1 << 20, '\0'));
  EXPECT_EQ(make({.black_box = path + ":1"}).notes(), "");
  EXPECT_TRUE(std::filesystem::exists(path + ".3"));
}

TEST_F(Recorded, WhatIsNoBlackBoxIsRefusedInALine) {
  const auto refused = [&](const std::string& word) {
    try {
      BlackBox box(path);
      ADD_FAILURE() << word << " was taken";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_TRUE(std::string(error.what()).starts_with(path)) << error.what();
    }
  };
  refused("No such file");
  write("short");
  refused("no black box");
  { Controller controller = make({.black_box = folder.file("sound:1")}); }
  std::ifstream in(folder.file("sound"), std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  write(whole.substr(0, whole.size() / 2));
  refused("cut short");
  const auto changed = [&](std::size_t at, char by) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] + by);
    write(damaged);
  };
  changed(0, 1);
  refused("no black box");
  changed(8, 1);
  refused("format 2");
  changed(sizeof(black_box::FileHead) + 5, 1);
  refused("damaged in its header");
  changed(24, 64);
  refused("damaged in its head");
}

/// The writer alone, with a clock of the test's.
TEST_F(Recorded, TheFirstTroubleIsNotWrittenOver) {
  const ProblemShape shape = nets.shape(1);
  LoopState state(shape, 3, 1, parameter_count(&nets.reward));
  const std::vector<float> action(2), sequence(8), x(4);
  Controller controller = make({.black_box = path + ":1"});
  const std::string header = BlackBox(path).header();
  const std::string name = folder.file("ring");
  BlackBoxWriter writer(BlackBoxPlace(name + ":1"), shape.nx, state, header);
  std::int64_t now = 0;
  const auto record = [&](PlanStatus status) {
    now += 20'000'000;  // 50 Hz
    writer.begin(state, {.observation = x}, true, SolveBudget::Clock::time_point(Nanoseconds(now)),
                 Precision::float32);
    Plan plan;
    plan.action = action;
    plan.sequence = sequence;
    plan.status = status;
    writer.finish(plan);
  };
  for (int i = 1; i < 10'000; ++i) record(PlanStatus::ok);
  record(PlanStatus::deadline);   // usable
  record(PlanStatus::bad_state);  // number 10,001
  for (int i = 0; i < 8'000; ++i) record(PlanStatus::ok);
  record(PlanStatus::user_error);  // later trouble is among the latest
  const BlackBox box(name);
  EXPECT_EQ(box.frozen_first(), 10'001u - 500);
  EXPECT_EQ(box.frozen_last(), 10'001u + 100);
  EXPECT_EQ(box.damaged(), 0u);
  for (std::size_t i = 0; i <= 600; ++i) ASSERT_EQ(box[i].number, 9'501 + i);
  EXPECT_EQ(box[500].plan.status, PlanStatus::bad_state);
  const std::size_t last = box.size() - 1;
  EXPECT_EQ(box[last].number, 18'002u);
  EXPECT_EQ(box[last].plan.status, PlanStatus::user_error);
  for (std::size_t i = 602; i <= last; ++i) ASSERT_EQ(box[i].number, box[i - 1].number + 1);
  EXPECT_GT(box.size(), 1500u);
}

}  // namespace
}  // namespace softmpc
