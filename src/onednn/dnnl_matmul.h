// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmul in both of its interfaces, 2.5 and later and 3.x, on the calling thread alone.
#pragma once

#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

namespace softmpc::onednn {

/// While it lives oneDNN computes on the calling thread alone: it takes its team from OpenMP, whose
/// setting belongs to the thread. A primitive remembers the team of its description.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

struct MatmulShape {
  dnnl::memory::desc source, weight, bias, result;
  bool silu;  ///< swish in the epilogue
};

/// `own_scratchpad`: the caller hands the scratchpad in, as threads that share a primitive must.
inline dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const MatmulShape& shape,
                                             bool own_scratchpad) {
  dnnl::primitive_attr attributes;
  if (own_scratchpad) attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops epilogue;
#if DNNL_VERSION_MAJOR >= 3
  if (shape.silu) epilogue.append_eltwise(dnnl::algorithm::eltwise_swish, 1, 0);
  attributes.set_post_ops(epilogue);
  return {engine, shape.source, shape.weight, shape.bias, shape.result, attributes};
#else
  if (shape.silu) epilogue.append_eltwise(1, dnnl::algorithm::eltwise_swish, 1, 0);
  attributes.set_post_ops(epilogue);
  return {dnnl::matmul::desc(shape.source, shape.weight, shape.bias, shape.result), attributes,
          engine};
#endif
}

}  // namespace softmpc::onednn
