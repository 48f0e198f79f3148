// SPDX-License-Identifier: Apache-2.0
// Stands in for dygraphs.cpp where the build found no dygraphs.
#include "report/chart_library.h"

namespace softmpc::tools::report {

ChartLibrary chart_library() {
  return {
      "", "",
      "The pictures stand still: this build of softmpc has no dygraphs (Debian: libjs-dygraphs)."};
}

}  // namespace softmpc::tools::report
