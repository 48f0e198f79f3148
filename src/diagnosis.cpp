// SPDX-License-Identifier: Apache-2.0
#include "diagnosis.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <limits>

#include "member_distance.h"

namespace softmpc {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kFewest = 8;  // action sequences that a spread is measured of

[[gnu::format(__printf__, 1, 2)]] std::string text(const char* format, ...) {
  char buffer[512];
  std::va_list list;
  va_start(list, format);
  std::vsnprintf(buffer, sizeof buffer, format, list);
  va_end(list);
  return buffer;
}

double deviation(std::span<const double> values) {
  double mean = 0, squares = 0;
  for (const double v : values) mean += v / static_cast<double>(values.size());
  for (const double v : values) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / static_cast<double>(values.size()));
}

/// What the rules look at.
struct Facts {
  Facts(const PlannerConfig& c, const Explanation& explanation) : config(c), e(explanation) {}

  const PlannerConfig& config;
  const Explanation& e;
  std::size_t started = 0, not_finite = 0, ended = 0;
  double clipped = 0;  // share of the entries of all actions
  // of each action sequence that counts, means over its particles: what -S is the sum of
  std::vector<double> reward, later, terminal, gain;  // sum_t gamma^t r_t, gamma^H Q, and both
  double reward_spread = 0, later_spread = 0, terminal_spread = 0, gain_spread = 0;  // deviations
  double largest_reward = 0, typical_terminal = 0;  // |r_t| of all, |Q| in the mean
  int component = -1;                               // of the state that is furthest outside
  double outside = kNothing, low = 0, high = 0, entry = 0;
  MemberDistance members;

  bool enough() const { return gain.size() >= kFewest; }
};

void add_rollouts(Facts& f) {
  const double last = std::pow(f.config.gamma, f.config.horizon);
  const int particles = f.config.particles;
  double terminals = 0, alive = 0;
  for (const ExplainedRollout& r : f.e.rollouts) {
    if (r.fate == RolloutFate::not_started) continue;
    ++f.started;
    f.clipped += r.clipped;
    f.not_finite += r.fate == RolloutFate::not_finite;
    if (r.fate != RolloutFate::counts) continue;
    const bool ended = r.end < f.config.horizon;
    f.ended += ended;
    if (!ended) terminals += std::abs(r.terminal_value), ++alive;
    const int steps = std::min(r.end + 1, f.config.horizon);
    for (int t = 0; t < steps; ++t)
      f.largest_reward = std::max(f.largest_reward, static_cast<double>(std::abs(r.reward[t])));
    if (r.rollout % particles == 0) {
      for (auto* sums : {&f.reward, &f.later, &f.terminal, &f.gain}) sums->push_back(0);
    }
    f.gain.back() += static_cast<double>(r.gain) / particles;
    double discount = 1, later = 0;
    for (int t = 1; t < steps; ++t) later += (discount *= f.config.gamma) * r.reward[t];
    f.reward.back() += (r.reward[0] + later) / particles;
    f.later.back() += later / particles;
    f.terminal.back() += last * r.terminal_value / particles;
  }
  if (f.started > 0) f.clipped /= static_cast<double>(f.started);
  if (alive > 0) f.typical_terminal = terminals / alive;
  if (!f.enough()) return;
  f.reward_spread = deviation(f.reward);
  f.later_spread = deviation(f.later);
  f.terminal_spread = deviation(f.terminal);
  f.gain_spread = deviation(f.gain);
}

void add_state(const DiagnosisInput& input, Facts& f) {
  for (std::size_t i = 0; i < input.state_low.size(); ++i) {
    const double low = input.state_low[i], high = input.state_high[i], x = input.observation[i];
    if (!std::isfinite(high - low) || !std::isfinite(x)) continue;
    const double off = std::max({low - x, x - high, 0.0}) /
                       std::max(high - low, std::numeric_limits<double>::min());
    if (off <= f.outside) continue;
    f.outside = off;
    f.component = static_cast<int>(i);
    f.low = low, f.high = high, f.entry = x;
  }
}

double not_finite_share(const Facts& f) {
  if (f.e.status == PlanStatus::bad_state) return 1;
  return f.started > 0 ? static_cast<double>(f.not_finite) / static_cast<double>(f.started)
                       : kNothing;
}

bool finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

