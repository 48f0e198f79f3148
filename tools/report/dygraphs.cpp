// SPDX-License-Identifier: Apache-2.0
#include "dygraphs_files.h"
#include "report/chart_library.h"

namespace softmpc::tools::report {

ChartLibrary chart_library() {
  const auto files = dygraphs_files();
  // the last line names a file with the source's lines, which a browser's tools would ask for
  const auto without_map = [](std::string_view text) {
    const std::size_t at = text.rfind("# sourceMappingURL=");
    return at == std::string_view::npos ? text : text.substr(0, at - 2);
  };
  return {without_map(files[0].text), without_map(files[1].text), ""};
}

}  // namespace softmpc::tools::report
