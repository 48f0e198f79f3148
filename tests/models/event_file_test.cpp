// SPDX-License-Identifier: Apache-2.0
// Tests for models/event_file.cpp, by a decoder that shares no code with it.
#include "run/event_file.h"

#include <gtest/gtest.h>

#include "../core/temp_folder.h"
#include "event_decoder.h"

namespace softmpc {
namespace {

using test::DecodedEvents;
using test::EventDecoder;
using test::TempFolder;

DecodedEvents decode(const std::string& path) { return EventDecoder(read_file(path)).decode(); }

TEST(EventFile, StartsWithTheVersion) {
  const TempFolder folder;
  const EventFile file(folder.file("e"), 12.5);
  const DecodedEvents events = decode(folder.file("e"));
  EXPECT_EQ(events.versions, std::vector<std::string>{"brain.Event:2"});
  EXPECT_TRUE(events.scalars.empty());
}

// The event that TensorBoard's own protobuf classes write for step 300, wall time 1, a/b = 0.5.
TEST(EventFile, AgreesWithTheReferenceWriter) {
  const Scalar scalar{"a/b", 0.5};
  const std::string event = event_format::scalar_event(300, 1.0, std::span(&scalar, 1));
  const unsigned char expected[] = {0x09, 0,    0,    0,    0,    0,    0,    0xf0, 0x3f,
                                    0x10, 0xac, 0x02, 0x2a, 0x0c, 0x0a, 0x0a, 0x0a, 0x03,
                                    'a',  '/',  'b',  0x15, 0,    0,    0,    0x3f};
  EXPECT_EQ(event, std::string(reinterpret_cast<const char*>(expected), sizeof(expected)));
}

TEST(EventFile, KeepsStepsTagsAndValues) {
  const TempFolder folder;
  EventFile file(folder.file("e"), 1);
  const Scalar first[] = {{"train/critic_loss", 0.25}, {"train/model_loss", -3e10}};
  const Scalar second[] = {{std::string(300, 't'), 1}};
  file.add(0, 2, first);
  file.add(std::int64_t{1} << 40, 3.5, second);
  file.sync();
  const DecodedEvents events = decode(folder.file("e"));
  ASSERT_EQ(events.scalars.size(), 3u);
  EXPECT_EQ(events.scalars[0].tag, "train/critic_loss");
  EXPECT_EQ(events.scalars[0].value, 0.25f);
  EXPECT_EQ(events.scalars[1].value, -3e10f);
  EXPECT_EQ(events.scalars[1].step, 0);
  EXPECT_EQ(events.scalars[2].tag, std::string(300, 't'));
  EXPECT_EQ(events.scalars[2].step, std::int64_t{1} << 40);
  EXPECT_EQ(events.scalars[2].wall_time, 3.5);
}

TEST(EventFile, CutBackAndReopenedItGoesOn) {
  const TempFolder folder;
  std::uint64_t size = 0;
  const Scalar scalar[] = {{"x", 1}};
  {
    EventFile file(folder.file("e"), 1);
    file.add(1, 1, scalar);
    size = file.size();
    file.add(2, 1, scalar);
  }
  EventFile file(folder.file("e"), 1);
  file.truncate(size, 1);
  file.add(3, 1, scalar);
  DecodedEvents events = decode(folder.file("e"));
  EXPECT_EQ(events.versions.size(), 1u);
  ASSERT_EQ(events.scalars.size(), 2u);
  EXPECT_EQ(events.scalars[1].step, 3);

  file.truncate(0, 1);
  events = decode(folder.file("e"));
  EXPECT_EQ(events.versions.size(), 1u);
  EXPECT_TRUE(events.scalars.empty());
}

}  // namespace
}  // namespace softmpc