/// Of the first rollout that is not finite, what is not: steps come before rewards, these before Q.
std::string not_finite_sentence(const Facts& f, double value) {
  if (f.e.status == PlanStatus::bad_state)
    return "the state holds a number that is not finite: nothing was planned";
  const char* source = "the terminal value Q, so the critic (critic.learning_rate)";
  for (const ExplainedRollout& r : f.e.rollouts) {
    if (r.fate != RolloutFate::not_finite || std::isfinite(r.cost)) continue;
    if (!finite(r.reward)) source = "a reward (model.learning_rate where it is learned)";
    if (!finite(r.state)) source = "a predicted state, so a member (model.learning_rate)";
    break;
  }
  return text(
      "%.3g %% of %zu rollouts have a cost that is not finite: in the first of them it is %s",
      100 * value, f.started, source);
}

/// lambda between the best return and that at the end of the best twentieth.
double lead_of_best(const Facts& f) {
  std::vector<double> best(f.gain);
  std::ranges::sort(best, std::greater<>());
  return (best[0] - best[std::max<std::size_t>(best.size() / 20, 1)]) / f.config.temperature;
}

/// Whether the terminal value is beyond what rewards like these make when they are earned for ever,
/// |Q| <= max |r| / (1 - gamma): thrice, as rewards here may be small ones.
bool terminal_too_large(const Facts& f) {
  return f.typical_terminal * (1 - f.config.gamma) > 3 * f.largest_reward;
}

struct Rule {
  const char* name;
  const char* setting;
  double threshold;
  bool below;  // complains of smaller values, not of greater ones
  double (*measure)(const Facts&);
  std::string (*sentence)(const Facts&, double value);
};

