// SPDX-License-Identifier: Apache-2.0
// Bundles to and from safetensors. What is saved and what is loaded pass the same checks.
#include "softmpc/bundle.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/atomic_file.h"
#include "io/safetensors.h"
#include "planner_inputs.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormatVersion = 2;
/// Planner settings that are written only where they are not at their default: without them a
/// softmpc that does not know them reads the bundle. New settings belong here.
constexpr const char* kWrittenIfUsed[] = {"neutral", "covariance", "termination_cost"};
constexpr int kWidest = 1 << 24;  // larger layers than memory holds are refused before arithmetic

void require(bool holds, const std::string& what) {
  if (!holds) throw Error(what);
}

// ---- checks ----

std::string sizes_text(const Bundle& b) {
  return "nx " + std::to_string(b.nx) + ", nu " + std::to_string(b.nu);
}

void check_net(const NetWeights& net, const std::string& what, int inputs, int outputs_least,
               int outputs_most, const Bundle& b) {
  net.validate(what);
  for (int l = 0; l < net.layers(); ++l) {
    const Activation stored = l + 1 < net.layers() ? Activation::silu : Activation::none;
    require(net.spec.layers[static_cast<std::size_t>(l)].activation == stored,
            what + ", layer " + std::to_string(l + 1) +
                ": a bundle holds nets with SiLU between layers and a linear head");
  }
  require(net.inputs() == inputs, what + ": has " + std::to_string(net.inputs()) + " inputs, " +
                                      std::to_string(inputs) + " are needed (" + sizes_text(b) +
                                      ")");
  require(net.outputs() >= outputs_least && net.outputs() <= outputs_most,
          what + ": has " + std::to_string(net.outputs()) + " outputs, " +
              std::to_string(outputs_least) + " are needed (" + sizes_text(b) + ")");
}

/// The settings that a bundle holds, among all.
Config settings_of(const Bundle& b) {
  Config settings;
  settings.planner = b.planner;
  settings.environment = b.environment;
  settings.trainer.acting = b.acting;
  return settings;
}

void check_state_range(const Bundle& b) {
  if (b.state_low.empty() && b.state_high.empty()) return;
  const auto nx = static_cast<std::size_t>(b.nx);
  require(b.state_low.size() == nx && b.state_high.size() == nx,
          "state_range: has " + std::to_string(b.state_low.size()) + " and " +
              std::to_string(b.state_high.size()) + " numbers, nx is " + std::to_string(b.nx));
  for (std::size_t i = 0; i < nx; ++i)
    require(b.state_low[i] <= b.state_high[i],
            "state_range: component " + std::to_string(i) + " ends below its start");
}

void check_bundle(const Bundle& b) {
  require(printable(b.task) == b.task, "task: has a control character");
  require(b.nx > 0 && b.nu > 0 && b.nx <= kWidest && b.nu <= kWidest,
          "sizes: " + sizes_text(b) + " are not positive");
  require(std::isfinite(b.dt) && b.dt > 0, "dt: " + std::to_string(b.dt) + " is not positive");
  const auto nu = static_cast<std::size_t>(b.nu);
  require(b.action_low.size() == nu && b.action_high.size() == nu,
          "bounds: have " + std::to_string(b.action_low.size()) + " and " +
              std::to_string(b.action_high.size()) + " numbers, nu is " + std::to_string(b.nu));
  check_state_range(b);
  validate(settings_of(b));
  check_shape(b.planner, {b.nx, b.nu, b.action_low, b.action_high, 1});

  const int wanted = b.nx + b.outputs.reward + b.outputs.termination;
  if (b.members.stack != 0) check_net(b.members, "members", b.nx + b.nu, wanted, kWidest, b);
  check_net(b.critics, "critics", b.nx + b.nu, 1, 1, b);
  if (b.policy) {
    check_net(*b.policy, "policy", b.nx, b.nu, b.nu, b);
    require(b.policy->stack == 1,
            "policy: is a stack of " + std::to_string(b.policy->stack) + " networks, and not of 1");
  }
  require(b.policy || !plans_with_policy(b.planner),
          "policy: is missing, and planner." + policy_use(b.planner) + " needs it");
  require(b.policy || b.acting != Acting::policy, "policy: is missing, and acting needs it");
}

// ---- writing ----

void put_vector(TensorFile& file, const std::string& name, const std::vector<float>& values) {
  file.tensors[name] = Tensor::of<float>({static_cast<std::int64_t>(values.size())}, values);
}

