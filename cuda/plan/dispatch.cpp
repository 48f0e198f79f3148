// SPDX-License-Identifier: Apache-2.0
#include "plan/dispatch.h"

#include <algorithm>
#include <string>

#include "kernels/analytic_memory.h"
#include "kernels/engine_bytes.h"
#include "kernels/ring_shape.h"
#include "kernels/tile_memory.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

// Where one path becomes faster than another is counted in waves, sets of blocks that run at a
// time: a second wave takes as long as the first. What a wave takes is predicted from machine code
// (a step, in thousands of clocks: tile of 16 7.2, two tiles of 32 10.5, a block of wgmma 16.5), to
// be replaced by measurements.
constexpr int kMostAWaveOfTiles = 64;  // rollouts a processor: two tiles of 32

const char* name_of(Number number) {
  return number == Number::f16 ? "Number::f16" : "Number::bf16";
}
const char* name_of(Operands operands) {
  switch (operands) {
    case Operands::single:
      return "Operands::single";
    case Operands::edges:
      return "Operands::edges";
    case Operands::split:
      return "Operands::split";
  }
  return "";
}
/// Template arguments of a 16-bit path.
std::string arguments(const NetOperands& o) {
  return std::string(name_of(o.number)) + ", " + name_of(o.members) + ", " + name_of(o.critic) +
         ">";
}

std::size_t tile_bytes(const KernelConstants& c, int slots, const NetOperands& o) {
  const int words = engine_words(c, o.members, o.critic);
  const int widest_net = widest(c.dynamics_width, c.critic_width, c.policy_width);
  return TileMemory(c, slots, 16, words, nullptr, mma_engine_bytes(slots, widest_net, words)).bytes;
}

std::size_t plain_bytes(const KernelConstants& c, int slots) {
  const int most = plain_widest(c);
  return TileMemory(c, slots, 1, most, nullptr, plain_engine_bytes(slots, most)).bytes;
}

[[noreturn]] void no_room(const char* path, std::size_t bytes, const DeviceFacts& device) {
  throw UsageError(std::string("planner: path ") + path + " needs " + std::to_string(bytes) +
                   " bytes of shared memory for these sizes, a block of " + device.name + " has " +
                   std::to_string(device.shared_per_block));
}

/// The most rollouts of which every processor has `slots`.
std::int64_t fills(const DeviceFacts& device, int slots) {
  return static_cast<std::int64_t>(device.processors) * slots;
}

bool normalises(const KernelConstants& c) {
  return c.dynamics_norm + c.critic_norm + c.policy_norm > 0;
}

/// Whether two blocks find room in a processor: in its shared memory, which costs each 1 KiB more,
/// and in its registers, which LayerNorm asks more of.
bool share_a_processor(const KernelConstants& c, std::size_t bytes, const DeviceFacts& device) {
  return !normalises(c) &&
         2 * (bytes + 1024) <= static_cast<std::size_t>(device.shared_per_block) + 1024;
}

std::size_t cluster_bytes(const KernelConstants& c, int slots, const NetOperands& o) {
  const int words = engine_words(c, o.members, o.critic);
  const int widest_net = widest(c.dynamics_width, c.critic_width, c.policy_width);
  return TileMemory(c, slots, 16, words, nullptr,
                    cluster_engine_bytes(slots, widest_net, words, most_outputs(c)))
      .bytes;
}

constexpr const char* kNoLayerNorm =
    "a net has LayerNorm, which only the paths tile and plain compute";

/// Why a cluster cannot compute these sizes; empty if it can.
std::string no_cluster(const KernelConstants& c, const NetOperands& o, const DeviceFacts& device) {
  if (!device.clusters)
    return device.name + " has compute capability " + std::to_string(device.capability) +
           ", clusters need 90";
  if (normalises(c)) return kNoLayerNorm;
  if (c.member_draw != kPerStep && c.members > 1)
    return "member_draw must be per_step, one member for all rollouts of a step";
  for (int width : {c.dynamics_width, c.critic_width, c.policy_width})
    if (width % 256 != 0)
      return "hidden layers of " + std::to_string(width) +
             " padded units are not a multiple of 256";
  const std::size_t bytes = cluster_bytes(c, 16, o);
  if (bytes > static_cast<std::size_t>(device.shared_per_block))
    return std::to_string(bytes) + " bytes of shared memory are needed, a block has " +
           std::to_string(device.shared_per_block);
  return {};
}

