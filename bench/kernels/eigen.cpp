// SPDX-License-Identifier: Apache-2.0
// Eigen's matrix product, feature-major as ours; bias and SiLU are ours, in a second pass.
#include <Eigen/Core>

#include "finish.h"
#include "tiles.h"

namespace softmpc::bench {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Rows per product: more than kTile, so that packing the weights is paid less often.
constexpr int kRowsAtOnce = 256;

void run(benchmark::State& state, Work work, int rows) {
  const std::vector<Shape> shapes = layers(work);
  const std::vector<Parameters> parameters(shapes.begin(), shapes.end());
  std::vector<Matrix> weights;
  for (std::size_t l = 0; l < shapes.size(); ++l)
    weights.push_back(
        Eigen::Map<const Matrix>(parameters[l].weight.data(), shapes[l].out, shapes[l].in));
  run_tiles(state, work, rows, kRowsAtOnce,
            [&](std::size_t l, const float* in, int lanes, float* out) {
              Eigen::Map<Matrix>(out, shapes[l].out, lanes).noalias() =
                  weights[l] * Eigen::Map<const Matrix>(in, shapes[l].in, lanes);
              finish(shapes[l], parameters[l].bias.data(), lanes, out);
            });
}

const bool registered = (register_cases("eigen_f32", run), true);

}  // namespace
}  // namespace softmpc::bench
