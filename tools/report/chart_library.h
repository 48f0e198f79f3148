// SPDX-License-Identifier: Apache-2.0
// dygraphs, which draws the charts that can be zoomed, where the build found it.
#pragma once

#include <string_view>

namespace softmpc::tools::report {

struct ChartLibrary {
  std::string_view script, style;  ///< both empty without it
  std::string_view missing;        ///< without it: the sentence that says so
};
ChartLibrary chart_library();

}  // namespace softmpc::tools::report
