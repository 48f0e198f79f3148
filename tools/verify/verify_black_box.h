// SPDX-License-Identifier: Apache-2.0
// Makes the plans of a recorded flight again.
#pragma once

#include <string>
#include <vector>

#include "verify/verify_report.h"

namespace softmpc::tools {

/// Every record of the black box `path` is planned again with the bundle that flew, of `bundles`
/// (run folders or bundles). Bit for bit where this program, instruction set and device are those
/// that recorded; elsewhere statuses are equal, the value differs by at most 0.1 % (or 0.001) and
/// an action by 1 % of its range. Throws Error naming the file or the record.
VerifyReport verify_black_box(const std::string& path, const std::vector<std::string>& bundles);

}  // namespace softmpc::tools
