// SPDX-License-Identifier: Apache-2.0
#include "onednn/onednn_mlp.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cpu/aligned.h"
#include "onednn/dnnl_matmul.h"
#include "softmpc/error.h"
#include "softmpc/hd/math.h"

namespace softmpc {
namespace {

using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;

/// Blocks are cut into pieces of up to kWidest lanes; there are primitives for each multiple of
/// cpu::kLanes.
constexpr int kWidest = OneDnnMlp::preferred_lanes();
constexpr int kWidths = kWidest / cpu::kLanes;
/// Inputs are padded to whole 32-byte rows, so that none is split.
constexpr int kInputs = 16;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::desc plain(int rows, int columns, Type type) { return {{rows, columns}, type, Tag::ab}; }

dnnl::matmul::primitive_desc describe_layer(int lanes, int in, const memory::desc& weight, int out,
                                            bool silu, Type result) {
  return onednn::describe(engine(),
                          {plain(lanes, in, Type::bf16), weight, plain(1, out, Type::f32),
                           plain(lanes, out, result), silu},
                          true);
}

/// The implementation that oneDNN takes for a hidden layer; empty where it has none.
const std::string& implementation() {
  static const std::string name = []() -> std::string {
    // with other runtimes nothing here keeps oneDNN on one thread
    const unsigned runtime = dnnl::version()->cpu_runtime;
    if (runtime != DNNL_RUNTIME_OMP && runtime != DNNL_RUNTIME_SEQ) return {};
    const onednn::OneThread guard;
    try {
      const memory::desc any({256, 256}, Type::bf16, Tag::any);
      return describe_layer(kWidest, 256, any, 256, true, Type::bf16).impl_info_str();
    } catch (const dnnl::error&) {
      return {};
    }
  }();
  return name;
}

float tanh_or_not(cpu::Activation a, float z) {
  return a == cpu::Activation::tanh ? hd::tanh(z) : z;
}

std::uint16_t to_bf16(float value) {  // to nearest, ties to even; NaN stays NaN
  const std::uint32_t bits = hd::float_to_bits(value);
  if (value != value) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Layer {
  int in, padded_in, out;
  memory::desc layout;         // of the weights, the same for all widths
  std::vector<memory> weight;  // [stack]
  std::vector<memory> bias;    // [stack]
  std::array<dnnl::matmul, kWidths> primitive;
  std::array<memory::desc, kWidths> scratchpad;
};

/// What one call needs for itself. Its memory objects keep their addresses.
struct Context {
  dnnl::stream stream{engine()};
  memory input;                                             // bf16 [kWidest, padded_in]
  std::vector<std::array<memory, kWidths>> source, result;  // per layer, views of shared storage
  std::vector<std::array<memory, kWidths>> scratchpad;
  cpu::AlignedBytes pads;
  std::array<cpu::AlignedBytes, 2> blocks;
};

}  // namespace

struct OneDnnMlp::Impl {
  int stack, outputs;
  std::vector<int> sizes;
  cpu::Activation output_activation;
  std::vector<Layer> layers;
  std::vector<float> input_mean, input_scale, output_mean, output_std;
  cpu::AlignedFloats staged;  // one layer's weights as float32
  dnnl::stream stream{engine()};

  std::mutex mutex;  // guards `idle`
  std::vector<std::unique_ptr<Context>> idle;