/// Clusters that run at a time, at most: where processors are missing in a group, fewer do.
std::int64_t most_clusters(const DeviceFacts& device) { return device.processors / kClusterBlocks; }

RolloutChoice cluster(const KernelConstants& c, const NetOperands& o, std::int64_t rollouts,
                      const DeviceFacts& device) {
  const auto limit = static_cast<std::size_t>(device.shared_per_block);
  const std::int64_t clusters = most_clusters(device);
  int slots = rollouts > clusters * 16 ? 32 : 16;
  if (cluster_bytes(c, slots, o) > limit) slots = 16;
  RolloutChoice choice;
  choice.path = Path::cluster;
  choice.slots = slots;
  choice.why = "clusters of " + std::to_string(kClusterBlocks) + " blocks for " +
               std::to_string(slots) + " rollouts each, " + std::to_string(rollouts) + " at most";
  choice.source.call =
      "rollout_cluster<Sizes, Rules, " + std::to_string(slots) + ", " + arguments(o);
  choice.source.header = "rollout_cluster.cuh";
  choice.source.cluster = choice.shape.cluster = kClusterBlocks;
  choice.shape.shared_bytes = static_cast<int>(cluster_bytes(c, slots, o));
  return choice;
}

RolloutChoice tile(const KernelConstants& c, const NetOperands& o, std::int64_t rollouts,
                   const DeviceFacts& device) {
  // small tiles while they are one wave: weights then come to each at its own pace
  int slots = 16;
  if (rollouts > fills(device, 16)) slots = 32;
  if (rollouts > fills(device, kMostAWaveOfTiles)) slots = 64;
  const auto limit = static_cast<std::size_t>(device.shared_per_block);
  // sums of 64 rollouts of a layer of 512 leave no registers for its weights
  const bool wide = widest(c.dynamics_width, c.critic_width, c.policy_width) > 256;
  if (wide) slots = std::min(slots, 32);
  while (slots > 16 && tile_bytes(c, slots, o) > limit) slots /= 2;
  const std::size_t bytes = tile_bytes(c, slots, o);
  if (bytes > limit) no_room("tile", bytes, device);
  RolloutChoice choice;
  choice.path = Path::tile;
  choice.slots = slots;
  choice.why = "tiles of " + std::to_string(slots) + " rollouts for up to " +
               std::to_string(rollouts) + " on " + std::to_string(device.processors) +
               " processors";
  if (normalises(c)) choice.why += ", the 16-bit path with LayerNorm";
  choice.source.call = "rollout_tile<Sizes, Rules, " + std::to_string(slots) + ", " + arguments(o);
  choice.source.header = "rollout_tile.cuh";
  // one computes while the other waits
  if (slots == 32 && !wide && share_a_processor(c, bytes, device))
    choice.source.blocks_per_processor = 2;
  choice.shape.shared_bytes = static_cast<int>(bytes);
  return choice;
}

RolloutChoice plain(const KernelConstants& c, const DeviceFacts& device) {
  const auto limit = static_cast<std::size_t>(device.shared_per_block);
  int slots = 16;
  while (slots > 1 && plain_bytes(c, slots) > limit) slots /= 2;
  const std::size_t bytes = plain_bytes(c, slots);
  if (bytes > limit) no_room("plain", bytes, device);
  RolloutChoice choice;
  choice.path = Path::plain;
  choice.slots = slots;
  choice.why = "float32 operands, tiles of " + std::to_string(slots) + " rollouts";
  choice.source.call = "rollout_plain<Sizes, Rules, " + std::to_string(slots) + ">";
  choice.source.header = "rollout_tile.cuh";
  if (share_a_processor(c, bytes, device)) choice.source.blocks_per_processor = 2;
  choice.shape.shared_bytes = static_cast<int>(bytes);
  return choice;
}

