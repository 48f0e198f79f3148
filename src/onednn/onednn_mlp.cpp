// SPDX-License-Identifier: Apache-2.0
#include "onednn/onednn_mlp.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cpu/aligned.h"
#include "onednn/dnnl_matmul.h"
#include "softmpc/error.h"
#include "softmpc/hd/bf16.h"
#include "softmpc/multiversion.h"

namespace softmpc {
namespace {

using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;

/// Blocks are cut into pieces of up to kWidest lanes; there are primitives for each multiple of
/// cpu::kLanes.
constexpr int kWidest = OneDnnMlp::preferred_lanes();
constexpr int kWidths = kWidest / cpu::kLanes;

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

memory::desc plain(int rows, int columns, Type type) { return {{rows, columns}, type, Tag::ab}; }

dnnl::matmul::primitive_desc describe_layer(int lanes, int in, const memory::desc& weight, int out,
                                            Type result) {
  return onednn::describe(engine(),
                          {plain(lanes, in, Type::bf16), weight, plain(1, out, Type::f32),
                           plain(lanes, out, result), true},
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
      return describe_layer(kWidest, 256, any, 256, Type::bf16).impl_info_str();
    } catch (const dnnl::error&) {
      return {};
    }
  }();
  return name;
}

SOFTMPC_MULTIVERSION
void round_all(const float* from, std::uint16_t* to, int count) {
#pragma GCC ivdep
  for (int k = 0; k < count; ++k) to[k] = static_cast<std::uint16_t>(hd::to_bf16(from[k]));
}

struct Layer {
  int in, out;                 // in whole cpu::kRows; padding has zero weights and biases
  memory::desc layout;         // of the weights, the same for all widths
  std::vector<memory> weight;  // [stack]
  std::vector<memory> bias;    // [stack]
  memory staged;               // float32 [in, out], a view of shared storage
  dnnl::reorder pack;          // from staged to weight
  std::array<dnnl::matmul, kWidths> primitive;
  std::array<memory::desc, kWidths> scratchpad;
};

/// What one call needs for itself. Its memory objects keep their addresses.
struct Context {
  dnnl::stream stream{engine()};
  std::vector<std::array<memory, kWidths>> source, result;  // per layer, views of shared storage
  std::vector<std::array<memory, kWidths>> scratchpad;
  cpu::AlignedBytes pads;
  cpu::AlignedFloats turned;  // [kLanes, in] of the first layer
  std::array<cpu::AlignedBytes, 2> blocks;
};

}  // namespace

struct OneDnnMlp::Impl {
  std::vector<Layer> layers;

  std::mutex loading;  // guards the next two: a trainer refreshes several networks at once
  cpu::AlignedFloats staged;
  dnnl::stream stream{engine()};

  std::mutex mutex;  // guards `idle`
  std::vector<std::unique_ptr<Context>> idle;

  Impl(int stack, const std::vector<int>& sizes);
  void add_layer(int stack, int in, int out, bool last);
  void load(int index, Layer& layer, const cpu::PackedLayer& from);
  std::unique_ptr<Context> make_context() const;
  std::unique_ptr<Context> take();
  void give_back(std::unique_ptr<Context> context);
  void read_input(Context& context, const float* x, int stride, int lanes) const;
  void execute(Context& context, int index, int lanes) const;
  void write_output(const Context& context, int lanes, float* y, int stride) const;
};

OneDnnMlp::Impl::Impl(int stack, const std::vector<int>& sizes) {
  for (std::size_t l = 1; l < sizes.size(); ++l)
    add_layer(stack, cpu::pad_rows(sizes[l - 1]), cpu::pad_rows(sizes[l]), l + 1 == sizes.size());
  std::size_t most = 0;
  for (const Layer& layer : layers)
    most = std::max(most, static_cast<std::size_t>(layer.out) * layer.in);
  staged.resize(most);
  for (Layer& layer : layers) {
    layer.staged = memory(plain(layer.in, layer.out, Type::f32), engine(), staged.data());
    layer.pack = dnnl::reorder(layer.staged, layer.weight.front());
  }
  idle.push_back(make_context());
}

void OneDnnMlp::Impl::add_layer(int stack, int in, int out, bool last) {
  Layer layer;
  layer.in = in;
  layer.out = out;
  layer.layout = memory::desc({in, out}, Type::bf16, Tag::any);
  const Type result = last ? Type::f32 : Type::bf16;
  // the widest chooses the layout
  for (int w = kWidths - 1; w >= 0; --w) {
    const auto described = describe_layer((w + 1) * cpu::kLanes, in, layer.layout, out, result);
    layer.layout = described.weights_desc();
    layer.primitive[w] = dnnl::matmul(described);
    layer.scratchpad[w] = described.scratchpad_desc();
  }
  for (int e = 0; e < stack; ++e) {
    layer.weight.emplace_back(layer.layout, engine());
    layer.bias.emplace_back(plain(1, out, Type::f32), engine());
  }
  layers.push_back(std::move(layer));
}

