// SPDX-License-Identifier: Apache-2.0
#include "learn/learners.h"

#include <algorithm>
#include <numeric>

#include "learn/initialisation.h"
#include "learn/losses.h"
#include "learn/net_specs.h"
#include "learn/tensor_state.h"

namespace softmpc {
namespace {

/// Component `from` of rows of `width` to one row of columns: (value - mean) / std; an infinite std
/// masks.
void normalised_row(const std::vector<float>& rows, int width, int from, int count, float mean,
                    float std, float* to) {
  for (int j = 0; j < count; ++j)
    to[j] = (rows[static_cast<std::size_t>(j) * width + from] - mean) / std;
}

}  // namespace

void network_input(const NetNormalisation& normalisation, const std::vector<float>& x,
                   const std::vector<float>& a, int count, TrainBlock& block, int more) {
  const int nx = static_cast<int>(x.size()) / count, nu = static_cast<int>(a.size()) / count;
  block.resize(nx + nu, count + more);
  for (int i = 0; i < nx + nu; ++i) {
    const bool state = i < nx;
    normalised_row(state ? x : a, state ? nx : nu, state ? i : i - nx, count,
                   normalisation.input_mean[i], normalisation.input_std[i], block.row(i));
  }
}

EnsembleLearner::EnsembleLearner(const ModelConfig& config, int nx, int nu, MemberOutputs outputs,
                                 Precision precision, std::uint64_t seed)
    : config_(config),
      nx_(nx),
      nu_(nu),
      outputs_(outputs),
      net_(config.members, member_spec(config, nx, nu, outputs), config.learning_rate,
           /*spare=*/true, nx + outputs.reward + outputs.termination, precision),
      normalisation_(NetNormalisation::identity(net_.spec())),
      loss_(config.members) {
  net_.initialise(seed, kMembers);
}

void EnsembleLearner::prepare(const ReplayBatch& batch) {
  const int n = batch.size, regressed = nx_ + outputs_.reward;
  const NetNormalisation& w = normalisation_;
  network_input(w, batch.x, batch.a, n, input_);
  target_.resize(regressed, n);
  std::vector<float> change(batch.next);
  for (std::size_t i = 0; i < change.size(); ++i) change[i] -= batch.x[i];
  for (int i = 0; i < nx_; ++i)
    normalised_row(change, nx_, i, n, w.output_mean[i], w.output_std[i], target_.row(i));
  if (outputs_.reward)
    normalised_row(batch.reward, 1, 0, n, w.output_mean[nx_], w.output_std[nx_], target_.row(nx_));
  if (outputs_.termination) {
    terminated_.resize(1, n);
    std::copy(batch.terminated.begin(), batch.terminated.end(), terminated_.row(0));
  }
  net_.begin_step();
}

void EnsembleLearner::update_member(int member, TrainScratch& scratch) {
  const int regressed = nx_ + outputs_.reward, lanes = input_.lanes;
  const float* y = net_.forward(member, input_, scratch);
  float* dy = net_.output_gradient(input_, scratch);
  const LossBlock block = {regressed, input_.count, lanes};
  const double rows = static_cast<double>(net_.stack()) * input_.count;
  const double scale = 1 / (rows * regressed);
  const int end = regressed + outputs_.termination;
  double sum =
      config_.loss == Loss::gaussian_nll
          ? gaussian_loss(block, y, y + static_cast<std::ptrdiff_t>(end) * lanes, target_.row(0),
                          scale, dy, dy + static_cast<std::ptrdiff_t>(end) * lanes)
          : regression_loss(block, y, target_.row(0), config_.loss, config_.huber_delta, scale, dy);
  sum *= scale;
  if (outputs_.termination) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(regressed) * lanes;
    sum +=
        binary_loss({1, input_.count, lanes}, y + at, terminated_.row(0), 1 / rows, dy + at) / rows;
  }
  loss_[member] = sum;
  net_.descend(member, input_, scratch);
}

double EnsembleLearner::finish() {
  net_.publish(normalisation_);
  return std::accumulate(loss_.begin(), loss_.end(), 0.0);
}

NetWeights EnsembleLearner::weights() const { return net_.weights(normalisation_); }

