// SPDX-License-Identifier: Apache-2.0
// What a verification found: per quantity the largest error, as a multiple of its tolerance.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "program/json_reader.h"
#include "softmpc/task.h"

namespace softmpc::tools {

/// Elementwise: |computed - recorded| <= absolute + relative * |recorded|.
struct Tolerance {
  double absolute = 0, relative = 0;
};

/// Reads {"abs": a, "rel": r}.
Tolerance read_tolerance(const JsonNode& node);

/// The task that a recording names. Throws Error: what is wrong is the file, not the command line.
const Task& recorded_task(const JsonNode& document);

struct Quantity {
  std::string name;
  double error = 0;     ///< largest absolute error
  double of_limit = 0;  ///< largest error divided by its tolerance; over 1 fails
  std::string where;    ///< the element that of_limit belongs to
};

/// One verified file.
class VerifyReport {
 public:
  std::string file, kind, task;
  std::string remark;  ///< one more line, may be empty

  /// `where` is called only when this element is the worst so far.
  template <class Where>
  void compare(std::string_view name, double computed, double recorded, Tolerance tolerance,
               const Where& where) {
    const double ratio = note(name, computed, recorded, tolerance);
    Quantity& worst = quantity(name);
    if (ratio > worst.of_limit || worst.where.empty()) {
      worst.of_limit = ratio;
      worst.where = where();
    }
  }
  /// Two values that must be equal: flags, counts.
  template <class Where>
  void compare_exactly(std::string_view name, bool equal, const Where& where) {
    compare(name, equal ? 0 : 1, 0, {}, where);
  }

  const std::vector<Quantity>& quantities() const { return quantities_; }
  bool passed() const;
  /// The worst quantity as text, for a summary.
  std::string worst() const;

 private:
  Quantity& quantity(std::string_view name);
  double note(std::string_view name, double computed, double recorded, Tolerance tolerance);

  std::vector<Quantity> quantities_;
};

}  // namespace softmpc::tools