std::size_t wgmma_bytes(const KernelConstants& c, int stages, const NetOperands& o) {
  const int engine = wgmma_activation_bytes(c, o.members, o.critic);
  const TileMemory tile(c, 64, 64, 0, nullptr, engine);
  return static_cast<std::size_t>(ring_bytes(stages)) + member_table_bytes(c.horizon) +
         kWgmmaTiles * tile.bytes;
}

constexpr int kFewestStages = 3;  // one read, one about to be, one on its way

/// Why warpgroups cannot compute these sizes; empty if they can.
std::string no_wgmma(const KernelConstants& c, const NetOperands& o, const DeviceFacts& device) {
  if (device.capability != 90)
    return device.name + " has compute capability " + std::to_string(device.capability) +
           ", these instructions need 90";
  if (normalises(c)) return kNoLayerNorm;
  if (c.member_draw != kPerStep && c.members > 1)
    return "member_draw must be per_step, one member for all rollouts of a step";
  if (c.policy_residual) return "control_mode policy_residual evaluates a policy in between";
  if (widest(c.dynamics_width, c.critic_width, 0) > 256 || c.dynamics_outputs > 256)
    return "hidden layers and outputs must be at most 256 wide";
  const std::size_t bytes = wgmma_bytes(c, kFewestStages, o);
  if (bytes > static_cast<std::size_t>(device.shared_per_block))
    return std::to_string(bytes) + " bytes of shared memory are needed, a block has " +
           std::to_string(device.shared_per_block);
  return {};
}

RolloutChoice wgmma(const KernelConstants& c, const NetOperands& o, std::int64_t rollouts,
                    const DeviceFacts& device) {
  const auto limit = static_cast<std::size_t>(device.shared_per_block);
  int stages = 8;
  while (stages > kFewestStages && wgmma_bytes(c, stages, o) > limit) --stages;
  RolloutChoice choice;
  choice.path = Path::wgmma;
  choice.slots = 64 * kWgmmaTiles;
  choice.order = WeightOrder::columns;
  choice.ring_stages = stages;
  choice.why = "two warpgroups of 64 rollouts a block, weights through a ring of " +
               std::to_string(stages) + " stages, up to " + std::to_string(rollouts) + " rollouts";
  choice.source.call = "rollout_wgmma<Sizes, Rules, " +
                       std::to_string(wgmma_outputs(c.dynamics_outputs)) + ", " + arguments(o);
  choice.source.header = "rollout_wgmma.cuh";
  choice.source.threads = choice.shape.threads = kWgmmaThreads;
  choice.shape.shared_bytes = static_cast<int>(wgmma_bytes(c, stages, o));
  return choice;
}

/// Resident blocks of rollout_analytic that a processor should have, at most: more would leave too
/// few registers, of which a critic's sums take some too.
int most_resident(int room, bool critic) {
  if (room <= 8 && !critic) return 4;
  return room <= 16 ? 2 : 1;
}

/// Fewest rollouts a block that leave no block waiting for a processor, so that each gets the most
/// threads; bytes of shared memory for steps, at least of one.
/// Returns how many blocks are to share a processor, at most `resident`.
int share_out(KernelConstants& c, std::int64_t rollouts, int resident, const DeviceFacts& device) {
  const auto blocks = [&] { return (rollouts + c.slots - 1) / c.slots; };
  const auto bytes = [&] { return analytic_bytes(c); };
  const auto limit = static_cast<std::size_t>(device.shared_per_block);
  c.slots = 1;
  while (c.slots < kMostSlots && blocks() > device.processors) c.slots *= 2;
  c.chunk = 1;
  while (c.slots > 1 && bytes() > limit) c.slots /= 2;
  if (bytes() > limit) no_room("analytic", bytes(), device);
  // blocks that share a processor share its memory, of which each costs 1 KiB more
  const std::int64_t waiting = (blocks() + device.processors - 1) / device.processors;
  const int sharing = static_cast<int>(std::min<std::int64_t>(waiting, resident));
  const std::size_t share = (limit + 1024) / sharing - 1024;
  c.chunk = c.horizon + 1;
  for (int parts = 2; c.chunk > 1 && bytes() > share; ++parts)
    c.chunk = (c.horizon + parts) / parts;
  return sharing;
}

}  // namespace

