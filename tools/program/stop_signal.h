// SPDX-License-Identifier: Apache-2.0
// Ctrl-C, SIGTERM and a closed terminal (SIGHUP) as a flag: the first asks to stop, the one after
// `patience` kills.
#pragma once

#include <atomic>

namespace softmpc::tools {

/// Catches SIGINT, SIGTERM and, unless it is ignored, SIGHUP from now on; on a terminal a line says
/// that the first was heard. After `patience` signals SIGINT and SIGTERM kill as usual.
void catch_stop_signals(int patience);
/// True from the first signal on.
const std::atomic<bool>& stop_requested();
/// How many signals came.
int stop_count();
/// The first one, 0 if none came.
int stop_signal_number();

}  // namespace softmpc::tools
