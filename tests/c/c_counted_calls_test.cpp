// SPDX-License-Identifier: Apache-2.0
// Tests that C calls beside opening and preparing make no call of malloc or its kin, of a lock or a
// wait: the library's are the program's, which stand in place of glibc's.
#include "c/c_fixture.h"
#include "core/counted_calls.h"

namespace softmpc {
namespace {

using namespace testing;

TEST_F(CApi, NoTickCallsTheSystem) {
  softmpc_options options = c_api::default_options();
  options.want_predicted = 1;
  const Calls unopened = calls();
  const Handle c = open(options);
  ASSERT_GT(calls().allocations, unopened.allocations);  // those of the library are seen
  softmpc_sizes sizes = {};
  sizes.size = sizeof sizes;
  ASSERT_EQ(softmpc_get_sizes(c.get(), &sizes), SOFTMPC_DONE);
  softmpc_prepared* raw = nullptr;
  ASSERT_EQ(softmpc_prepare(c.get(), path.c_str(), &raw, nullptr, 0), SOFTMPC_DONE);
  const c_api::Prepared prepared(raw);
  std::vector<char> saved(sizes.state_bytes);
  std::vector<std::vector<float>> states;
  for (int tick = 0; tick < 10; ++tick) states.push_back(observation(tick));
  states[7][3] = NAN;
  states[8].pop_back();
  Full full;
  const Calls before = calls();
  for (const auto& x : states) {
    const softmpc_request in = request(x);
    softmpc_plan(c.get(), &in, &full.out);
    softmpc_save_state(c.get(), saved.data(), saved.size());
    softmpc_load_state(c.get(), saved.data(), saved.size());
    softmpc_swap(c.get(), prepared.get());
  }
  EXPECT_EQ(calls(), before);
}

}  // namespace
}  // namespace softmpc
