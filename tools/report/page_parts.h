// SPDX-License-Identifier: Apache-2.0
// The parts of a page, each as HTML.
#pragma once

#include <string>

#include "report/page_data.h"
#include "report/picture.h"

namespace softmpc::tools::report {

/// What each group ended with, large.
std::string cards(const StudyResults& results);
/// What went wrong, in words.
std::string findings(const StudyResults& results);
/// A figure with its legend. `index`: its place in page_data().
std::string figure(const Figure& figure, std::size_t index, Over over);
std::string return_table(const StudyResults& results);
/// Is the value honest: a line a group, over the last quarter of the steps.
std::string value_table(const StudyResults& results);
std::string video_strip(const StudyResults& results);
/// Settings that groups do not share.
std::string differences(const StudyResults& results);
std::string all_settings(const StudyResults& results);
/// Version, hardware and command of each run.
std::string origins(const StudyResults& results);

}  // namespace softmpc::tools::report
