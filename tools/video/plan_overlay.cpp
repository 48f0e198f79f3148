// SPDX-License-Identifier: Apache-2.0
#include "video/plan_overlay.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "control/engine.h"
#include "explain.h"
#include "program/console.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr std::size_t kMostRollouts = 48;  // lines for each traced point
constexpr std::array<float, 3> kModel = {1.0f, 0.25f, 0.62f}, kSimulator = {0.25f, 0.95f, 0.55f};
constexpr std::array<float, 3> kLight = {0.25f, 0.45f, 0.75f}, kHeavy = {1.0f, 0.82f, 0.2f};
constexpr std::array<float, 3> kWords = {0.93f, 0.95f, 0.97f};
constexpr double kThin = 1.5, kThick = 5, kMiddle = 2.2;  // pixels; of equal paths both are seen

std::array<float, 4> opaque(const std::array<float, 3>& rgb) { return {rgb[0], rgb[1], rgb[2], 1}; }

/// From blue and faint to yellow and solid by the weight's share of the heaviest one's.
std::array<float, 4> colour_of(double share) {
  const auto s = static_cast<float>(std::sqrt(share));
  std::array<float, 4> colour{};
  for (std::size_t i = 0; i < 3; ++i) colour[i] = kLight[i] + s * (kHeavy[i] - kLight[i]);
  colour[3] = 0.25f + 0.75f * s;
  return colour;
}

/// Of the rollouts by falling weight as many as are drawn, at equal distances, the heaviest among
/// them.
std::vector<const ExplainedRollout*> chosen(const Explanation& explanation) {
  std::vector<const ExplainedRollout*> all, some;
  for (const ExplainedRollout& r : explanation.rollouts)
    if (r.fate == RolloutFate::counts) all.push_back(&r);
  std::ranges::stable_sort(all, [](auto* a, auto* b) { return a->weight > b->weight; });
  const std::size_t count = std::min(all.size(), kMostRollouts);
  for (std::size_t i = 0; i < count; ++i) some.push_back(all[i * all.size() / count]);
  return some;
}

}  // namespace

OverlayParts overlay_parts(const std::string& words) {
  if (words == "all") return {};
  OverlayParts parts{false, false, false};
  if (words == "none") return parts;
  for (std::size_t begin = 0; begin <= words.size();) {
    const std::size_t end = std::min(words.find(',', begin), words.size());
    const std::string word = words.substr(begin, end - begin);
    begin = end + 1;
    bool* part = word == "rollouts" ? &parts.rollouts
                 : word == "plan"   ? &parts.plan
                 : word == "text"   ? &parts.text
                                    : nullptr;
    if (part == nullptr)
      throw UsageError("--overlay: '" + word +
                       "' must be all, none, or some of rollouts, plan, text with commas");
    *part = true;
  }
  return parts;
}

PlanOverlay::PlanOverlay(const Bundle& bundle, const Task& task, Renderer& renderer,
                         const OverlayParts& parts)
    : bundle_(bundle),
      spec_(task.spec(task_options(bundle.environment))),
      renderer_(renderer),
      parts_(parts) {
  const TaskOptions variant = task_options(bundle.environment);
  reward_ = make_rollout_reward(task, variant);
  if (bundle.members.stack == 0) dynamics_ = task.make_dynamics(variant);
  simulator_ = task.make_environment(variant);
}

PlanOverlay::~PlanOverlay() = default;

void PlanOverlay::begin(const PlayStep& step) {
  std::vector<double> velocities;
  step.environment.read_state(positions_, velocities);
  if (engine_ || step.controller == nullptr) return;
  // a device's arithmetic is not the CPU's: what is drawn is its plan to within rounding
  const bool here = step.controller->device() == "cpu";
  if (!here) bundle_.planner.precision = Precision::float32;
  ControllerOptions options;
  options.seed = step.controller->options().seed;
  options.dynamics = dynamics_.get();
  engine_ = std::make_unique<Engine>(bundle_, reward_.get(), options);
  neutral_ = neutral_action(engine_->config, engine_->planner->shape());
}

void PlanOverlay::add(const PlayStep& step, Picture& picture) {
  begin(step);
  picture.positions = positions_;
  const auto solved = step.controller ? step.controller->solved() : std::nullopt;
  if (solved && parts_.rollouts)
    add_rollouts(explain(engine_->config, engine_->planner->shape(), engine_->models,
                         explain_input(*solved)),
                 picture);
  if (solved && parts_.plan) {
    add_simulated_plan(step, picture);
    add_model_plan(step, picture);
  }
  if (parts_.text) add_text(step, picture);
}

void PlanOverlay::extend(std::vector<PictureLine>& lines, std::span<const double> positions) const {
  std::vector<double> points(3 * lines.size());
  renderer_.trace(positions, points);
  for (std::size_t i = 0; i < lines.size(); ++i)
    lines[i].points.insert(lines[i].points.end(),
                           points.begin() + static_cast<std::ptrdiff_t>(3 * i),
                           points.begin() + static_cast<std::ptrdiff_t>(3 * i + 3));
}

