// SPDX-License-Identifier: Apache-2.0
#include "program/explanation_text.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "program/console.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

constexpr std::size_t kSteps = 8;    // columns of rewards
constexpr std::size_t kActions = 3;  // columns of a first action

const char* part_name(std::size_t part) { return part == 0 ? "plan" : "policy"; }

std::string name(const Explanation& e, const ExplainedRollout& r) {
  const std::string k = std::to_string(r.rollout);
  return e.parts.size() > 1 ? part_name(static_cast<std::size_t>(r.part)) + (" " + k) : k;
}

Json rows_of(std::span<const float> values, int width) {
  Json rows = Json::array();
  const auto n = static_cast<std::size_t>(width);
  for (std::size_t t = 0; t + n <= values.size(); t += n)
    rows.push_back(tidy(values.subspan(t, n)));
  return rows;
}

/// Greatest weight first; of equal ones, zeros for instance, the least cost, then the first.
std::vector<const ExplainedRollout*> by_weight(const Explanation& e) {
  std::vector<const ExplainedRollout*> order;
  for (const ExplainedRollout& r : e.rollouts)
    if (r.fate != RolloutFate::not_started) order.push_back(&r);
  std::ranges::stable_sort(order, [](const auto* a, const auto* b) {
    if (a->weight != b->weight) return a->weight > b->weight;
    return std::isfinite(a->cost) && (!std::isfinite(b->cost) || a->cost < b->cost);
  });
  return order;
}

std::string updates_text(const Explanation& e) {
  Rows rows = {{"update", "about", "V", "effective samples", "valid share", "status", "share"}};
  for (std::size_t part = 0; part < e.parts.size(); ++part) {
    const auto& updates = e.parts[part].iterations;
    for (std::size_t i = 0; i < updates.size(); ++i)
      rows.push_back({std::to_string(i + 1), part == 0 ? "the plan" : "the policy's plan",
                      text("%.6g", updates[i].value), text("%.4g", updates[i].effective_samples),
                      text("%.4g", updates[i].valid_share), to_string(updates[i].status),
                      i + 1 < updates.size() ? "" : text("%.4g", e.parts[part].share)});
  }
  return rows.size() > 2 ? '\n' + table(rows) : "";
}

std::string rollouts_text(const PlannerConfig& config, const Explanation& e,
                          std::span<const ExplainedRollout* const> shown) {
  const std::size_t nu = std::min(e.action.size(), kActions);
  Rows rows = {{"rollout", "weight", "S", "return", "terminal", "prior", "clipped", "end"}};
  if (config.particles > 1) rows[0][2] = "S (mean)";
  for (std::size_t i = 0; i < nu; ++i) rows[0].push_back("a_0[" + std::to_string(i) + "]");
  rows[0].emplace_back("");
  for (const ExplainedRollout* r : shown) {
    rows.push_back({name(e, *r), text("%.4f", r->weight), text("%.5g", r->sequence_cost),
                    text("%.5g", r->gain), text("%.5g", r->terminal_value),
                    text("%.4g", r->prior_term), text("%.0f %%", 100 * r->clipped),
                    r->end < config.horizon ? std::to_string(r->end) : "-"});
    for (std::size_t i = 0; i < nu; ++i) rows.back().push_back(text("%+.3f", r->action[i]));
    rows.back().emplace_back(r->fate == RolloutFate::counts ? "" : to_string(r->fate));
  }
  return table(rows);
}

