// SPDX-License-Identifier: Apache-2.0
// What kernels/intrinsics_ptx.cuh has, for a CPU: the same names, signatures and meaning. A rule
// of the machine that a kernel breaks (a lane missing, a wrong alignment, an address outside of
// shared memory) ends the kernel with an Error.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "emulator/machine.h"

#define SOFTMPC_KERNEL inline
#define SOFTMPC_DEVICE inline

namespace softmpc::cuda {

// --- where am I

inline int thread() { return emulator::current->index; }
inline int threads() { return emulator::machine->grid().threads; }
inline int block() { return emulator::current->block->index; }
inline int blocks() { return emulator::machine->grid().blocks; }
inline int lane() { return emulator::current->lane; }
inline int warp() { return emulator::current->warp->index; }
/// Exactly of the launched size; every byte is 0xff at first, which is NaN in all formats.
inline char* shared_memory() { return emulator::current->block->shared; }

// --- waiting and exchanging

void sync_block();
void sync_warp();
void sync_some(int id, int count);
float shuffle_xor(float value, int mask);
double shuffle_xor(double value, int mask);
int shuffle_xor(int value, int mask);
std::uint32_t ballot(bool predicate);
std::uint32_t take_ticket(std::uint32_t* counter);
inline void fence_device() {}

// --- memory

struct alignas(16) Words4 {
  std::uint32_t x, y, z, w;
};

Words4 load_constant(const std::uint32_t* from);
/// Byte of the block's shared memory behind the 1,024 that the system has.
std::uint32_t shared_address(const void* shared);
/// The bytes arrive at the wait that covers them (Timing::late).
void copy_async(void* shared, const void* global);
void copy_commit();
namespace emulator {
void copy_wait(int pending);
}
template <int pending>
inline void copy_wait() {
  emulator::copy_wait(pending);
}

// --- 16-bit numbers

std::uint32_t pack_f16(float low, float high);
void unpack_f16(std::uint32_t word, float& low, float& high);
std::uint32_t pack_bf16(float low, float high);
/// tanh rounded to 11 significant bits: as good as the instruction, with other bits.
float tanh_fast(float x);
float exp2_fast(float x);
float reciprocal_fast(float x);

// --- products of a warp; sums in float32, k in ascending order (the machine's order is its own)

void load_matrix(std::uint32_t (&a)[4], const void* row);
void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);

// --- clusters of blocks; stores to others become visible when the storing thread arrives

int cluster_rank();
void cluster_arrive();
void cluster_wait();
std::uint32_t remote_address(const void* shared, int rank);
void store_remote(std::uint32_t address, float x, float y, float z, float w);
void store_remote(std::uint32_t address, float x, float y);

// --- barriers in shared memory and bulk copies; a copy ends when nobody can run without it

using Barrier = std::uint64_t;

void barrier_init(Barrier* barrier, int arrivals);
void barrier_init_fence();
void barrier_arrive(Barrier* barrier);
void barrier_expect(Barrier* barrier, int bytes);
void barrier_wait(Barrier* barrier, int parity);
void copy_bulk(void* shared, const void* global, int bytes, Barrier* barrier);

}  // namespace softmpc::cuda