void put_net(TensorFile& file, const std::string& name, const NetWeights& net) {
  net.spec.for_each_slot([&](const ParameterSlot& slot) {
    const auto values = net.slot(slot.layer, slot.part);
    std::vector<std::int64_t> shape = {net.stack, slot.rows};
    if (slot.part == Part::weight) shape.push_back(slot.cols);
    file.tensors[name + "." + slot.name()] =
        Tensor::of<float>(std::move(shape), {values.begin(), values.end()});
  });
  put_vector(file, name + ".input_mean", net.normalisation.input_mean);
  put_vector(file, name + ".input_std", net.normalisation.input_std);
  put_vector(file, name + ".output_mean", net.normalisation.output_mean);
  put_vector(file, name + ".output_std", net.normalisation.output_std);
}

/// The floats by their shortest names: 0.4, and not 0.4000000059604645; null for infinite ones.
Json float_list(const std::vector<float>& values) {
  Json list = Json::array();
  for (const float x : values) {
    if (std::isinf(x)) {
      list.push_back(nullptr);
      continue;
    }
    char text[64];
    const auto end = std::to_chars(text, text + sizeof(text), x).ptr;
    double shortest = 0;
    std::from_chars(text, end, shortest);
    list.push_back(shortest);
  }
  return list;
}

/// Whether a net scales its inputs or outputs, for readers in other languages. A masked input
/// (std infinite) is no scaling.
const char* normalisation_of(const NetWeights& net) {
  const NetNormalisation& n = net.normalisation;
  const auto plain_mean = [](float m) { return m == 0; };
  const auto plain_std = [](float s) { return s == 1 || std::isinf(s); };
  return std::ranges::all_of(n.input_mean, plain_mean) &&
                 std::ranges::all_of(n.input_std, plain_std) &&
                 std::ranges::all_of(n.output_mean, plain_mean) &&
                 std::ranges::all_of(n.output_std, plain_std)
             ? "none"
             : "running";
}

/// The planner's settings.
Json planner_json(const Json& settings) {
  Json planner = settings["planner"];
  const Json defaults = Json::parse(to_json(Config{}))["planner"];
  for (const char* name : kWrittenIfUsed)
    if (planner[name] == defaults[name]) planner.erase(name);
  return planner;
}

void put_metadata(TensorFile& file, const Bundle& b) {
  auto& meta = file.metadata;
  meta["format_version"] = std::to_string(kFormatVersion);
  meta["task"] = b.task;
  meta["sizes"] = Json{{"nx", b.nx}, {"nu", b.nu}}.dump();
  meta["bounds"] =
      Json{{"low", float_list(b.action_low)}, {"high", float_list(b.action_high)}}.dump();
  meta["dt"] = Json(b.dt).dump();
  if (!b.state_low.empty())
    meta["state_range"] =
        Json{{"low", float_list(b.state_low)}, {"high", float_list(b.state_high)}}.dump();
  meta["outputs"] =
      Json{{"reward", b.outputs.reward}, {"termination", b.outputs.termination}}.dump();
  meta["normalisation"] =
      Json{{"model", normalisation_of(b.members)}, {"critic", normalisation_of(b.critics)}}.dump();
  const Json settings = Json::parse(to_json(settings_of(b)));
  meta["planner"] = planner_json(settings).dump();
  meta["environment"] = settings["environment"].dump();
  meta["acting"] = settings["trainer"]["acting"].get<std::string>();
  meta["provenance"] = b.provenance.empty() ? "{}" : b.provenance;
  meta["checksum"] = content_checksum(file);
}

TensorFile to_file(const Bundle& bundle) {
  TensorFile file;
  if (bundle.members.stack != 0) put_net(file, "members", bundle.members);
  put_net(file, "critics", bundle.critics);
  if (bundle.policy) put_net(file, "policy", *bundle.policy);
  put_metadata(file, bundle);
  return file;
}

// ---- reading ----

/// Metadata entry `name`, parsed.
Json parsed(const TensorFile& file, const std::string& name) {
  const auto at = file.metadata.find(name);
  require(at != file.metadata.end(), "metadata " + name + ": is missing");
  Json value = Json::parse(at->second, nullptr, false);
  require(!value.is_discarded(), "metadata " + name + ": is not JSON");
  return value;
}

template <class T>
T member(const Json& object, const std::string& name, const char* key) {
  try {
    return object.at(key).template get<T>();
  } catch (const nlohmann::json::exception&) {
    throw Error("metadata " + name + ": " + key + " is missing or of the wrong type");
  }
}

int size_member(const Json& object, const std::string& name, const char* key) {
  const Json value = member<Json>(object, name, key);
  require(value.is_number_unsigned() && value.get<std::uint64_t>() <= kWidest,
          "metadata " + name + ": " + key + " is not a size");
  return value.get<int>();
}

