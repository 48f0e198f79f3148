// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <numeric>
#include <stdexcept>

#include "softmpc/error.h"

namespace softmpc::cuda::emulator {

constinit thread_local Thread* current = nullptr;
constinit thread_local Machine* machine = nullptr;

namespace {

#if defined(SOFTMPC_FIBER_ASAN)
constexpr std::size_t kGuardBytes = 0;  // the sanitizer sees every byte too far
#else
constexpr std::size_t kGuardBytes = 256;
#endif
constexpr int kGuard = 0x5a, kPoison = 0xff;  // NaN as float32, float16, bfloat16 and float64

struct Cancelled {};
class Failure : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Threads with their stacks, kept from run to run.
std::vector<std::unique_ptr<Thread>>& thread_pool() {
  thread_local std::vector<std::unique_ptr<Thread>> pool;
  return pool;
}

std::string place_of(const Thread& thread) {
  return "kernel '" + machine->grid().name + "', block " + std::to_string(thread.block->index) +
         ", warp " + std::to_string(thread.warp->index) + ", lane " + std::to_string(thread.lane);
}

}  // namespace

std::vector<RunOptions> all_orders(int random_seeds) {
  std::vector<RunOptions> all;
  for (const Order order : {Order::forward, Order::reverse})
    for (const Timing timing : {Timing::late, Timing::early}) all.push_back({order, timing, 1});
  for (int i = 1; i <= random_seeds; ++i)
    all.push_back({Order::random, Timing::random, static_cast<std::uint64_t>(i)});
  return all;
}

std::string to_string(const RunOptions& options) {
  static const char* const orders[] = {"forward", "reverse", "random"};
  static const char* const timings[] = {"late", "early", "random"};
  return std::string(orders[static_cast<int>(options.order)]) + " order, " +
         timings[static_cast<int>(options.timing)] + " copies, seed " +
         std::to_string(options.seed);
}

const char* name_of(Meeting meeting) {
  static const char* const names[] = {"sync_warp",
                                      "shuffle_xor(float)",
                                      "shuffle_xor(double)",
                                      "shuffle_xor(int)",
                                      "ballot",
                                      "load_matrix",
                                      "mma_f16",
                                      "mma_bf16",
                                      "wgmma",
                                      "wgmma_fence",
                                      "wgmma_commit",
                                      "wgmma_wait",
                                      "set_registers",
                                      "cluster_arrive"};
  return names[static_cast<int>(meeting)];
}

void fail(const std::string& text) { throw Failure(place_of(*current) + ": " + text); }

void diverged(Meeting meeting, std::uint64_t detail) {
  const Warp& warp = *current->warp;
  std::string lanes;
  for (int i = 0; i < 32; ++i)
    if ((warp.present >> i & 1u) != 0)
      lanes.append(lanes.empty() ? "" : ",").append(std::to_string(i));
  const bool same = warp.meeting == meeting;
  fail(std::string("diverged: calls ") + name_of(meeting) + " while lanes " + lanes + " are at " +
       name_of(warp.meeting) +
       (same ? " with other arguments (" + std::to_string(detail) + ", they " +
                   std::to_string(warp.detail) + ")"
             : ""));
}

/// What a fiber runs.
struct ThreadMain {
  static void enter() {
    Machine& m = *machine;
    Thread& thread = *current;
    try {
      thread.started = true;
      m.body_();
      finish_thread(thread);
      m.thread_ended(thread);
    } catch (const Cancelled&) {
    } catch (const Failure& failure) {
      if (m.failure_.empty()) m.failure_ = failure.what();
    } catch (const std::exception& error) {
      if (m.failure_.empty()) m.failure_ = place_of(thread) + ": threw " + error.what();
    }
    thread.ended = true;
    const bool stop = m.cancelling_ || !m.failure_.empty();
    Thread* to = nullptr;
    if (!stop) {
      try {
        to = m.next();
      } catch (const std::exception& error) {
        m.failure_ = error.what();
      }
    }
    m.change_to(to, true);
  }
};

Machine::Machine(const Grid& grid, const RunOptions& options, const std::function<void()>& body)
    : grid_(grid), options_(options), body_(body), random_(options.seed * 0x9e3779b97f4a7c15u | 1) {
  const auto total =
      static_cast<std::size_t>(grid.threads) * static_cast<std::size_t>(grid.cluster);
  auto& pool = thread_pool();
  while (pool.size() < total) pool.push_back(std::make_unique<Thread>());
  std::size_t capacity = 1;
  while (capacity < total + 1) capacity *= 2;
  ready_.resize(capacity);
  for (int i = 0; i < grid.cluster; ++i) blocks_.push_back(std::make_unique<Block>());
}

Machine::~Machine() {
  for (const auto& block : blocks_) std::free(block->shared);
}

std::uint64_t Machine::draw() {  // xorshift64*
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545f4914f6cdd1du >> 16;
}

bool Machine::now() {
  return options_.timing == Timing::early || (options_.timing == Timing::random && draw() % 2 == 0);
}

void Machine::run() {
  std::vector<int> clusters(static_cast<std::size_t>(grid_.blocks / grid_.cluster));
  std::iota(clusters.begin(), clusters.end(), 0);
  if (options_.order == Order::reverse) std::reverse(clusters.begin(), clusters.end());
  if (options_.order == Order::random)
    for (std::size_t i = clusters.size(); i > 1; --i)
      std::swap(clusters[i - 1], clusters[draw() % i]);
  for (const int cluster : clusters) {
    start_cluster(cluster * grid_.cluster);
    run_cluster();
    finish_cluster();
  }
}

void Machine::start_block(Block& block, int index, int rank) {
  block.index = index;
  block.rank = rank;
  block.live = grid_.threads;
  block.barrier_fence_due = false;
  block.shared_bytes = grid_.shared_bytes;
  if (block.shared == nullptr) {
    void* memory = nullptr;
    if (::posix_memalign(&memory, 1024,
                         std::max<std::size_t>(1, grid_.shared_bytes + kGuardBytes)) != 0)
      throw std::bad_alloc();
    block.shared = static_cast<char*>(memory);
  }
  std::memset(block.shared, kPoison, grid_.shared_bytes);
  std::memset(block.shared + grid_.shared_bytes, kGuard, kGuardBytes);
  block.threads.clear();
  block.warps.clear();
  block.warpgroup_calls.assign(static_cast<std::size_t>((grid_.threads + 127) / 128), {});
  for (auto& barrier : block.barriers) barrier = {};
  for (int i = 0; i < grid_.threads; ++i) {
    if (i % 32 == 0) {
      block.warps.push_back(std::make_unique<Warp>());
      block.warps.back()->index = i / 32;
      block.warps.back()->block = &block;
    }
    Thread& thread = *thread_pool()[static_cast<std::size_t>(rank) * grid_.threads + i];
    thread.index = i;
    thread.lane = i % 32;
    thread.block = &block;
    thread.warp = block.warps.back().get();
    thread.warp->lanes[thread.lane] = &thread;
    thread.started = thread.ended = false;
    thread.waits = nullptr;
    thread.wait_barrier = nullptr;
    thread.copies.clear();
    thread.group_ends.clear();
    thread.stores.clear();
    thread.cluster_phase = -1;
    thread.fiber.prepare(&ThreadMain::enter);
    block.threads.push_back(&thread);
  }
}

void Machine::start_cluster(int first_block) {
  head_ = count_ = 0;
  live_ = grid_.threads * grid_.cluster;
  cluster_phase = cluster_arrived = 0;
  bulk.clear();
  barrier_waiters.clear();
  for (int rank = 0; rank < grid_.cluster; ++rank)
    start_block(block_of_rank(rank), first_block + rank, rank);
  const int total = live_;
  for (int i = 0; i < total; ++i) {
    const int from_last = options_.order == Order::reverse ? i : total - 1 - i;
    push_front(thread_pool()[static_cast<std::size_t>(from_last)].get());
  }
}

void Machine::run_cluster() {
  change_to(next(), false);
  if (failure_.empty() && live_ > 0) failure_ = deadlock();
  if (failure_.empty()) return;
  cancel();
  throw Error(failure_ + " [" + to_string(options_) + "]");
}

void Machine::cancel() {
  cancelling_ = true;
  for (const auto& block : blocks_)
    for (Thread* thread : block->threads)
      if (thread->started && !thread->ended) change_to(thread, false);
}

void Machine::finish_cluster() {
  const auto where = [&](const Block& block) {
    return "kernel '" + grid_.name + "', block " + std::to_string(block.index) + ": ";
  };
  for (const auto& block : blocks_) {
    for (std::size_t i = 0; i < kGuardBytes; ++i)
      if (block->shared[grid_.shared_bytes + i] != kGuard)
        throw Error(where(*block) + "wrote byte " + std::to_string(grid_.shared_bytes + i) +
                    " of " + std::to_string(grid_.shared_bytes) + " of shared memory");
    for (const auto& warp : block->warps) {
      const auto& calls = block->warpgroup_calls[static_cast<std::size_t>(warp->index / 4)];
      if (warp->issued != calls.size())
        throw Error(where(*block) + "warp " + std::to_string(warp->index) + " called wgmma " +
                    std::to_string(warp->issued) + " times, another of its warpgroup " +
                    std::to_string(calls.size()));
      if (!warp->products.empty())
        throw Error(where(*block) + "warp " + std::to_string(warp->index) +
                    " ended without waiting for its wgmma");
    }
  }
  if (!bulk.empty())
    throw Error(where(*blocks_.front()) + std::to_string(bulk.size()) +
                " bulk copies were still under way when the threads had ended");
}

void Machine::thread_ended(Thread& thread) {
  thread.ended = true;
  --live_;
  --thread.block->live;
  if (thread.cluster_phase == cluster_phase) --cluster_arrived;
  cluster_check();
}

void Machine::cluster_check() {
  if (live_ == 0 || cluster_arrived < live_) return;
  ++cluster_phase;
  cluster_arrived = 0;
  std::vector<Thread*> woken;
  for (const auto& block : blocks_)
    for (Thread* thread : block->threads)
      if (thread->waits != nullptr && std::strcmp(thread->waits, "cluster_wait") == 0)
        woken.push_back(thread);
  wake(woken);
}

void Machine::push_front(Thread* thread) {
  head_ = (head_ + ready_.size() - 1) & (ready_.size() - 1);
  ready_[head_] = thread;
  ++count_;
}

/// Bulk copies may end in any order.
std::size_t Machine::some_bulk() {
  if (options_.order == Order::forward) return 0;
  return options_.order == Order::reverse ? bulk.size() - 1 : draw() % bulk.size();
}

Thread* Machine::next() {
  while (count_ == 0) {
    if (bulk.empty() || live_ == 0) return nullptr;
    finish_bulk(some_bulk());
  }
  if (options_.order == Order::random) {
    if (!bulk.empty() && draw() % 8 == 0) finish_bulk(some_bulk());
    std::swap(ready_[head_], ready_[(head_ + draw() % count_) & (ready_.size() - 1)]);
  }
  Thread* thread = ready_[head_];
  head_ = (head_ + 1) & (ready_.size() - 1);
  --count_;
  return thread;
}

void Machine::change_to(Thread* to, bool ends) {
  Thread* from = current;
  if (from == to) return;
  current = to;
  Fiber::change(from != nullptr ? from->fiber : main_, to != nullptr ? to->fiber : main_, ends);
}

void Machine::wait(const char* what, int detail) {
  Thread& self = *current;
  self.waits = what;
  self.wait_detail = detail;
  change_to(next(), false);
  if (cancelling_) throw Cancelled{};
}

void Machine::wake(const std::vector<Thread*>& threads) {
  for (auto it = threads.rbegin(); it != threads.rend(); ++it) {
    (*it)->waits = nullptr;
    push_front(*it);
  }
}

void Machine::wake_lanes(Warp& warp, const Thread* but) {
  const bool reverse = options_.order == Order::reverse;
  for (int i = 0; i < 32; ++i) {
    Thread* thread = warp.lanes[reverse ? i : 31 - i];
    if (thread == but) continue;
    thread->waits = nullptr;
    push_front(thread);
  }
}

void Machine::perhaps_yield() {
  if (options_.order != Order::random || draw() % 2 == 0) return;
  push_front(current);
  change_to(next(), false);
  if (cancelling_) throw Cancelled{};
}

namespace {

std::string what_of(const Block& block, const Thread& thread) {
  if (thread.ended) return "have ended";
  if (thread.waits == nullptr) return "can run";
  std::string text = std::string("wait at ") + thread.waits;
  const std::string name = thread.waits;
  if (name == "sync_block" || name == "sync_some") {
    const SomeBarrier& barrier = block.barriers[thread.wait_detail];
    if (name == "sync_some") text.append(" ").append(std::to_string(thread.wait_detail));
    text += " (" + std::to_string(barrier.waiting.size()) + " of " +
            std::to_string(barrier.expected) + " threads are there)";
  } else if (name == "barrier_wait") {
    text += " for parity " + std::to_string(thread.wait_detail) + " of the barrier at byte " +
            std::to_string(reinterpret_cast<const char*>(thread.wait_barrier) - block.shared);
  }
  return text;
}

}  // namespace

std::string Machine::deadlock() const {
  std::string text = "kernel '" + grid_.name + "': deadlock:";
  for (const auto& block : blocks_) {
    text += " block " + std::to_string(block->index) + ":";
    for (std::size_t first = 0; first < block->threads.size();) {
      const std::string what = what_of(*block, *block->threads[first]);
      std::size_t end = first + 1;
      while (end < block->threads.size() && what_of(*block, *block->threads[end]) == what) ++end;
      text += (end - first > 1 ? " threads " + std::to_string(first) + "-" + std::to_string(end - 1)
                               : " thread " + std::to_string(first)) +
              " " + what + ";";
      first = end;
    }
    if (text.size() > 4000) return text.substr(0, 4000) + " ...";
  }
  return text;
}

void run(const Grid& grid, const RunOptions& options, const std::function<void()>& body) {
  const auto require = [&](bool holds, const std::string& text) {
    if (!holds) throw Error("kernel '" + grid.name + "': " + text);
  };
  require(grid.threads >= 32 && grid.threads <= 1024 && grid.threads % 32 == 0,
          std::to_string(grid.threads) + " threads a block; whole warps up to 1,024 can be");
  require(grid.cluster >= 1 && grid.cluster <= 16 && grid.blocks >= 1 &&
              grid.blocks % grid.cluster == 0,
          std::to_string(grid.blocks) + " blocks in clusters of " + std::to_string(grid.cluster));
  require(machine == nullptr, "launched from a kernel");
  struct Reset {
    ~Reset() {
      machine = nullptr;
      current = nullptr;
    }
  } reset;
  Machine here(grid, options, body);
  machine = &here;
  here.run();
}

}  // namespace softmpc::cuda::emulator
