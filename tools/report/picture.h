// SPDX-License-Identifier: Apache-2.0
// A figure as a picture in SVG, which needs no script; colours are the page's.
#pragma once

#include <string>
#include <vector>

#include "report/figures.h"

namespace softmpc::tools::report {

enum class Over { steps, time };

/// Most points of a line in pictures; of longer ones the peaks are kept (picture_points).
inline constexpr std::size_t kMostPoints = 500;
/// Colours of page.css, c0 and on; curves beyond begin again.
inline constexpr int kColours = 7;

/// Round numbers from low to high, some `count` of them.
std::vector<double> ticks(double low, double high, int count);
/// Powers of ten between, or ticks() where there are fewer than two.
std::vector<double> logarithmic_ticks(double low, double high);

/// What the vertical axis of a figure spans.
Range vertical_range(const Figure& figure);
/// The <svg> element.
std::string picture(const Figure& figure, Over over);
/// A short line in colour and dash of a curve, for legends.
std::string swatch(const Figure& figure, std::size_t curve);

}  // namespace softmpc::tools::report
