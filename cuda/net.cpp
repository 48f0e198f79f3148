// SPDX-License-Identifier: Apache-2.0
#include "net.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/pack_places.h"
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

DeviceStack::DeviceStack(Device& device, int stack, std::vector<int> sizes, Number number,
                         Operands operands, int planned)
    : device_(device),
      stack_(stack),
      sizes_(std::move(sizes)),
      number_(number),
      operands_(operands),
      planned_(planned > 0 ? planned : sizes_.back()) {
  if (sizes_.size() < 3)
    throw UsageError("network: a device needs at least one hidden layer, this net has none");
  for (std::size_t l = 2; l + 1 < sizes_.size(); ++l)
    if (sizes_[l] != sizes_[1])
      throw UsageError("network: hidden layers of " + std::to_string(sizes_[1]) + " and " +
                       std::to_string(sizes_[l]) +
                       " units; on a device all hidden layers of a net are equally wide");
  const int layers = static_cast<int>(sizes_.size()) - 2, width = kernel_width(sizes_[1], number);
  const ParameterPlaces places = {sizes_[0], sizes_[1], layers, sizes_.back()};
  per_member_ = static_cast<std::size_t>(places.count());
  parameters_ = device.allocate(per_member_ * stack_ * sizeof(float));
  normalisation_ = device.allocate(2 * (sizes_.front() + sizes_.back()) * sizeof(float));
  staging_ = device.allocate_host(
      std::max(per_member_ * stack_, static_cast<std::size_t>(normalisation_->size())) *
      sizeof(float));
  job_ = {.parameters = parameters(),
          .words = nullptr,
          .bias = nullptr,
          .stack = stack_,
          .per_network = static_cast<int>(per_member_),
          .in = sizes_[0],
          .hidden = sizes_[1],
          .layers = layers,
          .out = sizes_.back(),
          .width = width,
          .planned = planned_,
          .operands = static_cast<int>(operands),
          .order = 0};
  pack_kernel_ = device.load({.call = pack_call(number), .header = "pack.cuh", .job = "PackJob"});
}

void DeviceStack::check(const MlpWeights& weights) const {
  if (weights.stack != stack_ || weights.sizes != sizes_)
    throw Error("network: new weights must have the shape that the planner was created with");
  if (number_ != Number::f16) return;
  for (const auto& layer : weights.weight)
    for (float w : layer)
      if (std::abs(w) > kLargestF16)
        throw Error("network: a weight of " + std::to_string(w) +
                    " is beyond 65504, the largest float16; planner.precision bfloat16 or "
                    "float32 holds it");
}

void DeviceStack::upload(const MlpWeights& weights) {
  check(weights);
  float* to = staging_->as<float>();
  for (int e = 0; e < stack_; ++e)
    for (int l = 0; l < weights.layers(); ++l) {
      const std::size_t out = sizes_[l + 1], count = out * sizes_[l];
      to = std::copy_n(weights.weight[l].begin() + static_cast<std::ptrdiff_t>(e * count), count,
                       to);
      to = std::copy_n(weights.bias[l].begin() + static_cast<std::ptrdiff_t>(e * out), out, to);
    }
  device_.upload(parameters(), staging_->data(), per_member_ * stack_ * sizeof(float));
  device_.synchronise();
  upload_normalisation(weights);
  pack();
  device_.synchronise();
}

void DeviceStack::upload_normalisation(const MlpWeights& weights) {
  float* to = staging_->as<float>();
  to = std::ranges::copy(weights.input_mean, to).out;
  to = std::ranges::transform(weights.input_std, to, [](float std) { return 1 / std; }).out;
  to = std::ranges::copy(weights.output_mean, to).out;
  std::ranges::copy(weights.output_std, to);
  device_.upload(normalisation_->data(), staging_->data(), normalisation_->size());
  device_.synchronise();  // the staging memory is used again
}

void DeviceStack::download(MlpWeights& weights) const {
  device_.download(staging_->data(), parameters(), per_member_ * stack_ * sizeof(float));
  device_.synchronise();
  const float* from = staging_->as<float>();
  for (int e = 0; e < stack_; ++e)
    for (int l = 0; l < weights.layers(); ++l) {
      const std::size_t out = sizes_[l + 1], count = out * sizes_[l];
      std::copy_n(from, count, weights.weight[l].begin() + static_cast<std::ptrdiff_t>(e * count));
      std::copy_n(from + count, out,
                  weights.bias[l].begin() + static_cast<std::ptrdiff_t>(e * out));
      from += count + out;
    }
}

void DeviceStack::require(WeightOrder order) {
  Copy& copy = copy_[static_cast<int>(order)];
  if (copy.words) return;
  const NetShape shape = {job_.in, job_.width, job_.layers, planned_, operands_, order};
  const PlainShape plain = {job_.in, job_.width, job_.layers, planned_};
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

DeviceNet DeviceStack::view(WeightOrder order) const {
  const Copy& copy = copy_[static_cast<int>(order)];
  const float* n = normalisation_->as<float>();
  const int in = sizes_.front(), out = sizes_.back();
  return {copy.words->as<std::uint32_t>(),
          copy.bias->as<float>(),
          n,
          n + in,
          n + 2 * in,
          n + 2 * in + out};
}

}  // namespace softmpc::cuda