  Impl(const MlpWeights& weights, cpu::Activation activation, int wanted);
  void add_layer(int in, int out, bool last);
  void update(const MlpWeights& weights);
  void pack(const MlpWeights& weights, std::size_t l, int e);
  std::unique_ptr<Context> make_context() const;
  std::unique_ptr<Context> take();
  void give_back(std::unique_ptr<Context> context);
  void read_input(const float* x, int stride, int lanes, std::uint16_t* to) const;
  void execute(Context& context, int index, int lanes) const;
  void write_output(const float* from, int lanes, float* y, int stride) const;
};

OneDnnMlp::Impl::Impl(const MlpWeights& weights, cpu::Activation activation, int wanted)
    : stack(weights.stack),
      outputs(wanted > 0 ? wanted : weights.outputs()),
      sizes(weights.sizes),
      output_activation(activation) {
  for (int l = 0; l < weights.layers(); ++l) {
    const bool last = l + 1 == weights.layers();
    add_layer(sizes[l], last ? outputs : sizes[l + 1], last);
  }
  update(weights);
  idle.push_back(make_context());
}

void OneDnnMlp::Impl::add_layer(int in, int out, bool last) {
  Layer layer;
  layer.in = in;
  layer.padded_in = layers.empty() ? (in + kInputs - 1) / kInputs * kInputs : in;
  layer.out = out;
  layer.layout = memory::desc({layer.padded_in, out}, Type::bf16, Tag::any);
  const Type result = last ? Type::f32 : Type::bf16;
  // the widest chooses the layout
  for (int w = kWidths - 1; w >= 0; --w) {
    const auto described =
        describe_layer((w + 1) * cpu::kLanes, layer.padded_in, layer.layout, out, !last, result);
    layer.layout = described.weights_desc();
    layer.primitive[w] = dnnl::matmul(described);
    layer.scratchpad[w] = described.scratchpad_desc();
  }
  for (int e = 0; e < stack; ++e) {
    layer.weight.emplace_back(layer.layout, engine());
    layer.bias.emplace_back(plain(1, out, Type::f32), engine());
  }
  staged.resize(std::max(staged.size(), static_cast<std::size_t>(out) * layer.padded_in));
  layers.push_back(std::move(layer));
}

void OneDnnMlp::Impl::pack(const MlpWeights& weights, std::size_t l, int e) {
  Layer& layer = layers[l];
  const std::size_t out = static_cast<std::size_t>(sizes[l + 1]);  // stored rows
  const float* from = weights.weight[l].data() + e * out * layer.in;
  float* bias = static_cast<float*>(layer.bias[e].get_data_handle());
  // an activation of the outputs acts on the normalised ones: scale and shift join the last layer
  const bool fold = l + 1 == layers.size() && output_activation != cpu::Activation::none;
  std::fill(staged.begin(), staged.end(), 0.0f);
  for (int o = 0; o < layer.out; ++o) {
    const float scale = fold ? weights.output_std[o] : 1;
    for (int i = 0; i < layer.in; ++i)
      staged[static_cast<std::size_t>(o) * layer.padded_in + i] =
          scale * from[static_cast<std::size_t>(o) * layer.in + i];
    bias[o] = scale * weights.bias[l][e * out + o] + (fold ? weights.output_mean[o] : 0);
  }
  memory rows({{layer.padded_in, layer.out}, Type::f32, Tag::ba}, engine(), staged.data());
  dnnl::reorder(rows, layer.weight[e]).execute(stream, rows, layer.weight[e]);
  stream.wait();
}

void OneDnnMlp::Impl::update(const MlpWeights& weights) {
  if (weights.stack != stack || weights.sizes != sizes)
    throw Error("network update: the shape differs from the network's own");
  weights.validate_shape("network update");
  for (std::size_t l = 0; l < layers.size(); ++l)
    for (int e = 0; e < stack; ++e) pack(weights, l, e);
  input_mean = weights.input_mean;
  input_scale.resize(weights.input_std.size());
  for (std::size_t i = 0; i < input_scale.size(); ++i) input_scale[i] = 1 / weights.input_std[i];
  output_mean = weights.output_mean;
  output_std = weights.output_std;
}

std::unique_ptr<Context> OneDnnMlp::Impl::make_context() const {
  auto context = std::make_unique<Context>();
  std::size_t widest = 0, pads = 64;
  for (const Layer& layer : layers) {
    widest = std::max<std::size_t>({widest, static_cast<std::size_t>(layer.padded_in),
                                    2 * static_cast<std::size_t>(layer.out)});
    for (const auto& pad : layer.scratchpad) pads = std::max(pads, pad.get_size());
  }
  context->pads.resize(pads);
  for (auto& block : context->blocks) block.resize(widest * kWidest * sizeof(std::uint16_t));
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Layer& layer = layers[l];
    const Type result = l + 1 == layers.size() ? Type::f32 : Type::bf16;
    auto& source = context->source.emplace_back();
    auto& target = context->result.emplace_back();
    auto& pad = context->scratchpad.emplace_back();
    for (int w = 0; w < kWidths; ++w) {
      const int lanes = (w + 1) * cpu::kLanes;
      source[w] = memory(plain(lanes, layer.padded_in, Type::bf16), engine(),
                         context->blocks[l % 2].data());
      target[w] =
          memory(plain(lanes, layer.out, result), engine(), context->blocks[(l + 1) % 2].data());
      pad[w] = memory(layer.scratchpad[w], engine(), context->pads.data());
    }
  }
  return context;
}

std::unique_ptr<Context> OneDnnMlp::Impl::take() {
  {
    const std::lock_guard lock(mutex);
    if (!idle.empty()) {
      auto context = std::move(idle.back());
      idle.pop_back();
      return context;
    }
  }
  return make_context();  // more threads at once than ever before
}

void OneDnnMlp::Impl::give_back(std::unique_ptr<Context> context) {
  const std::lock_guard lock(mutex);
  idle.push_back(std::move(context));
}

// normalises, rounds and turns [inputs, lanes] into [lanes, padded_in]
void OneDnnMlp::Impl::read_input(const float* x, int stride, int lanes, std::uint16_t* to) const {
  const int in = layers.front().in, padded = layers.front().padded_in;
  for (int j = 0; j < lanes; ++j, to += padded) {
    for (int i = 0; i < in; ++i) {
      const float value = x[static_cast<std::size_t>(i) * stride + j];
      // a masked input (scale 0) must not turn an infinite observation into NaN
      to[i] = input_scale[i] == 0 ? 0 : to_bf16((value - input_mean[i]) * input_scale[i]);
    }
    std::fill(to + in, to + padded, std::uint16_t{0});
  }
}

void OneDnnMlp::Impl::execute(Context& context, int index, int lanes) const {
  const int w = lanes / cpu::kLanes - 1;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, context.source[l][w].get()},
                                         {DNNL_ARG_WEIGHTS, layers[l].weight[index].get()},
                                         {DNNL_ARG_BIAS, layers[l].bias[index].get()},
                                         {DNNL_ARG_DST, context.result[l][w].get()},
                                         {DNNL_ARG_SCRATCHPAD, context.scratchpad[l][w].get()}};
    // the C call: the C++ one would build a map of the arguments first
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(layers[l].primitive[w].get(), context.stream.get(), 5, arguments),
        "oneDNN: a product failed");
  }
  context.stream.wait();
}

