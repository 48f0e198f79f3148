// SPDX-License-Identifier: Apache-2.0
// The emulated machine: a grid of blocks, a fiber a thread, one OS thread for all. A thread runs
// until it must wait for others; who runs next is the order's choice, and a correct kernel gives
// the same bits under every order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "emulator/fiber.h"

namespace softmpc::cuda::emulator {

/// Who runs next: the lowest thread of the lowest block, the highest, or anyone (seeded).
enum class Order { forward, reverse, random };
/// When what happens behind a thread's back (copies, products of a warpgroup, stores to other
/// blocks) happens: at the last moment, when a wait demands it; at once; or by a coin.
enum class Timing { late, early, random };

struct RunOptions {
  Order order = Order::forward;
  Timing timing = Timing::late;
  std::uint64_t seed = 1;
};
/// Under all of these a kernel's results must be the same bits.
std::vector<RunOptions> all_orders(int random_seeds = 3);
std::string to_string(const RunOptions& options);

struct Grid {
  std::string name;  ///< of the kernel, for messages
  int blocks = 1, threads = 32, cluster = 1;
  std::size_t shared_bytes = 0;
};
/// Runs `body` once a thread; blocks (or clusters of them) one after another, so that none may wait
/// for another. Throws Error if the kernel breaks a rule of the machine or deadlocks: the text
/// names kernel, block, warp and what they wait for.
void run(const Grid& grid, const RunOptions& options, const std::function<void()>& body);

// --- what the intrinsics are made of

/// What all lanes of a warp do together.
enum class Meeting : std::uint8_t {
  sync_warp,
  shuffle_xor_float,
  shuffle_xor_double,
  shuffle_xor_int,
  ballot,
  load_matrix,
  mma_f16,
  mma_bf16,
  wgmma,
  wgmma_fence,
  wgmma_commit,
  wgmma_wait,
  set_registers,
  cluster_arrive
};
const char* name_of(Meeting meeting);

struct Block;
struct Warp;

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};
struct RemoteStore {
  void* to;
  int count;
  float values[4];
};

struct Thread {
  Fiber fiber;
  int index = 0, lane = 0;
  Warp* warp = nullptr;
  Block* block = nullptr;
  bool started = false, ended = false;
  const char* waits = nullptr;  ///< for what; null while it can run
  int wait_detail = 0;          ///< barrier id or parity
  const std::uint64_t* wait_barrier = nullptr;
  std::vector<Copy> copies;             ///< asynchronous, not yet done
  std::vector<std::size_t> group_ends;  ///< ends of committed groups in `copies`
  std::vector<RemoteStore> stores;      ///< to other blocks, not yet visible
  int cluster_phase = -1;               ///< of the cluster barrier that it arrived at; -1: none
};

/// One m16n8k16 product: operands as words of two numbers, neighbours along k.
struct alignas(64) Product {
  std::uint32_t a[8][16];    // [k / 2][row]
  std::uint32_t b[8][8];     // [k / 2][column]
  float c[8][16], d[8][16];  // [column][row]
};

/// One wgmma.mma_async as a warp sees it: its 16 rows.
struct WarpgroupProduct {
  bool bf16, accumulate, a_shared;
  int n;
  std::uint64_t a_descriptor, b_descriptor;
  std::uint32_t a[32][4];
  float* d[32];
};

struct Warp {
  int index = 0;
  Block* block = nullptr;
  Thread* lanes[32] = {};
  // the meeting under way
  Meeting meeting{};
  std::uint64_t detail = 0;
  int arrived = 0;
  std::uint32_t present = 0;
  // what lanes bring and take
  Product product;
  std::uint64_t in[32], out[32];
  const void* rows[32];
  std::uint32_t matrix[32][4];
  WarpgroupProduct issue;
  // products of a warpgroup, not yet done
  std::vector<WarpgroupProduct> products;
  std::vector<std::size_t> product_groups;
  std::size_t issued = 0;
  bool fenced = false;
};

