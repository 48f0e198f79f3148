// SPDX-License-Identifier: Apache-2.0
// The instructions that kernels use, each by its PTX name. sm_80 has all but the last two sections,
// which need sm_90a. The emulator has functions of the same names and meaning.
#pragma once

#include <cstdint>

#define SOFTMPC_KERNEL __device__ __forceinline__  // body of a kernel: a function template
#define SOFTMPC_DEVICE __device__ __forceinline__

namespace softmpc::cuda {

// --- where am I

SOFTMPC_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
SOFTMPC_DEVICE int threads() { return static_cast<int>(blockDim.x); }
SOFTMPC_DEVICE int block() { return static_cast<int>(blockIdx.x); }
SOFTMPC_DEVICE int blocks() { return static_cast<int>(gridDim.x); }
SOFTMPC_DEVICE int lane() { return static_cast<int>(threadIdx.x) & 31; }
SOFTMPC_DEVICE int warp() { return static_cast<int>(threadIdx.x) >> 5; }

/// Dynamic shared memory of the block, aligned to 1,024 bytes.
SOFTMPC_DEVICE char* shared_memory() {
  extern __shared__ __align__(1024) char softmpc_shared[];
  return softmpc_shared;
}

// --- waiting and exchanging; all threads named must call

SOFTMPC_DEVICE void sync_block() { __syncthreads(); }
SOFTMPC_DEVICE void sync_warp() { __syncwarp(); }
/// Barrier `id` (1..15) among `count` threads of the block, whole warps.
SOFTMPC_DEVICE void sync_some(int id, int count) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(count) : "memory");
}
SOFTMPC_DEVICE float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
SOFTMPC_DEVICE double shuffle_xor(double value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
SOFTMPC_DEVICE int shuffle_xor(int value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
/// Bit l of the result: the predicate of lane l.
SOFTMPC_DEVICE std::uint32_t ballot(bool predicate) {
  return __ballot_sync(0xffffffffu, predicate);
}
/// Counts in global memory; returns the count before. Orders this thread's earlier writes before
/// it.
SOFTMPC_DEVICE std::uint32_t take_ticket(std::uint32_t* counter) {
  __threadfence();
  return atomicAdd(counter, 1u);
}
/// After the last ticket: what others wrote before theirs may be read.
SOFTMPC_DEVICE void fence_device() { __threadfence(); }

// --- memory

struct alignas(16) Words4 {
  std::uint32_t x, y, z, w;
};

/// 16 bytes of global memory that nobody writes during the kernel.
SOFTMPC_DEVICE Words4 load_constant(const std::uint32_t* from) {
  Words4 v;
  asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}
SOFTMPC_DEVICE std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}
/// 16 bytes from global to shared memory, behind the thread's back.
SOFTMPC_DEVICE void copy_async(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)),
               "l"(global)
               : "memory");
}
/// Closes a group of copies (also an empty one).
SOFTMPC_DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until all but the latest `pending` groups of this thread have arrived.
template <int pending>
SOFTMPC_DEVICE void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// --- 16-bit numbers, two to a word, the first in the lower half

/// Beyond 65,504 an activation becomes infinite; a cost that is not finite then says so.
SOFTMPC_DEVICE std::uint32_t pack_f16(float low, float high) {
  std::uint32_t word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
SOFTMPC_DEVICE void unpack_f16(std::uint32_t word, float& low, float& high) {
  asm("{.reg .f16 l, h;\n mov.b32 {l, h}, %2;\n cvt.f32.f16 %0, l;\n cvt.f32.f16 %1, h;}"
      : "=f"(low), "=f"(high)
      : "r"(word));
}
SOFTMPC_DEVICE std::uint32_t pack_bf16(float low, float high) {
  std::uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

/// tanh to 2^-11 relative: one instruction. Good enough beside 16-bit operands, never for
/// gradients.
SOFTMPC_DEVICE float tanh_fast(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// 2^x and 1 / x to about 2 units of the last place: an instruction each.
SOFTMPC_DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SOFTMPC_DEVICE float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// --- products of a warp

/// A fragment [16, 16] from shared memory; the lane's address is that of ldmatrix_row(lane).
SOFTMPC_DEVICE void load_matrix(std::uint32_t (&a)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(shared_address(row))
               : "memory");
}
/// d += a b, m16n8k16
SOFTMPC_DEVICE void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                            std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
SOFTMPC_DEVICE void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                             std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// --- clusters of blocks (sm_90)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

SOFTMPC_DEVICE int cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
SOFTMPC_DEVICE void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
SOFTMPC_DEVICE void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
/// Where block `rank` of the cluster has what this block has at `shared`; for store_remote().
SOFTMPC_DEVICE std::uint32_t remote_address(const void* shared, int rank) {
  std::uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(shared_address(shared)), "r"(rank));
  return address;
}
SOFTMPC_DEVICE void store_remote(std::uint32_t address, float x, float y, float z, float w) {
  asm volatile("st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(x), "f"(y),
               "f"(z), "f"(w)
               : "memory");
}
SOFTMPC_DEVICE void store_remote(std::uint32_t address, float x, float y) {
  asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x), "f"(y)
               : "memory");
}

// --- barriers in shared memory and bulk copies (sm_90)

using Barrier = std::uint64_t;  // in shared memory, 8-byte aligned

SOFTMPC_DEVICE void barrier_init(Barrier* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
/// Makes barrier_init() visible to bulk copies and, before a cluster barrier, to the cluster.
SOFTMPC_DEVICE void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
SOFTMPC_DEVICE void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
/// Arrives, and lets the phase wait for `bytes` more of bulk copies.
SOFTMPC_DEVICE void barrier_expect(Barrier* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
/// Waits until the phase of parity `parity` (0 for the first) has completed.
SOFTMPC_DEVICE void barrier_wait(Barrier* barrier, int parity) {
  asm volatile(
      "{\n.reg .pred p;\n"
      "again: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%0], %1;\n"
      "@p bra done;\nbra again;\ndone:\n}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
/// `bytes` (a multiple of 16) from global to this block's shared memory; completes on `barrier`.
SOFTMPC_DEVICE void copy_bulk(void* shared, const void* global, int bytes, Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}

#endif

// --- products of a warpgroup (sm_90a): see intrinsics_wgmma.cuh

}  // namespace softmpc::cuda
