// SPDX-License-Identifier: Apache-2.0
// The numbers that a kernel is specialised for. A kernel reads them as `Sizes::nx`: compiled at
// load they are constants of a generated struct, in the tests' emulator variables. Only the padded
// widths may size arrays or appear in `if constexpr`.
#pragma once

namespace softmpc::cuda {

// X(name): one line here is a field of KernelConstants, of the generated struct and of the
// emulator.
#define SOFTMPC_KERNEL_CONSTANTS(X)                                                \
  X(nx)              /* state entries */                                           \
  X(nu)              /* action entries */                                          \
  X(rollouts)        /* K */                                                       \
  X(horizon)         /* H */                                                       \
  X(members)         /* E */                                                       \
  X(particles)       /* P, 1 where each rollout has actions of its own */          \
  X(dynamics_layers) /* hidden layers */                                           \
  X(critic_layers)                                                                 \
  X(policy_layers)                                                                 \
  X(dynamics_norm) /* units that LayerNorm of a hidden layer goes over, 0: none */ \
  X(critic_norm)                                                                   \
  X(policy_norm)                                                                   \
  X(dynamics_outputs) /* nx, and one each for a learned reward and termination */  \
  X(uniform_prior)    /* 0: Gaussian */                                            \
  X(policy_residual)  /* 1: a policy network adds mu(x) */                         \
  X(member_draw)      /* MemberDraw as a number */                                 \
  X(handle_terminations)                                                           \
  X(learned_reward)                                                                \
  X(learned_termination)                                                           \
  X(costly_end)  /* 1: job.end_cost is charged */                                  \
  X(fixed_noise) /* noise and members are given, for verification */               \
  X(correlated)  /* 1: Sigma is a full matrix */                                   \
  X(slots)       /* rollouts of a block of rollout_analytic, a power of two */     \
  X(chunk)       /* its steps between barriers */

/// Values of one specialisation, on the host.
struct KernelConstants {
#define SOFTMPC_FIELD(name) int name = 0;
  SOFTMPC_KERNEL_CONSTANTS(SOFTMPC_FIELD)
#undef SOFTMPC_FIELD
  // padded widths of the hidden layers, one of kPaddedWidths; constants everywhere
  int dynamics_width = 0, critic_width = 0, policy_width = 0;
  bool operator==(const KernelConstants&) const = default;
};

inline constexpr int kPaddedWidths[] = {64, 128, 256, 512};

/// The least padded width that holds `width`, 0 if none does. Padding is exact: silu(0) = 0.
constexpr int padded_width(int width) {
  for (int w : kPaddedWidths)
    if (width <= w) return w;
  return 0;
}

}  // namespace softmpc::cuda
