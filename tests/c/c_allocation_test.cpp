// SPDX-License-Identifier: Apache-2.0
// Tests that softmpc_plan() allocates nothing: the library's operator new is the program's.
#include "c/c_fixture.h"
#include "core/counted_allocations.h"

namespace softmpc {
namespace {

using namespace testing;

TEST_F(CApi, PlansAllocateNothing) {
  for (const int threads : {1, 2}) {
    softmpc_options options = c_api::default_options();
    options.threads = threads;
    options.want_predicted = 1;
    const long before_opening = allocations;
    const Handle c = open(options);
    ASSERT_GT(allocations, before_opening);  // those of the library are seen
    std::vector<std::vector<float>> states;
    for (int tick = 0; tick < 10; ++tick) states.push_back(observation(tick));
    states[7][3] = NAN;
    states[8].pop_back();
    Full full;
    const long before = allocations;
    for (const auto& x : states) {
      const softmpc_request in = request(x);
      softmpc_plan(c.get(), &in, &full.out);
    }
    EXPECT_EQ(allocations, before);
  }
}

}  // namespace
}  // namespace softmpc
