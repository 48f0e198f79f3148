// SPDX-License-Identifier: Apache-2.0
#include "softmpc/network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "cpu/packed_mlp.h"
#include "softmpc/error.h"
#include "softmpc/hd/math.h"
#include "softmpc/hd/prior.h"

namespace softmpc {
namespace {

std::size_t scratch_for(const PackedMlp& net, int count) {
  return net.scratch_floats(cpu::pad_lanes(count)) * sizeof(float);
}

/// Copies `rows` of a column block to consecutive rows of `lanes`; lanes beyond count are zero.
void copy_rows(ConstColumns from, int rows, int count, float* to, int lanes) {
  for (int i = 0; i < rows; ++i, to += lanes) {
    std::memcpy(to, from[i], sizeof(float) * count);
    std::fill(to + count, to + lanes, 0.0f);
  }
}

void require(bool ok, const std::string& what) {
  if (!ok) throw Error(what);
}

}  // namespace

namespace {

/// Seconds of one evaluation, the least of several.
double time_of(const PackedMlp& net, int lanes) {
  using Clock = std::chrono::steady_clock;
  cpu::AlignedFloats scratch(net.scratch_floats(lanes), 0.5f);
  double least = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto begin = Clock::now();
    for (int i = 0; i < 4; ++i) net.run(0, scratch.data(), lanes);
    least = std::min(least, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return least;
}

}  // namespace

Precision resolve_precision(Precision wanted, const NetSpec& spec) {
  if (wanted == Precision::float16)
    throw UsageError(
        "planner.precision: float16 needs a CUDA device; a CPU computes float32 or bfloat16");
  if (wanted != Precision::automatic) return wanted;
  const NetWeights weights = NetWeights::zeros(1, spec);
  const auto seconds = [&](Precision precision) {
    return time_of(PackedMlp(weights, Activation::none, 0, precision), 3 * cpu::kLanes);
  };
  // float32 is exact: the other must be worth it
  return seconds(Precision::bfloat16) < 0.9 * seconds(Precision::float32) ? Precision::bfloat16
                                                                          : Precision::float32;
}

Precision resolve_precision(const Config& config, int nx, int nu) {
  const Precision wanted = config.planner.precision;
  if (config.trainer.device == Device::cuda)
    return wanted == Precision::automatic ? Precision::float16 : wanted;
  const ModelConfig& model = config.model;
  return resolve_precision(wanted,
                           NetSpec::mlp(nx + nu, model.width, model.layers, nx, model.layer_norm));
}

const char* to_string(Precision precision) {
  switch (precision) {
    case Precision::float32:
      return "float32";
    case Precision::bfloat16:
      return "bfloat16";
    case Precision::automatic:
      return "auto";
    case Precision::float16:
      return "float16";
  }
  return "unknown";
}

MlpDynamics::MlpDynamics(const NetWeights& weights, int nx, int nu, MemberOutputs outputs,
                         Precision precision)
    : nx_(nx), nu_(nu), outputs_(outputs) {
  weights.validate("members");
  const int wanted = nx + outputs.reward + outputs.termination;
  require(weights.inputs() == nx + nu && weights.outputs() >= wanted,
          "members: inputs and outputs do not fit nx " + std::to_string(nx) + ", nu " +
              std::to_string(nu));
  require(precision == Precision::float32 || precision == Precision::bfloat16,
          std::string("members: precision ") + to_string(precision) +
              " must be resolved to one that a CPU computes");
  net_ = std::make_shared<PackedMlp>(weights, Activation::none, wanted, precision);
}
MlpDynamics::MlpDynamics(std::shared_ptr<PackedMlp> net, int nx, int nu, MemberOutputs outputs)
    : nx_(nx), nu_(nu), outputs_(outputs), net_(std::move(net)) {}
MlpDynamics::~MlpDynamics() = default;
bool MlpDynamics::read_network(NetWeights& weights) const {
  weights = net_->weights();
  return true;
}
void MlpDynamics::update(const NetWeights& weights) { net_->update(weights); }
int MlpDynamics::members() const { return net_->stack(); }
std::size_t MlpDynamics::scratch_bytes(int count) const { return scratch_for(*net_, count); }

void MlpDynamics::step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
                       void* scratch) const {
  first_step(member, {}, x, a, count, out, scratch);
}

void MlpDynamics::first_step(int member, std::span<const LaneRun> runs, ConstColumns x,
                             ConstColumns a, int count, const StepResult& out,
                             void* scratch) const {
  const int lanes = cpu::pad_lanes(count);
  float* in = net_->input(static_cast<float*>(scratch));
  copy_rows(x, nx_, count, in, lanes);
  copy_rows(a, nu_, count, in + static_cast<std::size_t>(nx_) * lanes, lanes);
  const float* y = net_->run(member, static_cast<float*>(scratch), lanes, {runs, nx_});
  for (int i = 0; i < nx_; ++i, y += lanes)
    for (int j = 0; j < count; ++j) out.next[i][j] = x[i][j] + y[j];
  if (outputs_.reward) {
    std::memcpy(out.reward, y, sizeof(float) * count);
    y += lanes;
  }
  if (outputs_.termination)  // logit > 0: more likely than not
    for (int j = 0; j < count; ++j) out.terminated[j] = y[j] > 0;
}

MlpValue::MlpValue(const NetWeights& weights, int nx, int nu, int index)
    : MlpValue(weights, nx, nu, Reduction::least) {
  require(index >= 0 && index < weights.stack,
          "critics: there is no critic " + std::to_string(index));
  first_ = index;
  count_ = 1;
}
MlpValue::MlpValue(const NetWeights& weights, int nx, int nu, Reduction over)
    : nx_(nx), nu_(nu), count_(weights.stack), over_(over) {
  weights.validate("critics");
  require(weights.inputs() == nx + nu && weights.outputs() == 1,
          "critics: inputs and outputs do not fit nx " + std::to_string(nx) + ", nu " +
              std::to_string(nu));
  net_ = std::make_shared<PackedMlp>(weights, Activation::none);
}
MlpValue::MlpValue(std::shared_ptr<PackedMlp> net, int nx, int nu, int index)
    : nx_(nx), nu_(nu), first_(index), net_(std::move(net)) {}
MlpValue::~MlpValue() = default;
bool MlpValue::read_network(NetWeights& weights) const {
  if (count_ != 1) return false;  // a reduction over several is no network
  const NetWeights all = net_->weights();
  weights = NetWeights::zeros(1, all.spec);
  weights.normalisation = all.normalisation;
  all.spec.for_each_slot([&](const ParameterSlot& s) {
    const std::span<const float> from = all.slot(s.layer, s.part);
    std::ranges::copy(from.subspan(first_ * s.size(), s.size()),
                      weights.slot(s.layer, s.part).begin());
  });
  return true;
}
void MlpValue::update(const NetWeights& weights) { net_->update(weights); }
std::size_t MlpValue::scratch_bytes(int count) const { return scratch_for(*net_, count); }

/// Q [count] of one critic, inside scratch.
const float* MlpValue::run(int critic, ConstColumns x, ConstColumns a, int count,
                           float* scratch) const {
  const int lanes = cpu::pad_lanes(count);
  float* in = net_->input(scratch);
  copy_rows(x, nx_, count, in, lanes);
  copy_rows(a, nu_, count, in + static_cast<std::size_t>(nx_) * lanes, lanes);
  return net_->run(critic, scratch, lanes);
}

void MlpValue::evaluate(ConstColumns x, ConstColumns a, int count, float* out,
                        void* scratch) const {
  auto* floats = static_cast<float*>(scratch);
  std::memcpy(out, run(first_, x, a, count, floats), sizeof(float) * count);
  for (int c = first_ + 1; c < first_ + count_; ++c) {
    const float* q = run(c, x, a, count, floats);
    if (over_ == Reduction::least) {
      // a NaN of any critic stays, so that the planner sees it
      for (int j = 0; j < count; ++j)
        if (!(q[j] >= out[j]) && !std::isnan(out[j])) out[j] = q[j];
    } else {
      for (int j = 0; j < count; ++j) out[j] += q[j];
    }
  }
  if (over_ == Reduction::mean && count_ > 1)
    for (int j = 0; j < count; ++j) out[j] /= static_cast<float>(count_);
}

MlpPolicy::MlpPolicy(const NetWeights& weights, std::span<const float> low,
                     std::span<const float> high)
    : low_(low.begin(), low.end()), high_(high.begin(), high.end()) {
  weights.validate("policy");
  require(weights.stack == 1 && weights.outputs() == static_cast<int>(low.size()) &&
              low.size() == high.size(),
          "policy: outputs do not fit nu " + std::to_string(low.size()));
  for (std::size_t i = 0; i < low.size(); ++i)
    require(std::isfinite(low[i]) && std::isfinite(high[i]),
            "policy: the bounds of action " + std::to_string(i) +
                " are infinite; a policy's output is scaled to finite ones");
  net_ = std::make_unique<PackedMlp>(weights, Activation::tanh);
}
MlpPolicy::~MlpPolicy() = default;
bool MlpPolicy::read_network(NetWeights& weights) const {
  weights = net_->weights();
  return true;
}
void MlpPolicy::update(const NetWeights& weights) { net_->update(weights); }
std::size_t MlpPolicy::scratch_bytes(int count) const { return scratch_for(*net_, count); }

void MlpPolicy::evaluate(ConstColumns x, int count, Columns action, void* scratch) const {
  const int lanes = cpu::pad_lanes(count);
  copy_rows(x, net_->inputs(), count, net_->input(static_cast<float*>(scratch)), lanes);
  const float* y = net_->run(0, static_cast<float*>(scratch), lanes);
  for (std::size_t i = 0; i < low_.size(); ++i, y += lanes) {
    for (int j = 0; j < count; ++j)
      action[static_cast<int>(i)][j] = hd::from_unit(y[j], low_[i], high_[i]);
  }
}

}  // namespace softmpc
