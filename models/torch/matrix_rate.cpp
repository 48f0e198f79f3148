// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "learn/torch_backend.h"
#include "softmpc/thread_pool.h"
#include "torch/torch_net.h"

namespace softmpc {
namespace {

constexpr int kSize = 1024;
constexpr double kFlops = 2.0 * kSize * kSize * kSize;

at::ScalarType scalar_of(Precision precision) {
  return precision == Precision::float32 ? at::kFloat : at::kBFloat16;
}

struct Product {
  at::Tensor a, b, c;
};

}  // namespace

double torch_matrix_rate(ThreadPool& pool, Precision precision, double seconds) {
  const int threads = pool.threads();
  std::vector<Product> products(static_cast<std::size_t>(threads));
  const at::Tensor values = at::arange(kSize * kSize, at::kFloat).sin_().view({kSize, kSize});
  for (Product& p : products) {
    p.a = values.to(scalar_of(precision)).clone();
    p.b = p.a.clone();
    p.c = at::empty_like(p.a);
  }
  const auto run = [&](int count) {
    const auto task = [&](int index, int) {
      use_one_thread();
      Product& p = products[static_cast<std::size_t>(index)];
      for (int i = 0; i < count; ++i) at::mm_out(p.c, p.a, p.b);
    };
    const auto begin = std::chrono::steady_clock::now();
    pool.run(threads, std::cref(task));
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const double first = run(1);
  const int count = std::clamp(static_cast<int>(seconds / first), 1, 1 << 20);
  const double each = std::min(first, run(count) / count);
  return kFlops * threads / each * 1e-9;
}

}  // namespace softmpc