RolloutChoice choose_analytic(const KernelConstants& constants, std::int64_t rollouts,
                              const DeviceFacts& device, Path wanted) {
  if (wanted != Path::automatic && wanted != Path::analytic)
    throw UsageError(std::string("planner: path ") + to_string(wanted) +
                     " evaluates networks; analytic dynamics take the path analytic");
  const int entries = std::max(constants.nx, constants.nu), room = room_for(entries);
  if (room == 0)
    throw UsageError("planner: path analytic has room for " + std::to_string(kMostRoom) +
                     " entries of a state or an action, not " + std::to_string(entries));
  RolloutChoice choice;
  choice.path = Path::analytic;
  KernelConstants& c = choice.source.constants;
  c = constants;
  choice.source.blocks_per_processor =
      share_out(c, rollouts, most_resident(room, c.critic_layers > 0), device);
  choice.slots = c.slots;
  const int asking = asking_slots(c);
  choice.why = std::string(asking ? "analytic dynamics, a critic as terminal value, "
                                  : "analytic models, ") +
               std::to_string(c.slots) + " rollouts a block and " + std::to_string(c.chunk) +
               " steps at a time for up to " + std::to_string(rollouts) + " on " +
               std::to_string(device.processors) + " processors";
  const std::string value = asking ? "CriticValue<" + std::to_string(asking) + ">" : "Value";
  choice.source.call =
      "rollout_analytic<Sizes, Rules, Dynamics, " + value + ", " + std::to_string(room) + ">";
  choice.source.header = "rollout_analytic.cuh";
  choice.source.job = "RolloutJob";
  choice.source.threads = choice.shape.threads = kAnalyticThreads;
  choice.shape.shared_bytes = static_cast<int>(analytic_bytes(c));
  return choice;
}

const char* to_string(Path path) {
  switch (path) {
    case Path::automatic:
      return "auto";
    case Path::tile:
      return "tile";
    case Path::cluster:
      return "cluster";
    case Path::wgmma:
      return "wgmma";
    case Path::plain:
      return "plain";
    case Path::analytic:
      return "analytic";
  }
  return "unknown";
}

RolloutChoice choose_rollout(const KernelConstants& constants, const NetOperands& o,
                             std::int64_t rollouts, const DeviceFacts& device, Path wanted) {
  const bool wants_plain = o.number == Number::f32;
  if (wanted == Path::analytic)
    throw UsageError("planner: path analytic is that of analytic dynamics, these are networks");
  if (wants_plain && wanted != Path::automatic && wanted != Path::plain)
    throw UsageError(std::string("planner: path ") + to_string(wanted) +
                     " computes 16-bit products; planner.precision float32 takes the path plain");
  if (!wants_plain && wanted == Path::plain)
    throw UsageError("planner: path plain computes float32; set planner.precision to float32");
  const std::string cluster_refused = no_cluster(constants, o, device);
  if (wanted == Path::cluster && !cluster_refused.empty())
    throw UsageError("planner: path cluster cannot run here: " + cluster_refused);
  const std::string wgmma_refused = no_wgmma(constants, o, device);
  if (wanted == Path::wgmma && !wgmma_refused.empty())
    throw UsageError("planner: path wgmma cannot run here: " + wgmma_refused);
  const bool any = wanted == Path::automatic;
  RolloutChoice choice;
  if (wants_plain)
    choice = plain(constants, device);
  else if (wanted == Path::cluster ||
           (any && rollouts <= 32 * most_clusters(device) && cluster_refused.empty()))
    choice = cluster(constants, o, rollouts, device);
  else if (wanted == Path::wgmma ||
           (any && rollouts > fills(device, kMostAWaveOfTiles) && wgmma_refused.empty()))
    choice = wgmma(constants, o, rollouts, device);
  else
    choice = tile(constants, o, rollouts, device);
  choice.source.job = "RolloutJob";
  choice.source.constants = constants;
  return choice;
}

}  // namespace softmpc::cuda
