/* SPDX-License-Identifier: Apache-2.0
 * The version of these headers, for C and C++; CMakeLists.txt reads it here. */
#ifndef SOFTMPC_VERSION_H
#define SOFTMPC_VERSION_H

#define SOFTMPC_VERSION_MAJOR 0
#define SOFTMPC_VERSION_MINOR 1
#define SOFTMPC_VERSION_PATCH 0
#define SOFTMPC_VERSION_STRING "0.1.0"

#endif
