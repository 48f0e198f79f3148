// SPDX-License-Identifier: Apache-2.0
#include "plan/net.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

constexpr float kLargestF16 = 65504;
constexpr int kWidestPacked = 512;

const char* pack_call(Number number) {
  switch (number) {
    case Number::f32:
      return "pack_weights<Number::f32>";
    case Number::f16:
      return "pack_weights<Number::f16>";
    case Number::bf16:
      return "pack_weights<Number::bf16>";
  }
  return "";
}

int* table_of(ParameterTable& table, Part part) {
  switch (part) {
    case Part::weight:
      return table.weight;
    case Part::bias:
      return table.bias;
    case Part::norm_scale:
      return table.norm_scale;
    case Part::norm_shift:
      return table.norm_shift;
  }
  return nullptr;
}

}  // namespace

int kernel_width(int hidden, Number number) {
  if (number == Number::f32) return round_up(hidden, 8);
  const int width = padded_width(hidden);
  if (width == 0)
    throw UsageError("network: width " + std::to_string(hidden) + " is beyond " +
                     std::to_string(kWidestPacked) +
                     ", the widest of the 16-bit kernels; planner.precision float32 takes any");
  return width;
}

ParameterTable parameter_table(const NetSpec& spec) {
  if (spec.depth() < 2)
    throw UsageError("network: a device needs at least one hidden layer, this net has none");
  if (spec.depth() > kMostLayers)
    throw UsageError("network: has " + std::to_string(spec.depth()) +
                     " layers; a device evaluates up to " + std::to_string(kMostLayers));
  for (int l = 0; l + 1 < spec.depth(); ++l) {
    if (spec.layers[l].width != spec.layers[0].width)
      throw UsageError("network: hidden layers of " + std::to_string(spec.layers[0].width) +
                       " and " + std::to_string(spec.layers[l].width) +
                       " units; on a device all hidden layers of a net are equally wide");
    if (spec.layers[l].normalise != spec.layers[0].normalise)
      throw UsageError(
          "network: some hidden layers have LayerNorm and some do not; on a device all of a net "
          "have it or none");
    if (spec.layers[l].activation != Activation::silu)
      throw UsageError("network: a device evaluates SiLU between layers only");
  }
  ParameterTable table{};
  spec.for_each_slot([&](const ParameterSlot& slot) {
    table_of(table, slot.part)[slot.layer] = static_cast<int>(slot.offset);
  });
  table.size = static_cast<int>(spec.parameters());
  return table;
}

DeviceStack::DeviceStack(Device& device, int stack, NetSpec spec, Number number, Operands operands,
                         int planned)
    : device_(device),
      stack_(stack),
      spec_(std::move(spec)),
      number_(number),
      operands_(operands),
      planned_(planned > 0 ? planned : spec_.outputs()) {
  const ParameterTable table = parameter_table(spec_);
  const int hidden = spec_.layers[0].width;
  parameters_ = device.allocate(parameter_count() * sizeof(float));
  normalisation_ = device.allocate(2 * (spec_.inputs + spec_.outputs()) * sizeof(float));
  staging_ = device.allocate_host(std::max(parameters_->size(), normalisation_->size()));
  job_ = {.parameters = parameters(),
          .words = nullptr,
          .bias = nullptr,
          .table = table,
          .stack = stack_,
          .in = spec_.inputs,
          .hidden = hidden,
          .layers = spec_.depth() - 1,
          .out = spec_.outputs(),
          .width = kernel_width(hidden, number),
          .planned = planned_,
          .norm_units = spec_.normalises() ? hidden : 0,
          .operands = static_cast<int>(operands),
          .order = 0};
  pack_kernel_ = device.load({.call = pack_call(number), .header = "pack.cuh", .job = "PackJob"});
}

