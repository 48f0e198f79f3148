// SPDX-License-Identifier: Apache-2.0
// Errors: one exception type; the text names the thing, the value and the rule.
#pragma once

#include <stdexcept>
#include <string>

namespace softmpc {

/// Something found at run time: a file, a value in it, a device. The program exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A wrong request: unknown task, preset or key, value of the wrong type or out of range. The
/// program exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace softmpc
