// SPDX-License-Identifier: Apache-2.0
// Weights on their way from L2 through a ring in shared memory, in the order that all tiles of a
// block use them: the members of the steps, then the critic. A granule is a few steps of 32 inputs.
#pragma once

#include "intrinsics.h"
#include "layout.h"
#include "ring_shape.h"

namespace softmpc::cuda {

/// Walks over the granules of a sequence of networks. `Program` has
///   int count();  NetShape shape(int i);  const std::uint32_t* weights(int i).
template <class Program>
class GranuleCursor {
 public:
  SOFTMPC_DEVICE explicit GranuleCursor(const Program& program) : program_(program) {}
  SOFTMPC_DEVICE bool done() const { return network_ >= program_.count(); }
  SOFTMPC_DEVICE const std::uint32_t* words() const {
    const NetShape shape = program_.shape(network_);
    return program_.weights(network_) + shape.first_word(layer_) +
           granule_ * granule_steps(shape, layer_) * shape.n_tiles(layer_) * 128;
  }
  SOFTMPC_DEVICE int bytes() const {
    const NetShape shape = program_.shape(network_);
    return 4 * 128 * shape.n_tiles(layer_) * steps_of_granule(shape, layer_, granule_);
  }
  SOFTMPC_DEVICE void advance() {
    const NetShape shape = program_.shape(network_);
    if (++granule_ < granules(shape, layer_)) return;
    granule_ = 0;
    if (++layer_ <= shape.layers) return;
    layer_ = 0;
    ++network_;
  }

 private:
  const Program& program_;
  int network_ = 0, layer_ = 0, granule_ = 0;
};

/// The ring of a block. `readers` warps read every granule, one thread more fills.
template <class Program, int readers>
class WeightRing {
 public:
  /// All threads of the block construct, with the same arguments.
  SOFTMPC_DEVICE WeightRing(char* shared, int stages, const Program& program)
      : stages_(stages),
        full_(reinterpret_cast<Barrier*>(shared + stages * kGranuleBytes)),
        empty_(full_ + stages),
        data_(shared),
        cursor_(program) {
    if (thread() == 0) {
      for (int s = 0; s < stages_; ++s) {
        barrier_init(full_ + s, 1);
        barrier_init(empty_ + s, readers);
      }
      barrier_init_fence();
    }
    sync_block();
  }

  /// Brings everything, as stages become free. One thread, which does nothing else.
  SOFTMPC_DEVICE void fill() {
    SOFTMPC_KEEP_LOOP
    for (int filled = 0; !cursor_.done(); ++filled, cursor_.advance()) {
      const int stage = filled % stages_, bytes = cursor_.bytes();
      if (filled >= stages_) barrier_wait(empty_ + stage, (filled / stages_ - 1) & 1);
      barrier_expect(full_ + stage, bytes);
      copy_bulk(data_ + stage * kGranuleBytes, cursor_.words(), bytes, full_ + stage);
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
  SOFTMPC_DEVICE void step(int& stage, int& parity) const {
    if (++stage < stages_) return;
    stage = 0;
    parity ^= 1;
  }

  int stages_;
  Barrier *full_, *empty_;
  char* data_;
  GranuleCursor<Program> cursor_;
  int stage_ = 0, parity_ = 0, released_ = 0;
};

}  // namespace softmpc::cuda