std::string rewards_text(const PlannerConfig& config, const Explanation& e,
                         std::span<const ExplainedRollout* const> shown) {
  const std::size_t steps = std::min<std::size_t>(config.horizon, kSteps);
  const bool more = steps < static_cast<std::size_t>(config.horizon);
  const bool alike = config.member_draw == MemberDraw::per_step;
  Rows rows = {{"rollout"}};
  for (std::size_t t = 0; t < steps; ++t) rows[0].push_back("r_" + std::to_string(t));
  if (more) rows[0].emplace_back("...");
  const auto members = [&](const ExplainedRollout& r) {
    std::string list;
    for (std::size_t t = 0; t < steps; ++t)
      list += (t > 0 ? " " : "") + std::to_string(r.member[t]);
    return list + (more ? " ..." : "");
  };
  if (!alike) rows[0].emplace_back("members");
  for (const ExplainedRollout* r : shown) {
    rows.push_back({name(e, *r)});
    for (std::size_t t = 0; t < steps; ++t)
      rows.back().push_back(static_cast<int>(t) > r->end ? "-" : text("%.4g", r->reward[t]));
    if (more) rows.back().emplace_back("...");
    if (!alike) rows.back().push_back(members(*r));
  }
  return '\n' + table(rows) +
         (alike ? "members by step, of all rollouts: " + members(*shown.front()) + '\n' : "");
}

std::string totals_text(const Explanation& e) {
  std::string result = '\n' + text("%zu rollouts:", e.rollouts.size());
  for (const RolloutFate fate :
       {RolloutFate::counts, RolloutFate::left_box, RolloutFate::other_left_box,
        RolloutFate::not_finite, RolloutFate::not_started}) {
    const auto n = std::ranges::count(e.rollouts, fate, &ExplainedRollout::fate);
    if (n == 0 && fate != RolloutFate::counts) continue;
    result += text("%s %td %s", result.back() == ':' ? "" : ",", n,
                   fate == RolloutFate::counts ? (n == 1 ? "counts" : "count") : to_string(fate));
  }
  double clipped = 0, gain = 0;
  for (const ExplainedRollout& r : e.rollouts) {
    clipped += r.clipped / static_cast<double>(e.rollouts.size());
    if (r.weight > 0) gain += r.weight * static_cast<double>(r.gain);
  }
  result += text("\n%.3g %% of the action entries clipped; mean return by weight %.6g\n",
                 100 * clipped, gain);
  return result + text(
                      "computed again from the parts: weights sum to %.9g, S differs by %.2g (%.2g "
                      "of rounding), V by %.2g (%.2g)\n",
                      e.weight_sum, e.cost_check.difference, e.cost_check.of_rounding,
                      e.value_check.difference, e.value_check.of_rounding);
}

Json as_json(const ExplainedRollout& r, const PlannerConfig& config, const ProblemShape& shape) {
  Json result = {{"about", part_name(static_cast<std::size_t>(r.part))},
                 {"rollout", r.rollout},
                 {"fate", to_string(r.fate)},
                 {"weight", r.weight}};
  if (r.fate == RolloutFate::not_started) return result;
  const auto step = [](int t, bool known) { return known ? Json(t) : Json(nullptr); };
  result.update(Json{{"cost", tidy(r.cost)},
                     {"sequence_cost", tidy(r.sequence_cost)},
                     {"return", tidy(r.gain)},
                     {"rewards", tidy(r.reward)},
                     {"end", step(r.end, r.end < config.horizon)},
                     {"terminal_value", tidy(r.terminal_value)},
                     {"prior_term", tidy(r.prior_term)},
                     {"clipped", r.clipped},
                     {"first_outside", step(r.first_outside, r.first_outside >= 0)},
                     {"members", std::vector<int>(r.member.begin(), r.member.end())},
                     {"states", rows_of(r.state, shape.nx)},
                     {"actions", rows_of(r.action, shape.nu)}});
  return result;
}

constexpr std::size_t kColumns = 100;
constexpr std::ptrdiff_t kFewRollouts = 20;  // fewer, and most rules have nothing to measure

/// `words` in lines of kColumns; all but the first begin with `indent` spaces.
std::string wrapped(const std::string& words, std::size_t indent) {
  std::string result, line;
  std::istringstream in(words);
  for (std::string word; in >> word;) {
    if (!line.empty() && line.size() + 1 + word.size() > kColumns) {
      result += line + '\n';
      line = std::string(indent, ' ') + word;
    } else {
      line += (line.empty() ? "" : " ") + word;
    }
  }
  return result + line + '\n';
}

