// SPDX-License-Identifier: Apache-2.0
// Where NVRTC lies: with a toolkit, beside the libraries of this process, or in Python's packages.
#pragma once

#include <string>
#include <vector>

namespace softmpc::cuda {

/// Files that may be libnvrtc.so.MAJOR, in the order in which they are tried. The first is a bare
/// name, for the loader's own search; the others are those that exist of: $CUDA_HOME, $CUDA_PATH,
/// the folder given to the build, /usr/local/cuda and /usr/local/cuda-MAJOR.*, newest first, what
/// lies beside a library of this process, $VIRTUAL_ENV, $CONDA_PREFIX, the system's and the user's
/// Python packages. `root` stands before the absolute folders, for tests.
std::vector<std::string> nvrtc_places(int major, const std::string& root = "");

}  // namespace softmpc::cuda
