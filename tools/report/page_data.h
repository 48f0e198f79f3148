// SPDX-License-Identifier: Apache-2.0
// The numbers of a page, for its script and for other programs: as JSON within it, and as CSV.
#pragma once

#include <string>
#include <vector>

#include "report/figures.h"

namespace softmpc::tools::report {

/// A study with all that is computed of it.
struct StudyResults {
  Study study{};
  Returns returns{};
  std::vector<Row> table{};
  std::vector<Figure> figures{};  ///< returns, then value_figures(), then learning_figures()
  std::size_t return_figures = 0, value_figures = 0;
};
StudyResults results_of(Study study);

/// {"table": [...], "figures": [...]} of all studies; safe within a <script>. Returns and table
/// have every digit and every point up to kMostPoints, other curves five digits.
std::string page_data(const std::vector<StudyResults>& studies);

/// Writes table.csv and one file a figure into `folder`, which is created; no point is left out.
void write_csv(const std::string& folder, const std::vector<StudyResults>& studies);

}  // namespace softmpc::tools::report