std::vector<PictureLine> PlanOverlay::paths(Row observations, std::vector<double> positions) const {
  std::vector<PictureLine> lines(static_cast<std::size_t>(renderer_.traced_points()));
  const auto nx = static_cast<std::size_t>(spec_.nx);
  extend(lines, positions);
  for (std::size_t i = 1; i < observations.size() / nx; ++i) {
    const Row after = observations.subspan(i * nx, nx);
    if (!std::ranges::all_of(after, [](float value) { return std::isfinite(value); })) break;
    renderer_.follow(observations.subspan((i - 1) * nx, nx), after, positions);
    extend(lines, positions);
  }
  return lines;
}

void PlanOverlay::add_rollouts(const Explanation& explanation, Picture& picture) const {
  const auto some = chosen(explanation);
  const std::size_t nx = static_cast<std::size_t>(spec_.nx);
  for (auto r = some.rbegin(); r != some.rend(); ++r) {  // the heaviest on top
    const std::size_t steps =
        std::min<std::size_t>((*r)->state.size() / nx, static_cast<std::size_t>((*r)->end) + 2);
    for (PictureLine& line : paths((*r)->state.first(steps * nx), positions_)) {
      line.rgba = colour_of((*r)->weight / some.front()->weight);
      line.width = kThin;
      picture.lines.push_back(std::move(line));
    }
  }
}

std::vector<float> PlanOverlay::action(const PlayStep& step, int t, Row x) const {
  const auto nu = static_cast<std::size_t>(spec_.nu);
  std::vector<float> a = neutral_;
  const Models& models = engine_->models;
  if (engine_->config.control_mode == ControlMode::policy_residual) {
    std::vector<float> scratch(models.policy->scratch_bytes(1) / sizeof(float) + 1);
    models.policy->evaluate({x.data(), 1}, 1, {a.data(), 1}, scratch.data());
  }
  const Row u = step.plan->sequence.subspan(static_cast<std::size_t>(t) * nu, nu);
  for (std::size_t i = 0; i < nu; ++i)
    a[i] = std::clamp(a[i] + u[i], step.controller->action_low()[i],
                      step.controller->action_high()[i]);
  return a;
}

void PlanOverlay::add_model_plan(const PlayStep& step, Picture& picture) {
  std::vector<float> x(step.observation.begin(), step.observation.end()), all = x;
  for (int t = 0; t < engine_->config.horizon; ++t) {
    engine_->mean.step(*engine_->models.dynamics, x, action(step, t, x));
    all.insert(all.end(), x.begin(), x.end());
  }
  for (PictureLine& line : paths(all, positions_)) {
    line.rgba = opaque(kModel);
    line.width = kMiddle;
    picture.lines.push_back(std::move(line));
  }
}

void PlanOverlay::add_simulated_plan(const PlayStep& step, Picture& picture) {
  std::vector<PictureLine> lines(static_cast<std::size_t>(renderer_.traced_points()));
  std::vector<double> observation(step.observation.begin(), step.observation.end());
  std::vector<double> positions = positions_, velocities;
  simulator_->load(step.environment.save());
  extend(lines, positions);
  for (int t = 0; t < engine_->config.horizon; ++t) {
    const std::vector<float> x(observation.begin(), observation.end());
    try {
      simulator_->step(action(step, t, x), observation);
    } catch (const Error&) {
      break;  // the simulation became unstable: the path ends there
    }
    simulator_->read_state(positions, velocities);
    extend(lines, positions);
  }
  for (PictureLine& line : lines) {
    line.rgba = opaque(kSimulator);
    line.width = kThick;
    picture.lines.push_back(std::move(line));
  }
}

void PlanOverlay::add_text(const PlayStep& step, Picture& picture) const {
  const auto say = [&](std::string words) { picture.top.push_back({std::move(words), kWords}); };
  say(text("%s   t %.2f s", spec_.name.c_str(), step.step * spec_.dt));
  say(text("reward %.3g   return %.5g", step.reward, step.episode_return));
  if (step.plan == nullptr) {
    say("the policy acts, nothing is planned");
    return;
  }
  say(text("V %.5g   effective samples %.3g of %d", step.plan->value, step.plan->effective_samples,
           bundle_.planner.rollouts));
  say(text("status %s", to_string(step.plan->status)));
  const std::string added = renderer_.adds_up() ? " (position added up from its velocities)" : "";
  if (parts_.rollouts) picture.bottom.push_back({"rollouts, the brighter the heavier", kHeavy});
  if (!parts_.plan) return;
  picture.bottom.push_back({"plan, as the model sees it" + added, kModel});
  picture.bottom.push_back({"plan, as the simulator carries it out", kSimulator});
}

}  // namespace softmpc::tools
