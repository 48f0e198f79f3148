// SPDX-License-Identifier: Apache-2.0
#include "health.h"

#include <cmath>
#include <cstdio>
#include <utility>

namespace softmpc {
namespace {

constexpr std::int64_t kYoung = 1000;      // updates
constexpr double kRunawayShare = 4;        // healthy runs stay below 3
constexpr double kDeadSpread = 0.01;       // of the returns'
constexpr double kCollapsedSpread = 0.02;  // of the error; healthy ensembles stay above 0.1
constexpr double kWrong = 0.1;             // an error below is none, in deviations

class Line {
 public:
  explicit Line(const std::map<std::string, double>& values) : values_(values) {}
  /// NaN where the line has no such value: every comparison with it is false.
  double operator[](const char* name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::nan("") : found->second;
  }

 private:
  const std::map<std::string, double>& values_;
};

template <class... Numbers>
std::string sentence(const char* format, Numbers... numbers) {
  char text[256];
  std::snprintf(text, sizeof text, format, numbers...);
  return text;
}

}  // namespace

std::vector<Warning> warnings_of(const std::map<std::string, double>& values,
                                 std::int64_t updates) {
  std::vector<Warning> warnings;
  for (const auto& [loss, network] :
       {std::pair{"critic_loss", kCritics}, std::pair{"model_loss", kMembers}}) {
    const auto found = values.find(loss);
    if (found != values.end() && !std::isfinite(found->second))
      warnings.push_back(
          {sentence("%s is not finite: a smaller learning rate may help", loss), network});
  }
  if (updates < kYoung) return warnings;
  const Line line(values);
  if (line["q_bias_share"] > kRunawayShare)
    warnings.push_back(
        {sentence("critic runs away: Q is %.4g where the discounted return that followed was %.4g; "
                  "critic.layer_norm=true or a smaller critic.learning_rate may help",
                  line["return_discounted"] + line["q_bias"], line["return_discounted"]),
         kCritics});
  if (line["q_spread"] < kDeadSpread)
    warnings.push_back(
        {sentence("critic is dead: Q differs by %.2g of what returns differ by (q_spread); a "
                  "smaller critic.learning_rate may help",
                  line["q_spread"]),
         kCritics});
  if (line["model_rmse"] > kWrong && line["model_spread"] < kCollapsedSpread * line["model_rmse"])
    warnings.push_back(
        {sentence("ensemble collapsed: members differ by %.2g where they are off by %.2g "
                  "(model_spread, model_rmse), so none of them knows what they do not know",
                  line["model_spread"], line["model_rmse"]),
         kMembers});
  return warnings;
}

}  // namespace softmpc
