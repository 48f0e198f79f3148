// SPDX-License-Identifier: Apache-2.0
#include "softmpc/hd/moments.h"

#include "algorithms/call.h"

namespace softmpc::algorithms {
namespace {

/// Moments of some rows of one column, started from what is in mean and square.
SOFTMPC_HD void add_column(const float* rows, int width, int column, int begin, int end,
                           double count, double& mean, double& square) {
  for (int i = begin; i < end; ++i) {
    count += 1;
    hd::add_sample(rows[std::int64_t{i} * width + column], count, mean, square);
  }
}

}  // namespace

void add_rows(Stream stream, Workspace& workspace, const Moments& moments, const float* rows,
              int count) {
  const Call call{"add_rows", stream, workspace};
  call.require_size("count", count);
  call.require_size("width", moments.width);
  if (count == 0) return;
  const int width = moments.width, first = count < kMomentRows ? count : kMomentRows;
  const std::int64_t later = (std::int64_t{count} - first + kMomentRows - 1) / kMomentRows;
  const Scratch<double> partial(workspace, later * 2 * width);  // [later, 2, width]
  double* const part = partial.data();
  call.each(later * width, [=] SOFTMPC_LAMBDA(std::int64_t at) {
    const std::int64_t chunk = at / width;
    const int column = static_cast<int>(at % width);
    const std::int64_t begin = first + chunk * kMomentRows, past = begin + kMomentRows;
    double mean = 0, square = 0;
    add_column(rows, width, column, static_cast<int>(begin),
               static_cast<int>(past < count ? past : count), 0, mean, square);
    part[chunk * 2 * width + column] = mean;
    part[chunk * 2 * width + width + column] = square;
  });
  call.each(width, [=] SOFTMPC_LAMBDA(std::int64_t at) {
    const int column = static_cast<int>(at);
    double n = *moments.count, mean = moments.mean[column], square = moments.square[column];
    add_column(rows, width, column, 0, first, n, mean, square);
    n += first;
    for (std::int64_t chunk = 0; chunk < later; ++chunk) {
      const std::int64_t left = count - first - chunk * kMomentRows;
      const double size = static_cast<double>(left < kMomentRows ? left : kMomentRows);
      hd::merge_moments(n, mean, square, size, part[chunk * 2 * width + column],
                        part[chunk * 2 * width + width + column]);
      n += size;
    }
    moments.mean[column] = mean;
    moments.square[column] = square;
  });
  // after all columns have read it
  call.each(1, [=] SOFTMPC_LAMBDA(std::int64_t) { *moments.count += count; });
}

void read_moments(Stream stream, Workspace& workspace, const Moments& moments, float* mean,
                  float* std) {
  const Call call{"read_moments", stream, workspace};
  call.require_size("width", moments.width);
  call.each(moments.width, [=] SOFTMPC_LAMBDA(std::int64_t i) {
    hd::mean_and_std(*moments.count, moments.mean[i], moments.square[i], mean[i], std[i]);
  });
}

}  // namespace softmpc::algorithms