// Measured on trained controllers, at 20 to 150 states of their episodes each: Hopper (3 seeds),
// InvertedPendulum (horizons 8 and 12), lq, Reacher. "good" is the range there.
constexpr Rule kRules[] = {
    // None is expected; good: 0.
    {"not_finite", "critic.learning_rate", 0, false, not_finite_share, not_finite_sentence},
    // In widths of the range of training, whose ends are extremes of some 10,000 states, so that a
    // quarter beyond them is no chance; good: 0.
    {"state_outside", "trainer.steps", 0.25, false, [](const Facts& f) { return f.outside; },
     [](const Facts& f, double value) {
       return text(
           "the state is outside of what training saw: entry %d is %.4g, seen were %.4g to "
           "%.4g (%.2g widths beyond); nets guess there, training has to reach it",
           f.component, f.entry, f.low, f.high, value);
     }},
    // Of K = 200 a tenth are 20, of which the 1 to 5 that hold the weight are still chosen.
    {"rollouts_invalid", "planner.variance", 0.1, true,
     [](const Facts& f) {
       return f.config.prior == Prior::uniform && f.started > 0 ? f.e.valid_share : kNothing;
     },
     [](const Facts& f, double value) {
       return text(
           "most rollouts are invalid: %.3g %% of %zu kept to the bounds under the uniform "
           "prior%s; a smaller planner.variance keeps more of them",
           100 * value, f.started, value > 0 ? "" : ", so that all of them count");
     }},
    // Times the next farthest, where it matters: off by a fifth of the step. Good: 1 to 6 there
    // (11 where members agree to a twentieth); weights off by half: 4 to 365, most above 8.
    {"member_off", "model.members", 6, false,
     [](const Facts& f) { return f.members.distance > 0.2 ? f.members.ratio : kNothing; },
     [](const Facts& f, double value) {
       return text(
           "member %d is far from the others: it predicts the next state %.3g steps beside their "
           "median, %.3g times as far as the next one; train it again, or more model.members",
           f.members.farthest, f.members.distance, value);
     }},
    // From the median of all, in lengths of its step: members that are further apart than the
    // state moves say nothing of where it goes. Good: 0.01 to 0.8.
    {"members_disagree", "trainer.steps", 1, false,
     [](const Facts& f) { return f.members.distance; },
     [](const Facts& f, double value) {
       return text(
           "the members disagree: member %d predicts the next state %.3g steps beside the median "
           "of all; there is too little training here (trainer.steps)",
           f.members.farthest, value);
     }},
    // A plan that lies on a bound in every entry has half of them clipped; more is the variance.
    // Good: 0 to 0.37; Hopper with 100 times the variance: 0.79 to 0.89.
    {"actions_clipped", "planner.variance", 0.6, false,
     [](const Facts& f) { return f.started > 0 ? f.clipped : kNothing; },
     [](const Facts&, double value) {
       return text(
           "most actions are clipped: %.3g %% of their entries were outside the bounds; "
           "planner.variance is large against the box",
           100 * value);
     }},
    // Spread of returns in spreads of rewards. Good: up to 1,000 (InvertedDoublePendulum: 1,800),
    // but then with values that rewards explain; a critic times 1,000: 2,200 and more.
    {"terminal_alone", "critic.learning_rate", 1000, false,
     [](const Facts& f) {
       return f.enough() && terminal_too_large(f) && f.reward_spread > 0
                  ? f.gain_spread / f.reward_spread
                  : kNothing;
     },
     [](const Facts& f, double value) {
       return text(
           "the terminal value decides alone: returns differ %.3g times as much as their "
           "rewards, and |Q| = %.3g is %.3g times what rewards as large as here, %.3g, sum "
           "to for ever; has the critic diverged (critic.learning_rate)?",
           value, f.typical_terminal, f.typical_terminal * (1 - f.config.gamma) / f.largest_reward,
           f.largest_reward);
     }},
    // Its spread in spreads of returns. Good: 0.06 to 1.8; a hundredth changes no order.
    {"terminal_silent", "critic.updates_per_step", 0.01, true,
     [](const Facts& f) {
       if (!f.enough() || f.ended == f.gain.size() * f.config.particles) return kNothing;
       return f.gain_spread > 0 ? f.terminal_spread / f.gain_spread : 0;
     },
     [](const Facts& f, double value) {
       return text(
           "the terminal value decides nothing: among rollouts it differs by %.2g of what "
           "their returns do, the plan looks %d steps ahead and no further; has the critic "
           "learned (critic.updates_per_step)?",
           value, f.config.horizon);
     }},
    // exp(-50) and less is what the rollouts after the best twentieth weigh. Good: medians 5 to 16,
    // most below 50; where rollouts differ in falling or not, hundreds.
    {"temperature_small", "planner.temperature", 50, false,
     [](const Facts& f) { return f.enough() ? lead_of_best(f) : kNothing; },
     [](const Facts& f, double value) {
       return text(
           "one rollout holds most of the weight, %.4g effective samples of %d: the best "
           "return leads the best twentieth by %.3g lambda; planner.temperature is small "
           "against the spread of costs",
           f.e.effective_samples, f.e.done.rollouts, value);
     }},
    // Deviation of returns in lambda: of normal ones a share exp(-d^2) of the rollouts is
    // effective, 0.78 at 0.5. Good: 1.5 and more.
    {"temperature_large", "planner.temperature", 0.5, true,
     [](const Facts& f) { return f.enough() ? f.gain_spread / f.config.temperature : kNothing; },
     [](const Facts&, double value) {
       return text(
           "all rollouts weigh the same: their returns differ by %.2g lambda; "
           "planner.temperature is large against the spread of costs",
           value);
     }},
    // Spread of r_1, r_2, ... in spreads of returns: r_0 is the price of the action and of a step
    // that it hardly changed. Good: above it but at 2 of 7,090 states; no critic is exact to a
    // ten-thousandth.
    {"horizon_short", "planner.horizon", 1e-4, true,
     [](const Facts& f) {
       return f.enough() && f.gain_spread > 0 && f.reward_spread > 0
                  ? f.later_spread / f.gain_spread
                  : kNothing;
     },
     [](const Facts& f, double value) {
       return text(
           "the horizon ends before the reward answers: rewards after the first differ by "
           "%.2g of what returns do (planner.horizon is %d), the critic decides the rest",
           value, f.config.horizon);
     }},
};

}  // namespace

std::vector<Finding> judge(const PlannerConfig& config, const ProblemShape& shape,
                           const Models& models, const Explanation& e,
                           const DiagnosisInput& input) {
  Facts facts(config, e);
  add_rollouts(facts);
  add_state(input, facts);
  facts.members = member_distance(*models.dynamics, shape, e, input);
  std::vector<Finding> result;
  for (const Rule& rule : kRules) {
    const double value = rule.measure(facts);
    const bool wrong = rule.below ? value < rule.threshold : value > rule.threshold;
    result.push_back({rule.name, value, rule.threshold, wrong, rule.setting,
                      wrong ? rule.sentence(facts, value) : ""});
  }
  return result;
}

std::vector<Finding> diagnose(const PlannerConfig& config, const ProblemShape& shape,
                              const Models& models, const Explanation& e,
                              const DiagnosisInput& input) {
  std::vector<Finding> result = judge(config, shape, models, e, input);
  std::erase_if(result, [](const Finding& finding) { return !finding.wrong; });
  return result;
}

}  // namespace softmpc
