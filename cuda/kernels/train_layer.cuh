// SPDX-License-Identifier: Apache-2.0
// One layer of a training step, of all networks at once: a launch for each layer forward, one for
// each backward, and every block a slice of kTrainSlice units of one network. Backward a block owns
// the columns W_l[:, T] of its slice T: it reads them for dL/dh and then writes their successors,
// so that no block needs what another one changes. The first layer's rows W_0[T, :] need only the
// slice's own dL/dz and go along with layer 1. Where hidden layers have LayerNorm, its launches
// (train_norm.cuh) come between these: forward a layer ends with its sums, backward with dL/dh.
#pragma once

#include "intrinsics.h"
#include "softmpc/hd/adam.h"
#include "softmpc/hd/losses.h"
#include "softmpc/hd/math.h"
#include "train_job.h"
#include "train_replay.cuh"
#include "train_tile.cuh"

namespace softmpc::cuda {

// z_l = W_l h_{l-1} + b_l, h_l = silu(z_l)
SOFTMPC_KERNEL void train_forward(const TrainJob& job) {
  TrainMemory& m = *reinterpret_cast<TrainMemory*>(shared_memory());
  const int which = stack_of_block(job), l = job.layer[which];
  const TrainStack& s = job.stack[which];
  const int in = s.inputs(l), out = s.outputs(l), slices = parts_of(out, kTrainSlice);
  const int index = block() - job.first_block[which];
  const int chunk = index % s.chunks(), unit0 = index / s.chunks() % slices * kTrainSlice;
  const int network = index / s.chunks() / slices;
  const float* parameters = s.parameters + s.base(network);
  const float* from = l == 0 ? s.input : s.h + s.block_of(l - 1, network);
  float sum[4][4] = {};
  for (int k0 = 0; k0 < in; k0 += kTrainTile) {
    const int count = in - k0 < kTrainTile ? in - k0 : kTrainTile;
    if (k0 > 0) sync_block();
    load_columns(from + static_cast<std::size_t>(k0) * s.stride, s.stride, count, chunk, m.rows);
    load_turned(parameters + s.table.weight[l], in, out, unit0, k0, count, m.weight);
    arrived();
    accumulate(m, count, sum);
  }
  const float* bias = parameters + s.table.bias[l];
  const auto z_of = [&](int unit, int, float total) {
    return unit0 + unit < out ? total + bias[unit0 + unit] : 0.0f;
  };
  reduce(m, sum, z_of, [&](int unit, int row, float z) {
    if (unit0 + unit >= out) return;
    const std::size_t at =
        static_cast<std::size_t>(unit0 + unit) * s.stride + chunk * kTrainRows + row;
    if (l == s.hidden) {
      s.y[static_cast<std::size_t>(network) * out * s.stride + at] = z;
      return;
    }
    s.z[s.block_of(l, network) + at] = z;
    if (!s.normalises()) s.h[s.block_of(l, network) + at] = hd::silu(z);
  });
}

/// dL/dy of output o of a member, row r, unscaled for the loss: -> loss, scaled gradient in dy.
SOFTMPC_DEVICE double member_error(const TrainStack& s, const float* y, int o, int r, float& dy) {
  const auto at = [&](const float* block, int i) {
    return block[static_cast<std::size_t>(i) * s.stride + r];
  };
  const int end = s.regressed + s.termination;
  float de = 0, draw = 0, loss = 0;
  if (s.termination && o == s.regressed) {
    loss = hd::binary_error(at(y, o), s.terminated[r], de);
    dy = static_cast<float>(s.termination_scale) * de;
    return s.termination_scale * loss;
  }
  if (s.loss == kLossGaussian) {
    const int i = o < s.regressed ? o : o - end;
    loss = hd::gaussian_error(at(y, i) - at(s.goal, i), at(y, end + i), de, draw);
    // counted once, with the first of the two outputs
    if (o >= end) {
      loss = 0;
      de = draw;
    }
  } else {
    const float e = at(y, o) - at(s.goal, o);
    loss = s.loss == kLossHuber ? hd::huber_error(e, s.huber_delta, de) : hd::squared_error(e, de);
  }
  dy = static_cast<float>(s.scale) * de;
  return s.scale * loss;
}

SOFTMPC_DEVICE float goal_of_critic(const TrainStack& s, int r) {
  const int least = least_critic(s.results, s.critics, s.rows, r);
  return hd::critic_target(s.reward[r], s.gamma,
                           s.results[static_cast<std::size_t>(least) * s.rows + r].value,
                           s.terminated[r], s.end_cost);
}

SOFTMPC_DEVICE float critic_error(const TrainStack& s, float q, float goal, double scale,
                                  float& dy) {
  float de = 0;
  const float e = q - goal;
  const float loss =
      s.loss == kLossHuber ? hd::huber_error(e, s.huber_delta, de) : hd::squared_error(e, de);
  dy = static_cast<float>(scale) * de;
  return loss;
}

/// One block's part of the backward pass.
class TrainBackward {
 public:
  SOFTMPC_DEVICE TrainBackward(const TrainStack& stack, int layer, int index)
      : s(stack),
        m(*reinterpret_cast<TrainMemory*>(shared_memory())),
        l(layer),
        slices(parts_of(stack.width, kTrainSlice)),
        slice(index % slices),
        network(index / slices),
        unit0(slice * kTrainSlice),
        units(stack.width - unit0 < kTrainSlice ? stack.width - unit0 : kTrainSlice) {}

