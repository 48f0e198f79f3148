// SPDX-License-Identifier: Apache-2.0
// Weights on their way from L2 through a ring in shared memory, in the order that all tiles of a
// block use them: the members of the steps, then the critic. A granule is a few steps of 32 inputs.
#pragma once

#include "intrinsics.h"
#include "layout.h"
#include "ring_shape.h"

namespace softmpc::cuda {

/// The ring of a block. `readers` warps read every granule, one thread more sends.
template <int readers>
class WeightRing {
 public:
  /// All threads of the block construct, with the same arguments.
  SOFTMPC_DEVICE WeightRing(char* shared, int stages)
      : stages_(stages),
        full_(reinterpret_cast<Barrier*>(shared + stages * kGranuleBytes)),
        empty_(full_ + stages),
        data_(shared) {
    if (thread() == 0) {
      for (int s = 0; s < stages_; ++s) {
        barrier_init(full_ + s, 1);
        barrier_init(empty_ + s, readers);
      }
      barrier_init_fence();
    }
    sync_block();
  }

  /// Brings a network, as stages become free. One thread, which does nothing else, calls for all
  /// networks in turn, and all readers wait for it: `shape` is to be a constant where this is
  /// inlined, and layers are unrolled, so that no size of a granule is a division at run time.
  SOFTMPC_DEVICE void send(const NetShape& shape, const std::uint32_t* weights) {
    SOFTMPC_UNROLL
    for (int l = 0; l <= shape.layers; ++l) {
      SOFTMPC_KEEP_LOOP
      for (int g = 0; g < granules(shape, l); ++g) {
        const int words = steps_of_granule(shape, l, g) * shape.n_tiles(l) * 128;
        send_granule(weights, 4 * words);
        weights += words;  // layers are neighbours
      }
    }
  }

  /// The present granule, once it is there.
  SOFTMPC_DEVICE const char* wait() {
    barrier_wait(full_ + stage_, parity_);
    return data_ + stage_ * kGranuleBytes;
  }
  /// Goes on to the next granule; release() follows for this one.
  SOFTMPC_DEVICE void advance() { step(stage_, parity_); }
  /// This warp no longer reads the oldest granule that it has not released.
  SOFTMPC_DEVICE void release() {
    if (lane() == 0) barrier_arrive(empty_ + released_);
    int unused = 0;
    step(released_, unused);
  }

 private:
  SOFTMPC_DEVICE void send_granule(const std::uint32_t* from, int bytes) {
    barrier_wait(empty_ + stage_, parity_ ^ 1);  // passes while stages are fresh
    barrier_expect(full_ + stage_, bytes);
    copy_bulk(data_ + stage_ * kGranuleBytes, from, bytes, full_ + stage_);
    advance();
  }
  SOFTMPC_DEVICE void step(int& stage, int& parity) const {
    if (++stage < stages_) return;
    stage = 0;
    parity ^= 1;
  }

  int stages_;
  Barrier *full_, *empty_;
  char* data_;
  int stage_ = 0, parity_ = 0, released_ = 0;
};

}  // namespace softmpc::cuda