void DeviceStack::check(const NetWeights& weights) const {
  if (weights.stack != stack_ || weights.spec != spec_)
    throw Error("network: new weights must have the shape that the planner was created with");
  if (number_ != Number::f16) return;
  for (int l = 0; l < weights.layers(); ++l)
    for (float w : weights.weight(l))
      if (std::abs(w) > kLargestF16)
        throw Error("network: a weight of " + std::to_string(w) +
                    " is beyond 65504, the largest float16; planner.precision bfloat16 or "
                    "float32 holds it");
}

void DeviceStack::upload(const NetWeights& weights) {
  check(weights);
  to_net_order(spec_, stack_, weights.parameters, {staging_->as<float>(), parameter_count()});
  device_.upload(parameters(), staging_->data(), parameters_->size());
  device_.synchronise();
  upload_normalisation(weights.normalisation);
  pack();
  device_.synchronise();
}

void DeviceStack::upload_normalisation(const NetNormalisation& normalisation) {
  float* to = staging_->as<float>();
  to = std::ranges::copy(normalisation.input_mean, to).out;
  to = std::ranges::transform(normalisation.input_std, to, [](float std) { return 1 / std; }).out;
  to = std::ranges::copy(normalisation.output_mean, to).out;
  std::ranges::copy(normalisation.output_std, to);
  device_.upload(normalisation_->data(), staging_->data(), normalisation_->size());
  device_.synchronise();  // the staging memory is used again
}

void DeviceStack::download(NetWeights& weights) const {
  device_.download(staging_->data(), parameters(), parameters_->size());
  device_.synchronise();
  from_net_order(spec_, stack_, {staging_->as<float>(), parameter_count()}, weights.parameters);
}

void DeviceStack::require(WeightOrder order) {
  Copy& copy = copy_[static_cast<int>(order)];
  if (copy.words) return;
  const NetShape shape = {job_.in,   job_.width, job_.layers,    planned_,
                          operands_, order,      job_.norm_units};
  const PlainShape plain = {job_.in, job_.width, job_.layers, planned_, job_.norm_units};
  const std::size_t words = number_ == Number::f32 ? plain.weights() : shape.words();
  copy.words = device_.allocate(words * stack_ * sizeof(std::uint32_t));
  copy.bias = device_.allocate(static_cast<std::size_t>(shape.biases()) * stack_ * sizeof(float));
}

void DeviceStack::pack() {
  constexpr int kThreads = 256;
  for (int order = 0; order < 2; ++order) {
    const Copy& copy = copy_[order];
    if (!copy.words) continue;
    PackJob job = job_;
    job.words = copy.words->as<std::uint32_t>();
    job.bias = copy.bias->as<float>();
    job.order = order;
    const std::size_t words = copy.words->size() / sizeof(std::uint32_t);
    const int blocks = static_cast<int>((words + kThreads - 1) / kThreads);
    // a few elements a thread where there are many
    device_.launch(*pack_kernel_, {.blocks = std::min(blocks, 1024), .threads = kThreads}, job);
  }
}

/// `net` with the constants of inputs and outputs.
template <class Net>
Net DeviceStack::normalised(Net net) const {
  const float* n = normalisation_->as<float>();
  const int in = spec_.inputs, out = spec_.outputs();
  net.input_mean = n;
  net.input_scale = n + in;
  net.output_mean = n + 2 * in;
  net.output_std = n + 2 * in + out;
  return net;
}

DeviceNet DeviceStack::view(WeightOrder order) const {
  const Copy& copy = copy_[static_cast<int>(order)];
  return normalised(DeviceNet{copy.words->as<std::uint32_t>(), copy.bias->as<float>()});
}

FlatNet DeviceStack::flat() const {
  FlatNet net{};
  net.parameters = parameters();
  net.table = job_.table;
  net.in = job_.in;
  net.width = job_.hidden;
  net.hidden = job_.layers;
  net.out = planned_;
  net.normalises = spec_.normalises();
  return normalised(net);
}

}  // namespace softmpc::cuda
