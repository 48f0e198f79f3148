// SPDX-License-Identifier: Apache-2.0
// What the compiler made of a kernel, read from its cubin (an ELF file): registers, memory, and how
// often an instruction stands in it.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace softmpc::cuda {

struct CubinFacts {
  int registers = 0;           ///< a thread
  int frame_bytes = 0;         ///< of local memory a thread: spilled registers and local arrays
  int stack_bytes = 0;         ///< at least needed for calls and the frame
  int static_shared = 0;       ///< a block
  int parameter_bytes = 0;     ///< of the kernel's arguments
  std::map<int, int> opcodes;  ///< low 12 bits of each instruction: how often

  int count(int opcode) const {
    const auto found = opcodes.find(opcode);
    return found == opcodes.end() ? 0 : found->second;
  }
  /// Conversions of numbers to integers. A division of integers by what is no constant has one, of
  /// 64 bits two (beside conversions back and a reciprocal: 150 clocks and more in a row), exp of a
  /// double one.
  int to_integer() const;
};

// Opcodes that tests count, the same from sm_80 to sm_90. Of wgmma: a in registers, a in shared
// memory.
inline constexpr int kMufu = 0x308, kHmma = 0x23c, kLdsm = 0x83b;
inline constexpr int kHgmma = 0xdf0, kHgmmaShared = 0x9f0;

/// Facts of the kernel named `kernel`. Throws Error saying what is wrong with the file.
CubinFacts read_cubin(std::string_view cubin, const std::string& kernel);

}  // namespace softmpc::cuda