/// Takes the tensors of the networks out of a file; what is left at the end is unexpected.
class NetReader {
 public:
  explicit NetReader(TensorFile& file) : tensors_(file.tensors) {}

  bool has(const std::string& name) const {
    const auto first = tensors_.lower_bound(name + ".");
    return first != tensors_.end() && first->first.starts_with(name + ".");
  }

  NetWeights take_net(const std::string& name) {
    NetWeights net = read_shape(name);
    net.spec.for_each_slot([&](const ParameterSlot& slot) {
      std::vector<std::int64_t> shape = {net.stack, slot.rows};
      if (slot.part == Part::weight) shape.push_back(slot.cols);
      const std::vector<float> values = take(name + "." + slot.name(), shape);
      net.parameters.insert(net.parameters.end(), values.begin(), values.end());
    });
    NetNormalisation& n = net.normalisation;
    const int in = net.inputs(), out = net.outputs();
    n.input_mean = take(name + ".input_mean", {in});
    n.input_std = take(name + ".input_std", {in});
    n.output_mean = take(name + ".output_mean", {out});
    n.output_std = take(name + ".output_std", {out});
    return net;
  }

  void expect_empty() const {
    if (!tensors_.empty()) throw Error("tensor " + tensors_.begin()->first + ": is not expected");
  }

 private:
  /// Stack and layers, as the weights' shapes tell them; SiLU between layers.
  NetWeights read_shape(const std::string& name) const {
    NetWeights net;
    for (int l = 1; l == 1 || tensors_.count(name + ".weight" + std::to_string(l)) != 0; ++l) {
      const std::string number = std::to_string(l), weight = name + ".weight" + number;
      const Tensor& tensor = find(weight);
      require(tensor.shape.size() == 3, "tensor " + weight + ": its shape is not [E, out, in]");
      for (const std::int64_t size : tensor.shape) {
        require(size > 0 && size <= kWidest, "tensor " + weight + ": its shape is out of range");
      }
      if (l == 1) {
        net.stack = static_cast<int>(tensor.shape[0]);
        net.spec.inputs = static_cast<int>(tensor.shape[2]);
      }
      net.spec.layers.push_back({static_cast<int>(tensor.shape[1]), Activation::silu,
                                 tensors_.count(name + ".norm_scale" + number) != 0});
    }
    net.spec.layers.back().activation = Activation::none;
    return net;
  }

  const Tensor& find(const std::string& name) const {
    const auto at = tensors_.find(name);
    require(at != tensors_.end(), "tensor " + name + ": is missing");
    return at->second;
  }

  std::vector<float> take(const std::string& name, const std::vector<std::int64_t>& shape) {
    const Tensor& tensor = find(name);
    require(tensor.type == TensorType::f32,
            "tensor " + name + ": is of type " + to_string(tensor.type) + " and not F32");
    require(tensor.shape == shape, "tensor " + name + ": has the shape " + text(tensor.shape) +
                                       ", " + text(shape) + " is needed");
    std::vector<float> values = tensor.values<float>();
    tensors_.erase(name);
    return values;
  }

  static std::string text(const std::vector<std::int64_t>& shape) { return Json(shape).dump(); }

  std::map<std::string, Tensor>& tensors_;
};

void check_version(const TensorFile& file) {
  require(file.metadata.count("format_version") != 0,
          "is not a softmpc bundle: it has no metadata format_version");
  const Json version = parsed(file, "format_version");
  require(version.is_number_unsigned() && version.get<std::uint64_t>() >= 1,
          "metadata format_version: is not a version");
  if (version.get<std::uint64_t>() > kFormatVersion)
    throw NewerBundle("is a bundle of format " + version.dump() + ", this softmpc reads up to " +
                      std::to_string(kFormatVersion) + "; a newer softmpc is needed");
}

void check_checksum(const TensorFile& file) {
  const auto stored = file.metadata.find("checksum");
  require(stored != file.metadata.end(), "metadata checksum: is missing");
  const std::string computed = content_checksum(file);
  require(stored->second == computed,
          "is corrupt: its content has the checksum " + computed + " and not the stored one");
}

std::vector<float> limits_member(const Json& object, const std::string& name, const char* key,
                                 float endless) {
  std::vector<float> values;
  for (const Json& x : member<std::vector<Json>>(object, name, key)) {
    require(x.is_null() || x.is_number(), "metadata " + name + ": " + key + " has " + x.dump() +
                                              ", which is neither a number nor null");
    values.push_back(x.is_null() ? endless : x.get<float>());
  }
  return values;
}

