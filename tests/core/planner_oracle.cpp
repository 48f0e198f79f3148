// SPDX-License-Identifier: Apache-2.0
// The double-precision planner of planner_oracle.h.
#include "planner_oracle.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <Eigen/Cholesky>
#include <Eigen/LU>

#include "softmpc/hd/philox.h"

namespace softmpc::oracle {
namespace {

using Matrix = Eigen::MatrixXd;

double silu(double z) { return z / (1 + std::exp(-z)); }

bool fixed(const Problem& p, int i) { return p.shape.action_low[i] == p.shape.action_high[i]; }

double variance_of(const Problem& p, int i) {
  return p.config.variance[p.config.variance.size() == 1 ? 0 : static_cast<std::size_t>(i)];
}

/// Sigma; fixed actions, which have neither noise nor cost, stand apart with 1.
Matrix sigma_of(const Problem& p) {
  Matrix sigma = Matrix::Zero(p.shape.nu, p.shape.nu);
  for (int i = 0; i < p.shape.nu; ++i) {
    for (int j = 0; j < p.shape.nu && !p.config.covariance.empty(); ++j)
      sigma(i, j) = p.config.covariance[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
    if (p.config.covariance.empty()) sigma(i, i) = variance_of(p, i);
    if (fixed(p, i)) sigma(i, i) = 1;
  }
  return sigma;
}

/// Box-Muller over the same bits as the planner, in double.
Matrix draw_noise(const Problem& p, const Input& in, int iteration, std::uint32_t id, int rollout) {
  const int steps = p.config.horizon + 1, nu = p.shape.nu;
  Matrix z(steps, nu);
  for (int t = 0; t < steps; ++t)
    for (int i = 0; i < nu; ++i) {
      const hd::Philox4 bits =
          hd::philox({in.key.solve, hd::draw_word(hd::Stream::noise, iteration, t, i / 4), id,
                      static_cast<std::uint32_t>(rollout)},
                     in.key.seed);
      const std::uint32_t first = i % 4 < 2 ? bits.x : bits.z;
      const std::uint32_t second = i % 4 < 2 ? bits.y : bits.w;
      const double radius = std::sqrt(-2 * std::log(((first >> 9) + 0.5) / (1 << 23)));
      const double angle = 2 * std::numbers::pi * (second >> 8) / (1 << 24);
      z(t, i) = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
      if (fixed(p, i)) z(t, i) = 0;
    }
  const Matrix factor = Eigen::LLT<Matrix>(sigma_of(p)).matrixL();
  return z * factor.transpose();
}

int member_of(const Problem& p, const Input& in, int iteration, std::uint32_t id, int rollout,
              int t) {
  const int members = p.members.stack;
  const auto balanced = [&](int step) {
    const auto key = hd::balanced_key(in.key.seed, in.key.solve, iteration, step, id);
    if (p.config.particles > 1) {  // one after the other, from a drawn member on
      const int offset =
          static_cast<int>(hd::uniform_index(key.y, static_cast<std::uint32_t>(members)));
      return (rollout % p.config.particles + offset) % members;
    }
    return hd::balanced_member(static_cast<std::uint32_t>(rollout),
                               static_cast<std::uint32_t>(p.config.rollouts), members, key);
  };
  switch (p.config.member_draw) {
    case MemberDraw::per_step:
      return hd::draw_member(in.key.seed, in.key.solve, iteration, t, members);
    case MemberDraw::per_rollout_step:
      return balanced(t);
    case MemberDraw::per_rollout:
      return balanced(0);
  }
  return 0;
}

Vector joined(const Vector& x, const Vector& a) {
  Vector both(x.size() + a.size());
  both << x, a;
  return both;
}

/// n, as planner.h says.
double neutral(const Problem& p, int i) {
  const std::vector<double>& given = p.config.neutral;
  if (!given.empty()) return given[given.size() == 1 ? 0 : static_cast<std::size_t>(i)];
  const double low = p.shape.action_low[i], high = p.shape.action_high[i];
  if (low < 0 && high > 0) return 0;
  if (std::isinf(high)) return low;
  return std::isinf(low) ? high : (low + high) / 2;
}

/// What the plan is added to: mu(x), or n without a policy in the loop.
Vector base_action(const Problem& p, const Vector& x) {
  Vector mu(p.shape.nu);
  if (p.config.control_mode != ControlMode::policy_residual) {
    for (int i = 0; i < p.shape.nu; ++i) mu[i] = neutral(p, i);
    return mu;
  }
  const Vector raw = evaluate_mlp(*p.policy, 0, x);
  for (int i = 0; i < p.shape.nu; ++i) {
    const double low = p.shape.action_low[i], high = p.shape.action_high[i];
    mu[i] = (low + high) / 2 + (high - low) / 2 * std::tanh(raw[i]);
  }
  return mu;
}

struct Rollout {
  Matrix noise;
  double cost;
  bool valid;
};

/// Walks one rollout; `charged` is the u of S.
class Walk {
 public:
  Walk(const Problem& p, const Matrix& plan, const Matrix& charged, double& margin)
      : p_(p), plan_(plan), charged_(charged), inverse_(sigma_of(p).inverse()), margin_(margin) {}

  Rollout run(const Vector& start, const Matrix& noise, const std::vector<int>& member) {
    const PlannerConfig& c = p_.config;
    Vector x = start;
    double discount = 1, j = 0, prior = 0;
    bool ended = false, valid = true;
    for (int t = 0; t <= c.horizon; ++t, discount *= c.gamma) {
      const Vector eps = noise.row(t).transpose(), u = plan_.row(t).transpose();
      const Vector a = clip(base_action(p_, x) + u + eps, valid);
      Vector cost_u = eps;
      if (c.prior == Prior::gaussian) cost_u = charged_.row(t).transpose();
      prior += discount * cost_u.dot(inverse_ * eps);
      if (t == c.horizon) {
        if (!ended) j -= discount * evaluate_mlp(p_.critic, 0, joined(x, a))[0];
      } else {
        const Vector y = evaluate_mlp(p_.members, member[t], joined(x, a));
        const Vector next = x + y.head(p_.shape.nx);
        if (!ended) j -= discount * reward(x, a, next, y);
        if (c.handle_terminations && !ended && ends(next, y)) {
          ended = true;
          j += discount * c.termination_cost;
        }
        x = next;
      }
    }
    const double factor = c.prior == Prior::gaussian ? c.temperature : -c.temperature / 2;
    return {noise, j + factor * prior, valid};
  }

 private:
  Vector clip(Vector v, bool& valid) {
    for (int i = 0; i < v.size(); ++i) {
      const double low = p_.shape.action_low[i], high = p_.shape.action_high[i];
      if (!fixed(p_, i) && (v[i] < low || v[i] > high)) valid = false;
      if (p_.config.prior == Prior::uniform && !fixed(p_, i))
        margin_ = std::min({margin_, std::abs(v[i] - low), std::abs(v[i] - high)});
      v[i] = std::min(std::max(v[i], low), high);
    }
    return v;
  }

  double reward(const Vector& x, const Vector& a, const Vector& next, const Vector& y) const {
    return p_.outputs.reward ? y[p_.shape.nx] : p_.reward(x, a, next);
  }

  bool ends(const Vector& next, const Vector& y) {
    const double distance = p_.outputs.termination ? -y[p_.shape.nx + (p_.outputs.reward ? 1 : 0)]
                                                   : p_.distance_to_end(next);
    margin_ = std::min(margin_, std::abs(distance));
    return p_.outputs.termination ? distance < 0 : distance <= 0;
  }

  const Problem& p_;
  const Matrix& plan_;
  const Matrix& charged_;
  const Matrix inverse_;  // Sigma^-1
  double& margin_;
};

/// c of V: what is taken from lambda log mean exp(-S/lambda).
double value_constant(const Problem& p, const Matrix& charged) {
  const PlannerConfig& c = p.config;
  const Matrix sigma = sigma_of(p), inverse = sigma.inverse();
  double sum = 0, discount = 1;
  for (int t = 0; t <= c.horizon; ++t, discount *= c.gamma) {
    Vector u = charged.row(t).transpose();
    double log_volume = 0, log_peak = 0.5 * std::log(sigma.determinant());
    for (int i = 0; i < p.shape.nu; ++i) {
      if (fixed(p, i)) {
        u[i] = 0;
        continue;
      }
      log_volume += std::log(static_cast<double>(p.shape.action_high[i]) - p.shape.action_low[i]);
      log_peak += 0.5 * std::log(2 * std::numbers::pi);
    }
    sum +=
        discount * (c.prior == Prior::gaussian ? 0.5 * u.dot(inverse * u) : log_volume - log_peak);
  }
  return c.temperature * sum;
}

/// All rollouts of an action sequence get their mean cost; one outside the box takes the others
/// out.
void share_costs(int particles, std::vector<Rollout>& rollouts) {
  for (std::size_t k = 0; k < rollouts.size(); k += particles) {
    double sum = 0;
    bool valid = true;
    for (int p = 0; p < particles; ++p) {
      sum += rollouts[k + p].cost;
      valid = valid && rollouts[k + p].valid;
    }
    for (int p = 0; p < particles; ++p) {
      rollouts[k + p].cost = sum / particles;
      rollouts[k + p].valid = valid;
    }
  }
}

Update weigh(const Problem& p, const std::vector<Rollout>& rollouts, const Matrix& plan,
             const Matrix& charged) {
  const PlannerConfig& c = p.config;
  Update up;
  int valid = 0;
  for (const Rollout& r : rollouts) {
    up.cost.push_back(r.cost);
    up.valid.push_back(r.valid);
    valid += c.prior == Prior::gaussian || r.valid;
  }
  up.all_invalid = valid == 0;
  const auto count = static_cast<double>(rollouts.size());
  up.valid_share = valid / count;
  const double least = *std::min_element(up.cost.begin(), up.cost.end());
  double sum = 0, squares = 0;
  Matrix mean_noise = Matrix::Zero(plan.rows(), plan.cols());
  for (const Rollout& r : rollouts) {
    if (c.prior == Prior::uniform && !r.valid && valid > 0) continue;
    const double w = std::exp((least - r.cost) / c.temperature);
    sum += w;
    squares += w * w;
    mean_noise += w * r.noise;
  }
  up.plan = plan + mean_noise / sum;
  up.effective_samples = sum * sum / squares / c.particles;
  up.constant = value_constant(p, charged);
  up.value = c.temperature * std::log(sum / count) - least - up.constant;
  return up;
}

/// From the first `count` rollouts.
Update update_problem(const Problem& p, const Input& in, int iteration, int count, int b,
                      const Matrix& plan, double& margin) {
  Matrix charged = plan;
  if (p.config.control_mode == ControlMode::mean_residual)
    charged.rowwise() -= plan.colwise().mean().eval();
  Vector start(p.shape.nx);
  for (int i = 0; i < p.shape.nx; ++i) start[i] = in.observation[b * p.shape.nx + i];
  std::vector<Rollout> rollouts;
  Walk walk(p, plan, charged, margin);
  for (int k = 0; k < count; ++k) {
    std::vector<int> member;
    for (int t = 0; t < p.config.horizon; ++t)
      member.push_back(member_of(p, in, iteration, in.id[b], k, t));
    const int sequence = k / p.config.particles;
    rollouts.push_back(walk.run(start, draw_noise(p, in, iteration, in.id[b], sequence), member));
  }
  share_costs(p.config.particles, rollouts);
  return weigh(p, rollouts, plan, charged);
}

}  // namespace

Vector evaluate_mlp(const NetWeights& w, int member, const Vector& input) {
  const NetNormalisation& n = w.normalisation;
  Vector h(w.inputs());
  for (int i = 0; i < w.inputs(); ++i)
    h[i] = std::isinf(n.input_std[i]) ? 0 : (input[i] - n.input_mean[i]) / n.input_std[i];
  for (int l = 0; l < w.layers(); ++l) {
    const LayerSpec& layer = w.spec.layers[l];
    const int in = w.spec.inputs_of(l), out = layer.width;
    const auto of_member = [&](Part part, int o) {
      return double{w.slot(l, part)[static_cast<std::size_t>(member) * out + o]};
    };
    const auto weight = w.weight(l);
    Vector y(out);
    for (int o = 0; o < out; ++o) {
      y[o] = of_member(Part::bias, o);
      for (int i = 0; i < in; ++i)
        y[o] += double{weight[(static_cast<std::size_t>(member) * out + o) * in + i]} * h[i];
    }
    if (layer.normalise) {
      const double mean = y.mean(), variance = (y.array() - mean).square().mean();
      for (int o = 0; o < out; ++o)
        y[o] = of_member(Part::norm_scale, o) * (y[o] - mean) / std::sqrt(variance + 1e-5) +
               of_member(Part::norm_shift, o);
    }
    for (int o = 0; o < out && layer.activation == Activation::silu; ++o) y[o] = silu(y[o]);
    h = y;
  }
  for (int o = 0; o < w.outputs(); ++o) h[o] = n.output_mean[o] + n.output_std[o] * h[o];
  return h;
}

Result solve(const Problem& p, const Input& in) {
  const int steps = p.config.horizon + 1, nu = p.shape.nu;
  Result result;
  std::vector<Matrix> plan;
  for (std::size_t b = 0; b < in.id.size(); ++b) {
    plan.emplace_back(steps, nu);
    for (int t = 0; t < steps; ++t)
      for (int i = 0; i < nu; ++i) plan[b](t, i) = in.plan[(b * steps + t) * nu + i];
  }
  const int iterations = in.done.iterations > 0 ? in.done.iterations : p.config.iterations;
  for (int iteration = 0; iteration < iterations; ++iteration) {
    const bool early = iteration + 1 == iterations && in.done.rollouts > 0;
    const int count = early ? in.done.rollouts : p.config.rollouts;
    result.update.emplace_back();
    for (std::size_t b = 0; b < in.id.size(); ++b) {
      result.update.back().push_back(
          update_problem(p, in, iteration, count, static_cast<int>(b), plan[b], result.margin));
      plan[b] = result.update.back().back().plan;
    }
  }
  for (std::size_t b = 0; b < in.id.size(); ++b) {
    Vector x(p.shape.nx);
    for (int i = 0; i < p.shape.nx; ++i) x[i] = in.observation[b * p.shape.nx + i];
    Vector a = base_action(p, x) + plan[b].row(0).transpose();
    for (int i = 0; i < nu; ++i)
      a[i] =
          std::min(std::max(a[i], double{p.shape.action_low[i]}), double{p.shape.action_high[i]});
    result.action.push_back(a);
  }
  return result;
}

}  // namespace softmpc::oracle