void EnsembleLearner::load(const TensorFile& file) {
  net_.load(file, "members");
  net_.net(net_.active())->set_normalisation(normalisation_);
}

CriticLearner::CriticLearner(const CriticConfig& config, int nx, int nu, std::uint64_t seed)
    : config_(config),
      nx_(nx),
      nu_(nu),
      net_(config.count, critic_spec(config, nx, nu), config.learning_rate),
      target_(config.count, net_.spec(), config.learning_rate),
      normalisation_(NetNormalisation::identity(net_.spec())) {
  net_.initialise(seed, kCritics);
  target_.initialise(seed, kCritics);
}

/// The batch's columns, then the imagined ones.
void CriticLearner::take_rows(const ReplayBatch& batch, std::span<const float> y,
                              const ImaginedRows* imagined) {
  const int n = batch.size, more = imagined ? static_cast<int>(imagined->target.size()) : 0;
  network_input(normalisation_, batch.x, batch.a, n, input_, more);
  y_.resize(1, n + more);
  std::ranges::copy(y, y_.row(0));
  if (!imagined) return;
  std::ranges::copy(imagined->target, y_.row(0) + n);
  for (int i = 0; i < nx_ + nu_; ++i)
    for (int j = 0; j < more; ++j)
      input_.row(i)[n + j] =
          (imagined->input.row(i)[j] - normalisation_.input_mean[i]) / normalisation_.input_std[i];
}

CriticStep CriticLearner::update(const ReplayBatch& batch, std::span<const float> y,
                                 const ImaginedRows* imagined) {
  const int n = batch.size, critics = net_.stack();
  take_rows(batch, y, imagined);
  const int more = input_.count - n;
  errors_.assign(n, 0.0f);
  net_.begin_step();
  ++updates_;
  double loss = 0, value = 0;
  for (int c = 0; c < critics; ++c) {
    const float* q = net_.forward(c, input_, scratch_);
    value += std::accumulate(q, q + n, 0.0);
    for (int j = 0; j < n; ++j) errors_[j] += (q[j] - y[j]) / static_cast<float>(critics);
    // each critic's own mean, so that their number does not change a step
    float* dq = net_.output_gradient(input_, scratch_);
    const auto add = [&](int first, int count) {
      return regression_loss({1, count, input_.lanes}, q + first, y_.row(0) + first, config_.loss,
                             config_.huber_delta, 1.0 / count, dq + first);
    };
    loss += add(0, n);
    if (more > 0) add(n, more);
    for (int j = 0; j < more; ++j) dq[n + j] *= imagined->alive[j];
    net_.descend(c, input_, scratch_);
  }
  if (updates_ % config_.target_interval == 0) target_.follow(net_, config_.tau);
  const double count = static_cast<double>(n) * critics;
  return {loss / count, value / count, errors_};
}

std::vector<float> CriticLearner::action_gradient(const std::vector<float>& x,
                                                  const std::vector<float>& a, int count) {
  network_input(normalisation_, x, a, count, input_);
  net_.forward(0, input_, scratch_);
  std::fill_n(net_.output_gradient(input_, scratch_), count, 1.0f);
  const float* dinput = net_.input_gradient(0, input_, scratch_);
  std::vector<float> da(a.size());
  for (int i = 0; i < nu_; ++i)
    for (int j = 0; j < count; ++j)
      da[static_cast<std::size_t>(j) * nu_ + i] =
          dinput[static_cast<std::ptrdiff_t>(nx_ + i) * input_.lanes + j] /
          normalisation_.input_std[nx_ + i];
  return da;
}

void CriticLearner::publish() {
  net_.net()->set_normalisation(normalisation_);
  target_.net()->set_normalisation(normalisation_);
}

NetWeights CriticLearner::weights() const { return net_.weights(normalisation_); }

void CriticLearner::save(TensorFile& file) const {
  net_.save(file, "critics");
  target_.save_parameters(file, "critics.target");
  put<std::int64_t>(file, "critics.updates", {updates_});
}

void CriticLearner::load(const TensorFile& file) {
  net_.load(file, "critics");
  target_.load_parameters(file, "critics.target");
  updates_ = get<std::int64_t>(file, "critics.updates", 1)[0];
  publish();
}

}  // namespace softmpc
