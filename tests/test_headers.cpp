// SPDX-License-Identifier: Apache-2.0
// Nothing but the precompiled headers of all tests (softmpc_test.cmake), which belong to some
// program.
int main() {}