  SOFTMPC_DEVICE void run() {
    if (l == s.hidden && slice == 0 && !s.slope) sum_losses();
    if (l > 0) {
      for (int chunk = 0; chunk < s.chunks(); ++chunk) propagate(chunk);
      const float* h = s.h + s.block_of(l - 1, network) + unit_offset();
      descend(l, s.outputs(l), h, s.inputs(l), 1);
    }
    if (l == last_backward(s))
      descend(0, s.in, s.dz + s.block_of(0, network) + unit_offset(), 1, s.in);
    if (s.normalises() && l < s.hidden) step_norm();
  }

 private:
  const TrainStack& s;
  TrainMemory& m;
  const int l, slices, slice, network, unit0, units;

  SOFTMPC_DEVICE std::size_t unit_offset() const {
    return static_cast<std::size_t>(unit0) * s.stride;
  }
  SOFTMPC_DEVICE const float* outputs() const {
    return s.y + static_cast<std::size_t>(network) * s.out * s.stride;
  }
  SOFTMPC_DEVICE const float* weights(int layer) const {
    return s.parameters + s.base(network) + s.table.weight[layer];
  }

  /// dL/dy of output o, row r.
  SOFTMPC_DEVICE double error(int o, int r, float& dy) const {
    if (s.slope) {
      dy = s.slope[static_cast<std::size_t>(o) * s.stride + r];
      return 0;
    }
    if (!s.results) return member_error(s, outputs(), o, r, dy);
    return static_cast<double>(critic_error(s, outputs()[r], goal_of_critic(s, r), s.scale, dy));
  }
  /// Of row r behind the batch: of an imagined one, or 0.
  SOFTMPC_DEVICE float imagined_slope(int r) const {
    const int i = r - s.first_imagined;
    float dy = 0;
    if (i >= 0 && i < s.imagined && s.alive[i] > 0)
      critic_error(s, outputs()[r], s.imagined_goal[i], s.imagined_scale, dy);
    return dy;
  }

  SOFTMPC_DEVICE void sum_losses() {
    double loss = 0, q = 0, goal = 0;
    for (int i = thread(); i < s.out * s.rows; i += kTrainThreads) {
      const int r = i % s.rows;
      float dy;
      loss += error(i / s.rows, r, dy);
      if (!s.results) continue;
      q += static_cast<double>(outputs()[r]);
      goal += static_cast<double>(goal_of_critic(s, r));
    }
    double* scratch = reinterpret_cast<double*>(m.partial);
    loss = sum_block(loss, scratch);
    q = sum_block(q, scratch);
    goal = sum_block(goal, scratch);
    if (thread() > 0) return;
    s.loss_sum[network] = loss;
    s.q_sum[network] = q;
    s.goal_sum[network] = goal;
  }

  /// dL/dz_l of outputs o0.., into the tile.
  SOFTMPC_DEVICE void load_gradient(int o0, int count, int chunk) {
    if (l < s.hidden) {
      const float* from = s.dz + s.block_of(l, network) + static_cast<std::size_t>(o0) * s.stride;
      load_columns(from, s.stride, count, chunk, m.rows);
      return;
    }
    each_batched<float, 2>(
        count * kTrainRows,
        [&](int i) {
          const int r = chunk * kTrainRows + i % kTrainRows;
          float dy = 0;
          if (r >= s.rows) return imagined_slope(r);
          error(o0 + i / kTrainRows, r, dy);
          return dy;
        },
        [&](int i, float dy) { m.rows[i / kTrainRows * kRowStride + i % kTrainRows] = dy; });
  }

  // dz_{l-1} = silu'(z_{l-1}) (W_l' dz_l), the slice's units; for LayerNorm W_l' dz_l alone
  SOFTMPC_DEVICE void propagate(int chunk) {
    const int out = s.outputs(l);
    float sum[4][4] = {};
    for (int o0 = 0; o0 < out; o0 += kTrainTile) {
      const int count = out - o0 < kTrainTile ? out - o0 : kTrainTile;
      sync_block();
      load_gradient(o0, count, chunk);
      load_straight(weights(l), s.inputs(l), unit0, o0, count, m.weight);
      arrived();
      accumulate(m, count, sum);
    }
    const float* z = s.z + s.block_of(l - 1, network) + unit_offset();
    float* dz = s.dz + s.block_of(l - 1, network) + unit_offset();
    const auto at = [&](int unit, int row) {
      return static_cast<std::size_t>(unit) * s.stride + chunk * kTrainRows + row;
    };
    reduce(
        m, sum,
        [&](int unit, int row, float total) {
          if (unit >= units) return 0.0f;
          return s.normalises() ? total : total * hd::silu_derivative(z[at(unit, row)]);
        },
        [&](int unit, int row, float value) {
          if (unit < units) dz[at(unit, row)] = value;
        });
  }