struct SomeBarrier {
  int expected = 0;
  std::uint32_t lanes[32] = {};  ///< of each warp, who is there
  std::vector<Thread*> waiting;
};

struct Block {
  int index = 0, rank = 0;
  int live = 0;  ///< threads that have not ended
  char* shared = nullptr;
  std::size_t shared_bytes = 0;
  std::vector<Thread*> threads;
  std::vector<std::unique_ptr<Warp>> warps;
  bool barrier_fence_due = false;  ///< barriers were initialised, and no fence since
  SomeBarrier barriers[16];        ///< 0: sync_block
  std::vector<std::vector<std::uint64_t>> warpgroup_calls;  ///< of each warpgroup, in order

  bool owns(const void* pointer, std::size_t bytes) const {
    const auto p = reinterpret_cast<std::uintptr_t>(pointer);
    const auto first = reinterpret_cast<std::uintptr_t>(shared);
    return p >= first && bytes <= shared_bytes && p - first <= shared_bytes - bytes;
  }
};

extern constinit thread_local Thread* current;

/// The running kernel broke a rule: it ends, and run() throws `text` behind where that was.
[[noreturn]] void fail(const std::string& text);
[[noreturn]] void diverged(Meeting meeting, std::uint64_t detail);

class Machine {
 public:
  Machine(const Grid& grid, const RunOptions& options, const std::function<void()>& body);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  void run();

  const Grid& grid() const { return grid_; }
  Block& block_of_rank(int rank) { return *blocks_[static_cast<std::size_t>(rank)]; }
  int live() const { return live_; }

  /// The current thread waits for `what` until somebody wakes it.
  void wait(const char* what, int detail = 0);
  /// These can run again, the first of them first.
  void wake(const std::vector<Thread*>& threads);
  void wake_lanes(Warp& warp, const Thread* but);
  /// In random order others may run first.
  void perhaps_yield();
  /// Whether what may happen later happens now.
  bool now();

  // barrier of the cluster
  int cluster_phase = 0, cluster_arrived = 0;
  void cluster_check();

  // bulk copies under way, oldest first, and who waits for barriers in shared memory
  struct Bulk {
    Copy copy;
    std::uint64_t* barrier;
  };
  std::vector<Bulk> bulk;
  std::vector<Thread*> barrier_waiters;

 private:
  friend struct ThreadMain;
  void start_cluster(int first_block);
  void start_block(Block& block, int index, int rank);
  void run_cluster();
  void finish_cluster();
  void thread_ended(Thread& thread);
  void cancel();
  Thread* next();
  std::size_t some_bulk();
  void push_front(Thread* thread);
  void change_to(Thread* to, bool ends);
  std::string deadlock() const;
  std::uint64_t draw();

  const Grid& grid_;
  RunOptions options_;
  const std::function<void()>& body_;
  Fiber main_;
  std::vector<std::unique_ptr<Block>> blocks_;  // of the running cluster
  std::vector<Thread*> ready_;                  // a ring
  std::size_t head_ = 0, count_ = 0;
  int live_ = 0;
  std::uint64_t random_;
  std::string failure_;
  bool cancelling_ = false;
};

extern constinit thread_local Machine* machine;

/// All 32 lanes call; the last to come does `finish` for all.
template <class Finish>
void meet(Meeting meeting, std::uint64_t detail, const Finish& finish) {
  Thread& thread = *current;
  Warp& warp = *thread.warp;
  if (warp.arrived == 0) {
    warp.meeting = meeting;
    warp.detail = detail;
  } else if (warp.meeting != meeting || warp.detail != detail) {
    diverged(meeting, detail);
  }
  warp.present |= 1u << thread.lane;
  if (++warp.arrived < 32) return machine->wait(name_of(meeting));
  warp.arrived = 0;
  warp.present = 0;
  finish();
  machine->wake_lanes(warp, &thread);
  machine->perhaps_yield();
}

/// What a thread has under way at its end.
void finish_thread(Thread& thread);
/// Does one of the bulk copies under way and counts it at its barrier.
void finish_bulk(std::size_t which);

}  // namespace softmpc::cuda::emulator