/// Metadata `name`, {"low": [...], "high": [...]}; null stands for no limit.
void read_limits(const TensorFile& file, const std::string& name, std::vector<float>& low,
                 std::vector<float>& high) {
  const Json limits = parsed(file, name);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  low = limits_member(limits, name, "low", -kInfinity);
  high = limits_member(limits, name, "high", kInfinity);
}

/// Format 2: settings by what they are for.
void read_settings(const TensorFile& file, Bundle& b) {
  Config settings;
  for (const char* section : {"planner", "environment"})
    apply_settings(settings, Json{{section, parsed(file, section)}}.dump(),
                   std::string("its metadata ") + section);
  const auto acting = file.metadata.find("acting");
  require(acting != file.metadata.end(), "metadata acting: is missing");
  apply_settings(settings, Json{{"trainer", {{"acting", acting->second}}}}.dump(),
                 "its metadata acting");
  b.planner = settings.planner;
  b.environment = settings.environment;
  b.acting = settings.trainer.acting;
}

/// Format 1: all settings of the run in one; what the bundle does not need becomes provenance.
void read_settings_of_run(const TensorFile& file, Bundle& b) {
  const Json run = parsed(file, "config");
  require(run.is_object(), "metadata config: is not an object");
  Json wanted = Json::object();
  for (const char* section : {"planner", "environment"})
    if (run.contains(section)) wanted[section] = run[section];
  for (const auto& [section, key] : {std::pair{"trainer", "acting"}, std::pair{"model", "source"}})
    if (run.contains(section) && run[section].contains(key))
      wanted[section][key] = run[section][key];
  Config settings;
  apply_settings(settings, wanted.dump(), "its metadata config");
  b.planner = settings.planner;
  b.environment = settings.environment;
  b.acting = settings.trainer.acting;
  // such a run stored members that were never trained
  if (settings.model.source == ModelSource::environment) b.members = {};
  Json provenance = parsed(file, "provenance");
  provenance["settings"] = run;
  b.provenance = provenance.dump();
}

Bundle from_file(TensorFile file) {
  check_version(file);
  check_checksum(file);
  Bundle b;
  b.task = file.metadata["task"];
  const Json sizes = parsed(file, "sizes");
  b.nx = size_member(sizes, "sizes", "nx");
  b.nu = size_member(sizes, "sizes", "nu");
  read_limits(file, "bounds", b.action_low, b.action_high);
  if (file.metadata.count("state_range") != 0)
    read_limits(file, "state_range", b.state_low, b.state_high);
  const Json dt = parsed(file, "dt");
  require(dt.is_number(), "metadata dt: is not a number");
  b.dt = dt.get<double>();
  const Json outputs = parsed(file, "outputs");
  b.outputs.reward = member<bool>(outputs, "outputs", "reward");
  b.outputs.termination = member<bool>(outputs, "outputs", "termination");
  require(parsed(file, "provenance").is_object(), "metadata provenance: is not an object");
  b.provenance = file.metadata["provenance"];
  const bool of_run = file.metadata["format_version"] == "1";

  NetReader reader(file);
  if (reader.has("members")) b.members = reader.take_net("members");
  b.critics = reader.take_net("critics");
  if (reader.has("policy")) b.policy = reader.take_net("policy");
  reader.expect_empty();
  of_run ? read_settings_of_run(file, b) : read_settings(file, b);
  check_bundle(b);
  return b;
}

}  // namespace

std::uint64_t bundle_hash(const Bundle& bundle) {
  const std::string text = to_file(bundle).metadata["checksum"];
  std::uint64_t hash = 0;
  std::from_chars(text.data() + text.find(':') + 1, text.data() + text.size(), hash, 16);
  return hash;
}

void save_bundle(const Bundle& bundle, const std::string& path) {
  TensorFile file;
  try {
    check_bundle(bundle);
    file = to_file(bundle);
    require(parsed(file, "provenance").is_object(), "provenance: is not a JSON object");
  } catch (const Error& error) {
    throw Error(path + ": cannot be saved: " + error.what());
  }
  write_safetensors(path, file);
}

Bundle load_bundle(const std::string& path) {
  const std::string bytes = read_file(path);
  return load_bundle(std::as_bytes(std::span(bytes)), path);
}

Bundle load_bundle(std::span<const std::byte> bytes, const std::string& name) {
  try {
    return from_file(
        decode_safetensors({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  } catch (const NewerBundle& error) {
    throw NewerBundle(name + ": " + printable(error.what()));
  } catch (const Error& error) {  // settings that do not fit are the file's fault, not the caller's
    throw Error(name + ": " + printable(error.what()));
  }
}

}  // namespace softmpc
