// SPDX-License-Identifier: Apache-2.0
// The report as one HTML page that asks for nothing else.
#pragma once

#include <string>
#include <vector>

#include "report/page_data.h"

namespace softmpc::tools::report {

/// `command`: the line that makes this page again.
std::string page(const std::vector<StudyResults>& studies, const std::string& command);

}  // namespace softmpc::tools::report
