// SPDX-License-Identifier: Apache-2.0
// Sampling, write-back, running moments and order statistics on Thrust. One source, two builds:
// softmpc_algorithms by the host's compiler (pointers of the host) and softmpc_algorithms_cuda by
// nvcc (pointers of the device). No CUDA header here. Every sum has one order, and neither build
// fuses multiply-adds: bits do not depend on the build, the device or the run.
//
// Calls do not wait for the device: results are there once the stream has come so far. Sizes may
// be 0. A wrong size is an Error, and so is a device that refuses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace softmpc::algorithms {

/// A cudaStream_t; null is the default stream. The host's build works at once and ignores it.
struct Stream {
  void* cuda = nullptr;
};

/// Temporaries, owned by the caller and kept from call to call: blocks by powers of two, so that a
/// call with the sizes of one before allocates nothing. For one stream at a time.
class Workspace {
 public:
  Workspace() = default;
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Blocks allocated so far.
  int blocks() const { return static_cast<int>(owned_.size()); }

  // as Thrust asks of an allocator
  using value_type = char;
  char* allocate(std::ptrdiff_t bytes);
  void deallocate(char* block, std::size_t bytes) noexcept;

 private:
  std::vector<char*> owned_;
  std::vector<char*> free_[64];  // by the power of two
};

/// No slot, no rollout.
inline constexpr std::uint32_t kNone = 0xffffffffu;

/// Draws slots in proportion to priorities, with replacement. priorities [entries]; words [draws]
/// are random words of the caller's counters (hd::replay_word); slots [draws]; probabilities
/// [draws], that of each drawn slot, may be null. Priorities that are not positive and finite are
/// never drawn; if none is, all slots are kNone with probability 0. With equal priorities the slots
/// are those of hd::replay_slot.
void sample_by_priority(Stream stream, Workspace& workspace, const float* priorities,
                        std::uint32_t entries, const std::uint32_t* words, int draws,
                        std::uint32_t* slots, float* probabilities = nullptr);

/// Rows that go to a table, both with `stride` floats from row to row.
struct RowsToSlots {
  const std::uint32_t* slots;  ///< [count]; a slot that is not below `entries` is left out
  const float* rows;           ///< [count, stride]
  int count;
  float* table;  ///< [entries, stride]
  std::uint32_t entries;
  int width;  ///< how many floats of a row are written, the first ones
  int stride;
};

/// table[slots[i]] <- rows[i]; of several rows for one slot the last wins.
void write_back(Stream stream, Workspace& workspace, const RowsToSlots& job);

/// Running moments of `width` columns: count [1], mean [width], square [width], the sum of squared
/// deviations. All 0 at first.
struct Moments {
  double* count;
  double* mean;
  double* square;
  int width;
};

/// Rows that are added one after the other; the next ones are merged by as many.
inline constexpr int kMomentRows = 256;

/// Adds rows [count, width]. The first kMomentRows give the bits of adding one after the other, as
/// RunningStatistics does.
void add_rows(Stream stream, Workspace& workspace, const Moments& moments, const float* rows,
              int count);

/// mean [width] and std [width] by hd::mean_and_std.
void read_moments(Stream stream, Workspace& workspace, const Moments& moments, float* mean,
                  float* std);

/// Costs of B problems with K rollouts each.
struct Costs {
  const float* cost;                    ///< [B, K]; what is not finite is invalid
  const std::uint8_t* valid = nullptr;  ///< [B, K] 0 for an invalid rollout; null: no further ones
  int problems = 0, rollouts = 0;       ///< B, K
};

/// What order_costs() finds.
struct CostOrder {
  std::uint32_t* order;  ///< [B, K] rollouts by cost, equals by index, invalid ones last
  std::int32_t* valid;   ///< [B] how many are valid
};

void order_costs(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& to);

/// elites [B, count]: the rollouts of least cost; kNone where fewer are valid.
void take_elites(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& order,
                 int count, std::uint32_t* elites);

/// values [B, levels] of the valid costs, linear between neighbours; NaN where none is valid.
/// Levels in [0, 1], read on the host.
void quantiles(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& order,
               std::span<const double> levels, float* values);

/// means [B]: the mean of the worst share 1 - alpha of the valid costs, alpha in [0, 1] (0: of all;
/// 1: the worst); NaN where none is valid.
void tail_means(Stream stream, Workspace& workspace, const Costs& costs, const CostOrder& order,
                double alpha, float* means);

}  // namespace softmpc::algorithms