Json as_json(const ExplainedCheck& check) {
  return {{"difference", check.difference}, {"of_rounding", check.of_rounding}};
}

Json as_json(const ExplainedPart& part, std::size_t index, int nu) {
  Json updates = Json::array();
  for (const ExplainedIteration& i : part.iterations)
    updates.push_back({{"value", i.value},
                       {"effective_samples", i.effective_samples},
                       {"valid_share", i.valid_share},
                       {"status", to_string(i.status)},
                       {"rollouts", i.rollouts},
                       {"plan_before", rows_of(i.plan, nu)},
                       {"plan", rows_of(i.refined, nu)}});
  return {{"about", part_name(index)}, {"share", part.share}, {"iterations", updates}};
}

}  // namespace

std::string explanation_text(const PlannerConfig& config, const Explanation& e, int top) {
  std::string result = updates_text(e);
  const auto order = by_weight(e);
  const std::span shown = std::span(order).first(std::min<std::size_t>(order.size(), top));
  if (!shown.empty())
    result += text("\n%zu of %zu rollouts, by weight ~ exp(-S / %g); S = prior - return:\n",
                   shown.size(), e.rollouts.size(), config.temperature) +
              rollouts_text(config, e, shown) + rewards_text(config, e, shown);
  return e.rollouts.empty() ? result : result + totals_text(e);
}

std::string findings_text(std::span<const Finding> findings, const Explanation& e) {
  const auto counting =
      std::ranges::count(e.rollouts, RolloutFate::counts, &ExplainedRollout::fate);
  std::string result;
  for (std::size_t i = 0; i < findings.size(); ++i)
    result += wrapped(text("%zu. ", i + 1) + findings[i].text, 3);
  if (findings.empty())
    result = counting < kFewRollouts
                 ? text("nothing to complain about, but %td rollouts are too few to judge all\n",
                        counting)
                 : "nothing to complain about\n";
  return result + '\n';
}

Json findings_json(std::span<const Finding> findings) {
  Json result = Json::array();
  for (const Finding& f : findings)
    result.push_back({{"name", f.name},
                      {"value", f.value},
                      {"threshold", f.threshold},
                      {"setting", f.setting},
                      {"text", f.text}});
  return result;
}

Json explanation_json(const PlannerConfig& config, const ProblemShape& shape,
                      const Explanation& e) {
  Json parts = Json::array(), rollouts = Json::array();
  for (std::size_t i = 0; i < e.parts.size(); ++i)
    parts.push_back(as_json(e.parts[i], i, shape.nu));
  for (const ExplainedRollout& r : e.rollouts) rollouts.push_back(as_json(r, config, shape));
  return {{"status", to_string(e.status)},
          {"value", e.value},
          {"effective_samples", e.effective_samples},
          {"valid_share", e.valid_share},
          {"iterations_done", e.done.iterations},
          {"rollouts_used", e.done.rollouts},
          {"planned_action", tidy(e.action)},
          {"plan_before", rows_of(e.plan, shape.nu)},
          {"plan", rows_of(e.refined, shape.nu)},
          {"parts", parts},
          {"rollouts", rollouts},
          {"check",
           {{"weight_sum", e.weight_sum},
            {"cost", as_json(e.cost_check)},
            {"value", as_json(e.value_check)},
            {"agrees", e.agrees()}}}};
}

void require_agreement(const Explanation& e) {
  if (e.agrees()) return;
  throw Error(
      text("explain: the parts do not make the plan: S differs by %.3g (%.3g of rounding), V "
           "by %.3g (%.3g of rounding), weights sum to %.9g; must be within rounding",
           e.cost_check.difference, e.cost_check.of_rounding, e.value_check.difference,
           e.value_check.of_rounding, e.weight_sum));
}

}  // namespace softmpc::tools
