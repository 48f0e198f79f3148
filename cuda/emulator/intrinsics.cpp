// SPDX-License-Identifier: Apache-2.0
#include "emulator/intrinsics.h"

#include "emulator/rules.h"
#include "softmpc/hd/bf16.h"
#include "softmpc/hd/f16.h"

namespace softmpc::cuda {

using emulator::current;
using emulator::fail;
using emulator::machine;
using emulator::meet;
using emulator::Meeting;

namespace emulator {

void require_aligned(const void* pointer, std::size_t alignment, const char* call) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0)
    fail(std::string(call) + ": address not aligned to " + std::to_string(alignment) + " bytes");
}

void require_shared(const void* pointer, std::size_t bytes, const char* call) {
  const emulator::Block& block = *current->block;
  if (!block.owns(pointer, bytes))
    fail(std::string(call) + ": " + std::to_string(bytes) + " bytes at byte " +
         std::to_string(reinterpret_cast<std::intptr_t>(pointer) -
                        reinterpret_cast<std::intptr_t>(block.shared)) +
         " are not in the block's " + std::to_string(block.shared_bytes) +
         " bytes of shared memory");
}

}  // namespace emulator

using emulator::require_aligned;
using emulator::require_shared;

namespace {

/// Barrier `id` of the block for `count` threads.
void meet_threads(const char* name, int id, int count) {
  emulator::Thread& self = *current;
  emulator::SomeBarrier& barrier = self.block->barriers[id];
  if (barrier.waiting.empty()) barrier.expected = count;
  if (barrier.expected != count)
    fail(std::string(name) + " " + std::to_string(id) + " for " + std::to_string(count) +
         " threads, others came for " + std::to_string(barrier.expected));
  barrier.waiting.push_back(&self);
  barrier.lanes[self.warp->index] |= 1u << self.lane;
  if (static_cast<int>(barrier.waiting.size()) < count) return machine->wait(name, id);
  for (std::uint32_t& mask : barrier.lanes) {
    if (mask != 0 && mask != 0xffffffffu) fail(std::string(name) + ": a warp came in part");
    mask = 0;
  }
  barrier.waiting.pop_back();
  static thread_local std::vector<emulator::Thread*> woken;
  woken.swap(barrier.waiting);
  barrier.waiting.clear();
  machine->wake(woken);
  machine->perhaps_yield();
}

/// Every lane brings `value` and takes that of lane `from`.
template <class T>
T exchange(Meeting meeting, T value, int from) {
  emulator::Warp& warp = *current->warp;
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  warp.in[current->lane] = word;
  meet(meeting, 0, [&] { std::memcpy(warp.out, warp.in, sizeof warp.in); });
  std::memcpy(&value, &warp.out[from & 31], sizeof value);
  return value;
}

}  // namespace

void sync_block() { meet_threads("sync_block", 0, machine->grid().threads); }

void sync_warp() {
  meet(Meeting::sync_warp, 0, [] {});
}

void sync_some(int id, int count) {
  if (id < 1 || id > 15 || count < 32 || count % 32 != 0 || count > machine->grid().threads)
    fail("sync_some(" + std::to_string(id) + ", " + std::to_string(count) +
         "): ids are 1 to 15, counts whole warps of the block");
  meet_threads("sync_some", id, count);
}

float shuffle_xor(float value, int mask) {
  return exchange(Meeting::shuffle_xor_float, value, current->lane ^ mask);
}
double shuffle_xor(double value, int mask) {
  return exchange(Meeting::shuffle_xor_double, value, current->lane ^ mask);
}
int shuffle_xor(int value, int mask) {
  return exchange(Meeting::shuffle_xor_int, value, current->lane ^ mask);
}

std::uint32_t ballot(bool predicate) {
  emulator::Warp& warp = *current->warp;
  warp.in[current->lane] = predicate ? 1 : 0;
  meet(Meeting::ballot, 0, [&] {
    warp.out[0] = 0;
    for (int i = 0; i < 32; ++i) warp.out[0] |= warp.in[i] << i;
  });
  return static_cast<std::uint32_t>(warp.out[0]);
}

std::uint32_t take_ticket(std::uint32_t* counter) {
  machine->perhaps_yield();
  return (*counter)++;
}

Words4 load_constant(const std::uint32_t* from) {
  require_aligned(from, 16, "load_constant");
  Words4 words;
  std::memcpy(&words, from, sizeof words);
  return words;
}

std::uint32_t shared_address(const void* shared) {
  require_shared(shared, 0, "shared_address");
  const auto byte = static_cast<const char*>(shared) - current->block->shared;
  return emulator::kSharedBase + static_cast<std::uint32_t>(byte);
}

void copy_async(void* shared, const void* global) {
  require_aligned(shared, 16, "copy_async");
  require_aligned(global, 16, "copy_async");
  require_shared(shared, 16, "copy_async");
  if (machine->now())
    std::memcpy(shared, global, 16);
  else
    current->copies.push_back({shared, global, 16});
}

void copy_commit() { current->group_ends.push_back(current->copies.size()); }

namespace emulator {

void finish_copies(Thread& thread, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(thread.copies[i].to, thread.copies[i].from, thread.copies[i].bytes);
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<int>(count));
}

void copy_wait(int pending) {
  Thread& thread = *current;
  auto& ends = thread.group_ends;
  if (static_cast<int>(ends.size()) <= pending) return;
  const std::size_t groups = ends.size() - static_cast<std::size_t>(pending);
  const std::size_t count = ends[groups - 1];
  finish_copies(thread, count);
  ends.erase(ends.begin(), ends.begin() + static_cast<int>(groups));
  for (std::size_t& end : ends) end -= count;
}

}  // namespace emulator

std::uint32_t pack_f16(float low, float high) { return hd::pair_f16(low, high); }

void unpack_f16(std::uint32_t word, float& low, float& high) {
  low = hd::from_f16(word & 0xffffu);
  high = hd::from_f16(word >> 16);
}

std::uint32_t pack_bf16(float low, float high) { return hd::pair_bf16(low, high); }

float exp2_fast(float x) { return std::exp2(x); }
float reciprocal_fast(float x) { return 1.0f / x; }
float tanh_fast(float x) {
  const float exact = std::tanh(x);
  const std::uint32_t bits = hd::float_to_bits(exact);
  if (std::isnan(exact)) return exact;
  return hd::bits_to_float((bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu);
}

void load_matrix(std::uint32_t (&a)[4], const void* row) {
  require_aligned(row, 16, "load_matrix");
  require_shared(row, 16, "load_matrix");
  emulator::Warp& warp = *current->warp;
  const int lane = current->lane;
  warp.rows[lane] = row;
  meet(Meeting::load_matrix, 0, [&] {
    for (int to = 0; to < 32; ++to)  // matrix j: rows of lanes 8j to 8j + 7
      for (int j = 0; j < 4; ++j)
        std::memcpy(&warp.matrix[to][j],
                    static_cast<const char*>(warp.rows[8 * j + to / 4]) + to % 4 * 4, 4);
  });
  std::memcpy(a, warp.matrix[lane], sizeof a);
}

}  // namespace softmpc::cuda
