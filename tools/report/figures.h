// SPDX-License-Identifier: Apache-2.0
// The figures of a study: which curves are drawn together, and over what.
#pragma once

#include <string>
#include <vector>

#include "report/curves.h"

namespace softmpc::tools::report {

struct Figure {
  std::string key{};  ///< "evaluation", part of a CSV's name
  std::string title{};
  std::string note{};  ///< what a value is, one sentence; may be empty
  bool wide = false;   ///< of the returns: over steps and over wall clock, seeds in every picture
  bool logarithmic = false;
  std::vector<Curve> curves{};
  std::vector<int> colours{};  ///< of each curve, from 0
};

/// A unit of time fit for `longest` seconds.
struct TimeUnit {
  const char* name = "s";
  double seconds = 1;
};
TimeUnit time_unit(double longest);
/// Of the longest curve of a figure; a NaN where no clock is known.
double longest_time(const Figure& figure);

std::vector<Figure> return_figures(const Study& study, const Returns& returns);
/// Losses and what else the train lines say, as far as a run has it.
std::vector<Figure> learning_figures(const Study& study);
/// One a group: V and Q at visited states beside the return that followed.
std::vector<Figure> value_figures(const Study& study);

}  // namespace softmpc::tools::report
