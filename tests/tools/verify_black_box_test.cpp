// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc verify with black boxes: what flew is planned again, what was changed is found.
#include <gtest/gtest.h>

#include <cstring>

#include "../core/temp_folder.h"
#include "control/black_box_format.h"
#include "train_runs.h"

namespace softmpc::test {
namespace {

class VerifyBlackBox : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(run(small_run(run_, 300)).code, 0);
    const Result flown =
        softmpc::test::run({"bench", "soak", run_, "--ticks", "40", "--black-box", box_ + ":1"});
    ASSERT_EQ(flown.code, 0) << flown.err;
  }
  /// Changes a byte of a record, and its checksum with it.
  void forge(std::size_t record, std::size_t byte) {
    std::string bytes = read_file(box_);
    black_box::FileHead head;
    std::memcpy(&head, bytes.data(), sizeof head);
    char* begin = bytes.data() + black_box::kHeadBytes + record * head.record_bytes;
    begin[byte] ^= 1;
    const auto text =
        nlohmann::json::parse(std::string(bytes.data() + sizeof head, head.text_bytes));
    const black_box::Layout at(text["nx"], text["nu"], text["horizon"], text["state_bytes"]);
    const auto sum = black_box::checksum(std::as_bytes(std::span(begin, at.whole)), at);
    std::memcpy(begin, &sum, sizeof sum);
    write_file(box_, bytes);
  }
  TempFolder folder_;
  std::string run_ = folder_.file("run"), box_ = folder_.file("flight.blackbox");
};

TEST_F(VerifyBlackBox, WhatFlewIsPlannedAgain) {
  const Result result = run({"verify", box_, "--bundle", run_, "--json"});
  EXPECT_EQ(result.code, 0) << result.err;
  const auto file = nlohmann::json::parse(result.out).at("files").at(0);
  EXPECT_EQ(file.at("kind"), "black box");
  EXPECT_EQ(file.at("task"), "InvertedPendulum");
  EXPECT_EQ(file.at("quantities").at("bits").at("pass"), true);
  EXPECT_EQ(file.at("remark"), "40 records, 40 of them made again to the bit");
}

TEST_F(VerifyBlackBox, WhatWasChangedIsFound) {
  const std::size_t first_action = sizeof(black_box::RecordHead) + 4 * sizeof(float);
  forge(7, first_action);
  expect_error(run({"verify", box_, "--bundle", run_}), 1, {box_, "bits", "record 8"});
  std::string bytes = read_file(box_);
  bytes[black_box::kHeadBytes + first_action] ^= 1;  // and no checksum
  write_file(box_, bytes);
  const Result result = run({"verify", box_, "--bundle", run_});
  EXPECT_EQ(result.code, 1);
  EXPECT_NE(result.out.find("39 records, 38 of them made again to the bit; 1 were cut off"),
            std::string::npos)
      << result.out;
}

TEST_F(VerifyBlackBox, WhatCannotBePlannedAgainIsSaid) {
  expect_error(run({"verify", box_}), 1, {box_, "record 1", "--bundle"});
  expect_error(run({"verify", box_, "--bundle", "/nowhere"}), 1, {"/nowhere"});
  const std::string other = folder_.file("other");
  ASSERT_EQ(run(small_run(other, 320)).code, 0);
  expect_error(run({"verify", box_, "--bundle", other}), 1, {"record 1 was planned by bundle"});
  EXPECT_EQ(run({"verify", box_, "--bundle", other, run_}).code, 0);
  write_file(box_, read_file(box_).substr(0, 100000));
  expect_error(run({"verify", box_, "--bundle", run_}), 1, {box_, "cut short"});
  const Result refused = run({"bench", "soak", run_, "--ticks", "10", "--black-box", "/nowhere/f"});
  EXPECT_EQ(refused.code, 0);
  EXPECT_NE(refused.out.find("black box /nowhere/f: cannot be made"), std::string::npos);
  expect_error(run({"bench", "soak", run_, "--black-box", "f:0"}), 2, {"black_box", "f:0"});
}

TEST_F(VerifyBlackBox, APlanThatFlewIsExplained) {
  const Result result = run({"explain", box_, "--record", "7", "--bundle", run_, "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto why = nlohmann::json::parse(result.out);
  EXPECT_EQ(why.at("record"), 7);
  EXPECT_EQ(why.at("task"), "InvertedPendulum");
  EXPECT_EQ(why.at("same_bits"), true);
  EXPECT_EQ(why.at("recorded_status"), "ok");
  EXPECT_EQ(why.at("action"), why.at("sent"));
  const Result read = run({"explain", box_, "--record", "7", "--bundle", run_, "--top", "2"});
  EXPECT_EQ(read.code, 0) << read.err;
  for (const char* part : {"record 7", "effective samples", "weights sum to 1"})
    EXPECT_NE(read.out.find(part), std::string::npos) << part;
  expect_error(run({"explain", box_, "--bundle", run_}), 2, {"--record"});
  expect_error(run({"explain", box_, "--record", "41", "--bundle", run_}), 1,
               {"record 41 is not there, it holds 1 to 40"});
  expect_error(run({"explain", box_, "--record", "7"}), 1, {"record 7", "--bundle"});
  expect_error(run({"explain", run_}), 2, {"--state"});
}

}  // namespace
}  // namespace softmpc::test
