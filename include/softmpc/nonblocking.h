// SPDX-License-Identifier: Apache-2.0
// Marks what a control loop calls: no allocation, lock or wait. Clang 20 and later hold the library
// to it (preset rtsan), and a caller who asks with -Wfunction-effects.
#pragma once

#if defined(__clang__) && __has_cpp_attribute(clang::nonblocking)
#define SOFTMPC_NONBLOCKING [[clang::nonblocking]]
#else
#define SOFTMPC_NONBLOCKING
#endif
