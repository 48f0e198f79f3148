// SPDX-License-Identifier: Apache-2.0
#include "report/figures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "report/words.h"

namespace softmpc::tools::report {
namespace {

/// A value of the train lines that is worth a picture.
struct LearningValue {
  const char* key;
  const char* title;
  const char* note;
};
constexpr LearningValue kLearning[] = {
    {"critic_loss", "Critic loss", "of the updates' batches, in the units of critic.loss"},
    {"model_loss", "Model loss", "of the updates' batches, in the units of model.loss"},
    {"policy_loss", "Policy loss", "of the updates' batches"},
    {"value", "Soft value V", "of the plans that acted"},
    {"effective_samples", "Effective samples", "rollouts that carry the weight of a plan"},
    {"valid_share", "Valid share", "rollouts that count"},
    {"model_rmse", "Model error, one step", "1 is as good as always saying the mean change"},
    {"model_rmse_horizon", "Model error, over the horizon", "open loop, in the same units"},
    {"steps_per_second", "Steps per second", "evaluations included"},
};

/// Losses and the like cover orders of magnitude; a logarithm needs them positive.
bool wants_logarithm(const Figure& figure) {
  double least = std::numeric_limits<double>::infinity(), greatest = 0;
  for (const Curve& curve : figure.curves) {
    for (const std::vector<double>* line : {&curve.low, &curve.high}) {
      for (const double value : *line) {
        least = std::min(least, value);
        greatest = std::max(greatest, value);
      }
    }
  }
  return least > 0 && greatest > 50 * least;
}

void add(Figure& figure, Curve curve, int colour) {
  if (curve.empty()) return;
  figure.curves.push_back(std::move(curve));
  figure.colours.push_back(colour);
}

}  // namespace

TimeUnit time_unit(double longest) {
  if (longest > 3 * 3600) return {"h", 3600};
  if (longest > 3 * 60) return {"min", 60};
  return {};
}

double longest_time(const Figure& figure) {
  double longest = std::numeric_limits<double>::quiet_NaN();
  for (const Curve& curve : figure.curves)
    for (const double seconds : curve.seconds) longest = std::fmax(longest, seconds);
  return longest;
}

std::vector<Figure> return_figures(const Study& study, const Returns& returns) {
  Figure evaluation{.key = "evaluation",
                    .title = "Evaluation return",
                    .note =
                        "Each seed's mean over the episodes of one evaluation, played without "
                        "exploration noise.",
                    .wide = true};
  Figure training{.key = "training",
                  .title = "Training return",
                  .note = "Each seed's median over its latest ten episodes, every " +
                          grouped(returns.interval) + " steps, with exploration noise.",
                  .wide = true};
  int colour = 0;
  for (const Group& group : study.groups) {
    add(evaluation, curve_of(group.name, evaluation_series(group)), colour);
    add(training, curve_of(group.name, training_series(group, returns.interval)), colour++);
  }
  for (const Baseline& baseline : study.baselines) {
    Curve curve = curve_of(baseline.name, baseline_series(baseline));
    curve.baseline = true;
    add(returns.evaluated ? evaluation : training, std::move(curve), colour++);
  }
  std::vector<Figure> figures;
  for (Figure* figure : {&evaluation, &training})
    if (!figure->curves.empty()) figures.push_back(std::move(*figure));
  return figures;
}

std::vector<Figure> learning_figures(const Study& study) {
  std::vector<Figure> figures;
  for (const LearningValue& value : kLearning) {
    Figure figure{.key = value.key, .title = value.title, .note = value.note};
    int colour = 0;
    for (const Group& group : study.groups)
      add(figure, curve_of(group.name, value_series(group, value.key)), colour++);
    if (figure.curves.empty()) continue;
    figure.logarithmic = wants_logarithm(figure);
    figures.push_back(std::move(figure));
  }
  return figures;
}

std::vector<Figure> value_figures(const Study& study) {
  std::vector<Figure> figures;
  for (const Group& group : study.groups) {
    Figure figure{.key = "value-of-" + group.name, .title = group.name};
    add(figure, curve_of("return that followed, G", value_series(group, "return_discounted")), 2);
    add(figure, curve_of("soft value V", sum_series(group, "return_discounted", "value_bias")), 0);
    add(figure, curve_of("critic Q", sum_series(group, "return_discounted", "q_bias")), 1);
    if (figure.curves.size() > 1) figures.push_back(std::move(figure));
  }
  return figures;
}

}  // namespace softmpc::tools::report
