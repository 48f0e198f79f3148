// SPDX-License-Identifier: Apache-2.0
// Clusters of blocks, barriers in shared memory and bulk copies.
#include <algorithm>

#include "emulator/intrinsics.h"
#include "emulator/rules.h"

namespace softmpc::cuda {
namespace emulator {
namespace {

/// A barrier's 64 bits: a mark, the running phase, arrivals a phase and still missing, bytes still
/// missing.
struct BarrierState {
  static constexpr std::uint64_t kMark = 0x55;
  int phase, expected, missing;
  std::int64_t bytes;

  static BarrierState read(const Barrier* barrier, const char* call) {
    require_aligned(barrier, 8, call);
    require_shared(barrier, 8, call);
    if (*barrier >> 57 != kMark)
      fail(std::string(call) + ": not a barrier, or not yet initialised");
    return unchecked(barrier);
  }
  static BarrierState unchecked(const Barrier* barrier) {
    const std::uint64_t word = *barrier;
    return {static_cast<int>(word >> 56 & 1), static_cast<int>(word >> 42 & 0x3fff),
            static_cast<int>(word >> 28 & 0x3fff), static_cast<std::int64_t>(word << 36) >> 36};
  }
  void write(Barrier* barrier) const {
    *barrier = kMark << 57 | static_cast<std::uint64_t>(phase) << 56 |
               static_cast<std::uint64_t>(expected) << 42 |
               static_cast<std::uint64_t>(missing) << 28 |
               (static_cast<std::uint64_t>(bytes) & 0xfffffffu);
  }
};

/// Ends the phase if nothing is missing, and wakes those who wait.
void settle(BarrierState state, Barrier* barrier) {
  if (state.missing > 0 || state.bytes != 0) return state.write(barrier);
  state.phase ^= 1;
  state.missing = state.expected;
  state.write(barrier);
  auto& waiters = machine->barrier_waiters;
  std::vector<Thread*> woken;
  for (Thread* thread : waiters)
    if (thread->wait_barrier == barrier) woken.push_back(thread);
  std::erase_if(waiters, [&](const Thread* thread) { return thread->wait_barrier == barrier; });
  for (Thread* thread : woken) thread->wait_barrier = nullptr;
  machine->wake(woken);
}

void arrive(Barrier* barrier, int bytes, const char* call) {
  BarrierState state = BarrierState::read(barrier, call);
  if (state.missing == 0)
    fail(std::string(call) + ": more arrivals than the " + std::to_string(state.expected) +
         " of a phase");
  state.bytes += bytes;
  --state.missing;
  settle(state, barrier);
  machine->perhaps_yield();
}

void store_now(const RemoteStore& store) {
  std::memcpy(store.to, store.values, static_cast<std::size_t>(store.count) * sizeof(float));
}

/// Stores to the block that `address` names: at once to this one, else when the thread arrives.
void store_values(std::uint32_t address, std::initializer_list<float> values) {
  const auto rank = static_cast<int>(address >> 24) - 1;
  const std::size_t bytes = values.size() * sizeof(float);
  if (rank < 0 || rank >= machine->grid().cluster)
    fail("store_remote: an address that remote_address() did not make");
  Block& block = machine->block_of_rank(rank);
  RemoteStore store{
      block.shared + ((address & 0xffffffu) - kSharedBase), static_cast<int>(values.size()), {}};
  std::copy(values.begin(), values.end(), store.values);
  if (address % bytes != 0) fail("store_remote: address not aligned to what is stored");
  if (!block.owns(store.to, bytes)) fail("store_remote: outside of the block's shared memory");
  if (block.live == 0) fail("store_remote: block " + std::to_string(block.index) + " has ended");
  if (&block == current->block || machine->now())
    store_now(store);
  else
    current->stores.push_back(store);
}

void finish_stores(Thread& thread) {
  for (const RemoteStore& store : thread.stores) store_now(store);
  thread.stores.clear();
}

}  // namespace

void finish_thread(Thread& thread) {
  finish_copies(thread, thread.copies.size());
  if (!thread.stores.empty())
    fail("ended with stores to other blocks that no cluster_arrive() followed");
}

void finish_bulk(std::size_t which) {
  auto& all = machine->bulk;
  const Machine::Bulk bulk = all[which];
  all.erase(all.begin() + static_cast<int>(which));
  std::memcpy(bulk.copy.to, bulk.copy.from, bulk.copy.bytes);
  BarrierState state = BarrierState::unchecked(bulk.barrier);
  state.bytes -= static_cast<std::int64_t>(bulk.copy.bytes);
  settle(state, bulk.barrier);
}

}  // namespace emulator

using emulator::BarrierState;
using emulator::current;
using emulator::fail;
using emulator::machine;

int cluster_rank() { return current->block->rank; }

void cluster_arrive() {
  emulator::meet(emulator::Meeting::cluster_arrive, 0, [] {});
  emulator::Thread& thread = *current;
  if (thread.cluster_phase >= 0) fail("cluster_arrive: twice without cluster_wait()");
  emulator::finish_stores(thread);
  thread.cluster_phase = machine->cluster_phase;
  ++machine->cluster_arrived;
  machine->cluster_check();
  machine->perhaps_yield();
}

void cluster_wait() {
  emulator::Thread& thread = *current;
  if (thread.cluster_phase < 0) fail("cluster_wait: without cluster_arrive()");
  while (machine->cluster_phase == thread.cluster_phase) machine->wait("cluster_wait");
  thread.cluster_phase = -1;
}

std::uint32_t remote_address(const void* shared, int rank) {
  if (rank < 0 || rank >= machine->grid().cluster)
    fail("remote_address: rank " + std::to_string(rank) + " in a cluster of " +
         std::to_string(machine->grid().cluster));
  return static_cast<std::uint32_t>(rank + 1) << 24 | shared_address(shared);
}

void store_remote(std::uint32_t address, float x, float y, float z, float w) {
  emulator::store_values(address, {x, y, z, w});
}
void store_remote(std::uint32_t address, float x, float y) {
  emulator::store_values(address, {x, y});
}

void barrier_init(Barrier* barrier, int arrivals) {
  emulator::require_aligned(barrier, 8, "barrier_init");
  emulator::require_shared(barrier, 8, "barrier_init");
  if (arrivals < 1 || arrivals > 1024)
    fail("barrier_init: " + std::to_string(arrivals) + " arrivals");
  BarrierState{0, arrivals, arrivals, 0}.write(barrier);
  current->block->barrier_fence_due = true;
}

void barrier_init_fence() { current->block->barrier_fence_due = false; }

void barrier_arrive(Barrier* barrier) { emulator::arrive(barrier, 0, "barrier_arrive"); }

void barrier_expect(Barrier* barrier, int bytes) {
  if (bytes < 0 || bytes >= 1 << 20) fail("barrier_expect: " + std::to_string(bytes) + " bytes");
  emulator::arrive(barrier, bytes, "barrier_expect");
}

void barrier_wait(Barrier* barrier, int parity) {
  if (parity != 0 && parity != 1) fail("barrier_wait: parity " + std::to_string(parity));
  while (BarrierState::read(barrier, "barrier_wait").phase == parity) {
    current->wait_barrier = barrier;
    machine->barrier_waiters.push_back(current);
    machine->wait("barrier_wait", parity);
  }
}

void copy_bulk(void* shared, const void* global, int bytes, Barrier* barrier) {
  emulator::require_aligned(shared, 16, "copy_bulk");
  emulator::require_aligned(global, 16, "copy_bulk");
  if (bytes <= 0 || bytes % 16 != 0) fail("copy_bulk: " + std::to_string(bytes) + " bytes");
  emulator::require_shared(shared, static_cast<std::size_t>(bytes), "copy_bulk");
  BarrierState::read(barrier, "copy_bulk");
  if (current->block->barrier_fence_due)
    fail("copy_bulk: no barrier_init_fence() since barrier_init()");
  machine->bulk.push_back({{shared, global, static_cast<std::size_t>(bytes)}, barrier});
  if (machine->now()) emulator::finish_bulk(machine->bulk.size() - 1);
  machine->perhaps_yield();
}

}  // namespace softmpc::cuda