// activates or denormalises, and turns [lanes, outputs] into [outputs, lanes]
void OneDnnMlp::Impl::write_output(const float* from, int lanes, float* y, int stride) const {
  const bool denormalise = output_activation == cpu::Activation::none;
  for (int o = 0; o < outputs; ++o) {
    const float mean = denormalise ? output_mean[o] : 0, std = denormalise ? output_std[o] : 1;
    float* row = y + static_cast<std::size_t>(o) * stride;
    for (int j = 0; j < lanes; ++j) {
      const float z = from[static_cast<std::size_t>(j) * outputs + o];
      row[j] = denormalise ? mean + std * z : tanh_or_not(output_activation, z);
    }
  }
}

bool OneDnnMlp::built() { return true; }
bool OneDnnMlp::usable() { return !implementation().empty(); }
bool OneDnnMlp::has_amx() { return implementation().find("amx") != std::string::npos; }

OneDnnMlp::OneDnnMlp(const MlpWeights& weights, cpu::Activation output_activation, int outputs) {
  if (!usable())
    throw Error(
        "oneDNN has no bfloat16 products for this CPU (they need AVX-512), or was built "
        "with another threading than OpenMP");
  const onednn::OneThread guard;
  try {
    impl_ = std::make_unique<Impl>(weights, output_activation, outputs);
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN: ") + error.what());
  }
}
OneDnnMlp::~OneDnnMlp() = default;

void OneDnnMlp::update(const MlpWeights& weights) {
  const onednn::OneThread guard;
  try {
    impl_->update(weights);
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN: ") + error.what());
  }
}

std::size_t OneDnnMlp::scratch_floats(int lanes) const {
  return static_cast<std::size_t>(impl_->sizes.front() + impl_->outputs) * lanes;
}

const float* OneDnnMlp::run(int index, float* scratch, int lanes) const {
  const onednn::OneThread guard;
  Impl& impl = *impl_;
  float* y = scratch + static_cast<std::size_t>(impl.sizes.front()) * lanes;
  try {
    auto context = impl.take();
    const std::size_t last = impl.layers.size() % 2;
    for (int begin = 0; begin < lanes; begin += kWidest) {
      const int width = std::min(kWidest, lanes - begin);
      impl.read_input(scratch + begin, lanes, width,
                      reinterpret_cast<std::uint16_t*>(context->blocks[0].data()));
      impl.execute(*context, index, width);
      impl.write_output(reinterpret_cast<const float*>(context->blocks[last].data()), width,
                        y + begin, lanes);
    }
    impl.give_back(std::move(context));
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN: ") + error.what());
  }
  return y;
}

}  // namespace softmpc