  /// Gradient and Adam of W[o, t], o < count, t in the slice: sum over rows of a[o] b[t], where for
  /// layer l a is dz_l and b the slice of h_{l-1}, for layer 0 a is the input and b the slice of
  /// dz_0. W[o, t] lies at o * o_stride + t * t_stride of the layer.
  SOFTMPC_DEVICE void descend(int layer, int count, const float* b, int o_stride, int t_stride) {
    const bool first = layer == 0;
    for (int o0 = 0; o0 < count; o0 += kTrainTile) {
      const int tile = count - o0 < kTrainTile ? count - o0 : kTrainTile;
      float sum[4][4] = {}, bias = 0;
      for (int chunk = 0; chunk < s.chunks(); ++chunk) {
        sync_block();
        if (first)
          load_columns(s.input + static_cast<std::size_t>(o0) * s.stride, s.stride, tile, chunk,
                       m.rows);
        else if (count > kTrainTile || s.chunks() > 1)  // else propagate() has left it there
          load_gradient(o0, tile, chunk);
        load_columns(b, s.stride, units, chunk, m.slice);
        arrived();
        outer_product(m, sum);
        bias += bias_gradient(first, o0, tile);
      }
      step_biases(layer, first, o0, tile, bias);
      step_weights(layer, o0, tile, sum, o_stride, t_stride);
    }
  }

  /// Of the thread's component: of the slice's own for the first layer, else of each slice's share.
  SOFTMPC_DEVICE bool has_bias(bool first, int o0, int tile) const {
    const int c = thread();
    return first ? o0 == 0 && c < units : c < tile && (o0 + c) % slices == slice;
  }
  SOFTMPC_DEVICE float bias_gradient(bool first, int o0, int tile) const {
    if (!has_bias(first, o0, tile)) return 0;
    return sum_rows((first ? m.slice : m.rows) + thread() * kRowStride);
  }
  SOFTMPC_DEVICE void step_biases(int layer, bool first, int o0, int tile, float g) {
    const std::size_t bias = s.table.bias[layer] + (first ? unit0 : o0);
    step<8>(
        has_bias(first, o0, tile) ? kTrainThreads : 0, [&](int i) { return bias + i; },
        [&](int) { return g; });
  }

  /// Scale and shift of the slice's units of layer l, from what train_norm_backward summed.
  SOFTMPC_DEVICE void step_norm() {
    const auto unit = [&](int i) { return unit0 + i % units; };
    step<1>(
        2 * units,
        [&](int i) {
          return static_cast<std::size_t>((i < units ? s.table.norm_scale : s.table.norm_shift)[l] +
                                          unit(i));
        },
        [&](int i) {
          float sum = 0;
          for (int chunk = 0; chunk < s.chunks(); ++chunk)
            sum += s.norm_sums[s.norm_sums_of(network, chunk) + i / units * s.width + unit(i)];
          return sum;
        });
  }

  SOFTMPC_DEVICE void step_weights(int layer, int o0, int tile, const float (&sum)[4][4],
                                   int o_stride, int t_stride) {
    sync_block();
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        m.weight[own_component(i) * kSliceStride + own_unit(j)] = sum[i][j];
    sync_block();
    // neighbours in memory are neighbouring threads
    const bool along = t_stride == 1;
    const auto component = [&](int i) { return along ? i / units : i % tile; };
    const auto unit = [&](int i) { return along ? i % units : i / tile; };
    step<8>(
        tile * units,
        [&](int i) {
          return s.table.weight[layer] + static_cast<std::size_t>(o0 + component(i)) * o_stride +
                 static_cast<std::size_t>(unit0 + unit(i)) * t_stride;
        },
        [&](int i) { return m.weight[component(i) * kSliceStride + unit(i)]; });
  }

  struct Parameter {
    float value, mean, variance, target;
  };
  /// Adam on parameters place(i), i < count, of the network with gradients g(i), and their targets;
  /// a thread loads `batch` of them before it goes on.
  template <int batch, class At, class Gradient>
  SOFTMPC_DEVICE void step(int count, const At& place, const Gradient& g) {
    const hd::AdamStep adam = *s.step;
    const bool move = s.target && *s.move_target;
    const std::size_t base = s.base(network);
    each_batched<Parameter, batch>(
        count,
        [&](int i) {
          const std::size_t at = base + place(i);
          return Parameter{s.parameters[at], s.mean[at], s.variance[at],
                           move ? s.target[at] : 0.0f};
        },
        [&](int i, Parameter p) {
          const std::size_t at = base + place(i);
          const float next = hd::adam(adam, g(i), p.value, p.mean, p.variance);
          s.parameters[at] = next;
          s.mean[at] = p.mean;
          s.variance[at] = p.variance;
          if (move) s.target[at] = hd::polyak(p.target, next, s.tau);
        });
  }
};

/// Layers hidden .. last_backward().
SOFTMPC_KERNEL void train_backward(const TrainJob& job) {
  const int which = stack_of_block(job);
  TrainBackward(job.stack[which], job.layer[which], block() - job.first_block[which]).run();
}

}  // namespace softmpc::cuda
