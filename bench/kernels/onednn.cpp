// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmul with bias and swish fused, row-major rows and weights in the layout that it asks
// for. All layers' operands stay in its layouts: no transposition is charged to it.
#include <algorithm>
#include <unordered_map>

#include "cases.h"
#include "onednn/dnnl_matmul.h"

namespace softmpc::bench {
namespace {

using dnnl::memory;
using Type = memory::data_type;

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const Shape& s, int rows,
                                      Type operands, Type result) {
  const memory::desc src({rows, s.in}, operands, memory::format_tag::ab),
      weight({s.in, s.out}, operands, memory::format_tag::any),
      bias({1, s.out}, Type::f32, memory::format_tag::ab),
      dst({rows, s.out}, result, memory::format_tag::ab);
  return onednn::describe(engine, {src, weight, bias, dst, s.silu}, false);
}

struct Layer {
  dnnl::matmul primitive;
  std::unordered_map<int, memory> arguments;
  std::string implementation;
};

// A memory of the wanted layout, filled from float32 rows of [rows, columns].
memory filled(const dnnl::engine& engine, dnnl::stream& stream, const memory::desc& wanted,
              int rows, int columns, cpu::AlignedFloats values, bool transposed) {
  const memory from(
      {{rows, columns}, Type::f32, transposed ? memory::format_tag::ba : memory::format_tag::ab},
      engine, values.data());
  memory to(wanted, engine);
  dnnl::reorder(from, to).execute(stream, const_cast<memory&>(from), to);
  stream.wait();
  return to;
}

void run(benchmark::State& state, Work work, int rows, Type operands) {
  const onednn::OneThread guard;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const std::vector<Shape> shapes = layers(work);
  std::vector<Layer> net;
  try {
    memory x;
    for (std::size_t l = 0; l < shapes.size(); ++l) {
      const Shape& s = shapes[l];
      const bool last = l + 1 == shapes.size();
      const Parameters p(s);
      const auto pd = describe(engine, s, rows, operands, last ? Type::f32 : operands);
      if (l == 0) x = filled(engine, stream, pd.src_desc(), rows, s.in, input(rows, s.in), false);
      memory bias(pd.bias_desc(), engine);
      std::copy(p.bias.begin(), p.bias.end(), static_cast<float*>(bias.get_data_handle()));
      memory y(pd.dst_desc(), engine);
      net.push_back({dnnl::matmul(pd),
                     {{DNNL_ARG_SRC, x},
                      {DNNL_ARG_WEIGHTS,
                       filled(engine, stream, pd.weights_desc(), s.in, s.out, p.weight, true)},
                      {DNNL_ARG_BIAS, bias},
                      {DNNL_ARG_DST, y}},
                     pd.impl_info_str()});
      x = y;
    }
  } catch (const dnnl::error& error) {
    state.SkipWithError(error.what());
    return;
  }
  state.SetLabel(net.back().implementation);
  for (auto _ : state) {
    for (Layer& layer : net) layer.primitive.execute(stream, layer.arguments);
    stream.wait();
    benchmark::ClobberMemory();
  }
  const memory& y = net.back().arguments.at(DNNL_ARG_DST);
  memory result({{rows, shapes.back().out}, Type::f32, memory::format_tag::ab}, engine);
  dnnl::reorder(y, result).execute(stream, const_cast<memory&>(y), result);
  stream.wait();
  double sizes = 0;
  for (int k = 0; k < rows * shapes.back().out; ++k)
    sizes += std::abs(static_cast<const float*>(result.get_data_handle())[k]);
  report(state, work, rows, sizes);
}

const bool registered = [] {
  register_cases("onednn_f32", [](benchmark::State& state, Work work, int rows) {
    run(state, work, rows, Type::f32);
  });
  register_cases("onednn_bf16", [](benchmark::State& state, Work work, int rows) {
    run(state, work, rows, Type::bf16);
  });
  return true;
}();

}  // namespace
}  // namespace softmpc::bench