void OneDnnMlp::Impl::load(int index, Layer& layer, const cpu::PackedLayer& from) {
  const std::lock_guard lock(loading);
  for (int i = 0; i < from.in; ++i) {
    float* row = staged.data() + static_cast<std::size_t>(i) * layer.out;
    for (int o = 0; o < layer.out; o += cpu::kGroup) {
      const float* group =
          from.weight + (static_cast<std::size_t>(o / cpu::kGroup) * from.in + i) * cpu::kGroup;
      std::copy(group, group + std::min(cpu::kGroup, layer.out - o), row + o);
    }
  }
  std::fill(staged.data() + static_cast<std::size_t>(from.in) * layer.out,
            staged.data() + static_cast<std::size_t>(layer.in) * layer.out, 0.0f);
  std::copy(from.bias, from.bias + layer.out,
            static_cast<float*>(layer.bias[index].get_data_handle()));
  layer.pack.execute(stream, layer.staged, layer.weight[index]);
  stream.wait();
}

std::unique_ptr<Context> OneDnnMlp::Impl::make_context() const {
  auto context = std::make_unique<Context>();
  std::size_t widest = 0, pads = 64;
  for (const Layer& layer : layers) {
    widest = std::max<std::size_t>(
        {widest, static_cast<std::size_t>(layer.in), 2 * static_cast<std::size_t>(layer.out)});
    for (const auto& pad : layer.scratchpad) pads = std::max(pads, pad.get_size());
  }
  context->pads.resize(pads);
  context->turned.resize(static_cast<std::size_t>(cpu::kLanes) * layers.front().in);
  for (auto& block : context->blocks) block.resize(widest * kWidest * sizeof(std::uint16_t));
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const Layer& layer = layers[l];
    const Type result = l + 1 == layers.size() ? Type::f32 : Type::bf16;
    auto& source = context->source.emplace_back();
    auto& target = context->result.emplace_back();
    auto& pad = context->scratchpad.emplace_back();
    for (int w = 0; w < kWidths; ++w) {
      const int lanes = (w + 1) * cpu::kLanes;
      source[w] =
          memory(plain(lanes, layer.in, Type::bf16), engine(), context->blocks[l % 2].data());
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

// rounds and turns [in, lanes] into [lanes, in], a few lanes at a time to stay in the first cache
void OneDnnMlp::Impl::read_input(Context& context, const float* x, int stride, int lanes) const {
  const int in = layers.front().in;
  auto* to = reinterpret_cast<std::uint16_t*>(context.blocks[0].data());
  float* turned = context.turned.data();
  for (int j = 0; j < lanes; j += cpu::kLanes, to += cpu::kLanes * in) {
    cpu::kernels().transpose(x + j, in, stride, turned, in, cpu::kLanes);
    round_all(turned, to, cpu::kLanes * in);
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

// turns [lanes, out] into [out, lanes]
void OneDnnMlp::Impl::write_output(const Context& context, int lanes, float* y, int stride) const {
  const int out = layers.back().out;
  const auto* from = reinterpret_cast<const float*>(context.blocks[layers.size() % 2].data());
  cpu::kernels().transpose(from, lanes, out, y, stride, out);
}

namespace {

/// Runs `work` on this thread alone; oneDNN's errors become ours.
template <class Work>
void guarded(Work work) {
  const onednn::OneThread guard;
  try {
    work();
  } catch (const dnnl::error& error) {
    throw Error(std::string("oneDNN: ") + error.what());
  }
}

}  // namespace

bool OneDnnMlp::built() { return true; }
bool OneDnnMlp::usable() { return !implementation().empty(); }
bool OneDnnMlp::has_amx() { return implementation().find("amx") != std::string::npos; }

OneDnnMlp::OneDnnMlp(int stack, const std::vector<int>& sizes) {
  if (!usable())
    throw Error(
        "oneDNN has no bfloat16 products for this CPU (they need AVX-512), or was built with "
        "another threading than OpenMP");
  guarded([&] { impl_ = std::make_unique<Impl>(stack, sizes); });
}
OneDnnMlp::~OneDnnMlp() = default;

void OneDnnMlp::load(int index, std::size_t l, const cpu::PackedLayer& layer) {
  guarded([&] { impl_->load(index, impl_->layers[l], layer); });
}

void OneDnnMlp::run(int index, const float* x, float* y, int lanes) const {
  guarded([&] {
    auto context = impl_->take();
    for (int begin = 0; begin < lanes; begin += kWidest) {
      const int width = std::min(kWidest, lanes - begin);
      impl_->read_input(*context, x + begin, lanes, width);
      impl_->execute(*context, index, width);
      impl_->write_output(*context, width, y + begin, lanes);
    }
    impl_->give_back(std::move(context));
  });
}

}  // namespace softmpc
