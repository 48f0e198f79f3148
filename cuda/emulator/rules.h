// SPDX-License-Identifier: Apache-2.0
// Checks that several intrinsics share.
#pragma once

#include <cstdint>

#include "emulator/machine.h"

namespace softmpc::cuda::emulator {

/// The system's part of shared memory lies before a block's own.
inline constexpr std::uint32_t kSharedBase = 1024;

void require_aligned(const void* pointer, std::size_t alignment, const char* call);
/// `bytes` from `pointer` are in the shared memory of the current thread's block.
void require_shared(const void* pointer, std::size_t bytes, const char* call);
/// The first `count` asynchronous copies of a thread.
void finish_copies(Thread& thread, std::size_t count);

}  // namespace softmpc::cuda::emulator
