// SPDX-License-Identifier: Apache-2.0
// Tests for src/bundle.cpp.
#include "softmpc/bundle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "file_limit.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"
#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc {
namespace {

using test::error_of;
using test::TempFolder;

NetWeights net(int stack, const NetSpec& spec) {
  NetWeights w = NetWeights::zeros(stack, spec);
  float x = 0.1f;
  for (float& v : w.parameters) v = x = 3.9f * x * (1 - x);
  return w;
}

NetWeights net(int stack, const std::vector<int>& widths) {
  return net(stack, NetSpec::mlp(widths));
}

Bundle sample() {
  Bundle b;
  b.task = "lq";
  b.nx = 2;
  b.nu = 1;
  b.action_low = {-0.4f};
  b.action_high = {1.1f};
  b.dt = 0.1;
  b.outputs.reward = true;
  b.members = net(2, {3, 4, 3});
  b.members.normalisation.input_std = {2.0f, INFINITY, 1.0f};
  b.members.normalisation.output_mean = {0.5f, -0.5f, 0.0f};
  b.critics = net(2, {3, 4, 4, 1});
  b.policy = net(1, {2, 4, 1});
  b.planner.rollouts = 33;
  b.planner.control_mode = ControlMode::policy_residual;
  b.planner.neutral = {0.25};
  b.environment = {.positions = false, .clip_velocities = false, .bodies = false, .time_limit = 77};
  b.acting = Acting::policy;
  b.provenance = R"({"seed": 18446744073709551615, "settings": {"trainer": {"of": ["later"]}}})";
  return b;
}

void expect_equal(const NetWeights& a, const NetWeights& b) {
  EXPECT_EQ(a.stack, b.stack);
  EXPECT_EQ(a.spec, b.spec);
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.normalisation, b.normalisation);
}

void expect_equal(const Bundle& a, const Bundle& b) {
  EXPECT_EQ(a.task, b.task);
  EXPECT_EQ(a.nx, b.nx);
  EXPECT_EQ(a.nu, b.nu);
  EXPECT_EQ(a.action_low, b.action_low);
  EXPECT_EQ(a.action_high, b.action_high);
  EXPECT_EQ(a.dt, b.dt);
  EXPECT_EQ(a.outputs, b.outputs);
  EXPECT_EQ(a.environment, b.environment);
  EXPECT_EQ(a.acting, b.acting);
  EXPECT_EQ(a.planner, b.planner);
  EXPECT_EQ(a.provenance, b.provenance);
  EXPECT_EQ(a.state_low, b.state_low);
  EXPECT_EQ(a.state_high, b.state_high);
  EXPECT_EQ(bundle_hash(a), bundle_hash(b));
  expect_equal(a.members, b.members);
  expect_equal(a.critics, b.critics);
  ASSERT_EQ(a.policy.has_value(), b.policy.has_value());
  if (a.policy) expect_equal(*a.policy, *b.policy);
}

class BundleTest : public ::testing::Test {
 protected:
  /// The text behind "FILE: " of the error that loading gives.
  std::string load_error() {
    const std::string text = error_of<Error>([&] { load_bundle(path_); });
    EXPECT_EQ(text.rfind(path_ + ": ", 0), 0u) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    return text.substr(std::min(text.size(), path_.size() + 2));
  }

  /// The error of loading a file whose content was changed, its checksum made right again.
  template <class Change>
  std::string changed_error(const Change& change) {
    save_bundle(sample(), path_);
    TensorFile file = read_safetensors(path_);
    change(file);
    file.metadata.erase("checksum");
    write_raw(encode_safetensors(file));
    const std::string missing = load_error();
    if (missing != "metadata checksum: is missing") return missing;
    file.metadata["checksum"] = "?";
    write_raw(encode_safetensors(file));
    const std::string text = load_error();
    const std::size_t at = text.find("crc32c:");
    if (at == std::string::npos) return text;
    file.metadata["checksum"] = text.substr(at, 15);
    write_raw(encode_safetensors(file));
    return load_error();
  }

  template <class Change>
  std::string save_error(const Change& change) {
    Bundle b = sample();
    change(b);
    const std::string text = error_of<Error>([&] { save_bundle(b, path_); });
    EXPECT_TRUE(folder_.names().empty());
    const std::string head = path_ + ": cannot be saved: ";
    EXPECT_EQ(text.rfind(head, 0), 0u) << text;
    return text.substr(std::min(text.size(), head.size()));
  }

  void write_raw(const std::string& bytes) {
    std::filesystem::remove(path_);  // cutting a file makes some file systems flush it
    std::ofstream(path_, std::ios::binary) << bytes;
  }

  TempFolder folder_;
  std::string path_ = folder_.file("model.safetensors");
};

TEST_F(BundleTest, RoundTrips) {
  save_bundle(sample(), path_);
  expect_equal(load_bundle(path_), sample());
  EXPECT_EQ(folder_.names(), std::vector<std::string>{"model.safetensors"});
}

TEST_F(BundleTest, RoundTripsWithoutPolicyAndWithExtraOutputs) {
  Bundle b = sample();
  b.policy.reset();
  b.acting = Acting::planner;
  b.planner.control_mode = ControlMode::plain;
  b.members = net(1, {3, 6});
  b.provenance.clear();
  save_bundle(b, path_);
  b.provenance = "{}";
  expect_equal(load_bundle(path_), b);
}

TEST_F(BundleTest, RoundTripsWithoutMembers) {
  Bundle b = sample();
  b.members = {};
  save_bundle(b, path_);
  expect_equal(load_bundle(path_), b);
}

TEST_F(BundleTest, RoundTripsEndlessAndFixedActions) {
  Bundle b = sample();
  b.policy.reset();
  b.acting = Acting::planner;
  b.planner.control_mode = ControlMode::plain;
  b.planner.neutral.clear();
  b.nu = 3;
  b.members = net(2, {5, 4, 3});
  b.critics = net(1, {5, 4, 1});
  b.action_low = {-INFINITY, 0.5f, 2};
  b.action_high = {INFINITY, INFINITY, 2};
  save_bundle(b, path_);
  EXPECT_EQ(read_safetensors(path_).metadata.at("bounds"),
            R"({"low":[null,0.5,2.0],"high":[null,null,2.0]})");
  expect_equal(load_bundle(path_), b);
}

// A robot reads the bundles of later runs: what it does not know is provenance, and a planner
// setting that is not used is not there.
TEST_F(BundleTest, HoldsTheRangeOfStatesWhereItIsKnown) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Bundle b = sample();
  const std::uint64_t without = bundle_hash(b);
  b.state_low.assign(b.nx, -0.1f);
  b.state_high.assign(b.nx, 0.3f);
  b.state_low[0] = -kInfinity;
  b.state_high[0] = kInfinity;
  EXPECT_NE(bundle_hash(b), without);
  save_bundle(b, path_);
  expect_equal(load_bundle(path_), b);
}

TEST_F(BundleTest, WhatOnlyTheRunKnewDoesNotStopAReader) {
  Bundle b = sample();
  b.provenance = R"({"settings":{"trainer":{"rule":"of tomorrow"},"replay":{"priority":0.6}}})";
  save_bundle(b, path_);
  expect_equal(load_bundle(path_), b);
  b.planner.neutral.clear();
  save_bundle(b, path_);
  const auto planner = nlohmann::json::parse(read_safetensors(path_).metadata.at("planner"));
  EXPECT_FALSE(planner.contains("neutral"));
  EXPECT_FALSE(planner.contains("covariance"));
  EXPECT_TRUE(planner.contains("horizon"));
  expect_equal(load_bundle(path_), b);
}

TEST_F(BundleTest, HoldsACovariance) {
  Bundle b = sample();
  b.planner.covariance = {{0.1 / 3}};
  save_bundle(b, path_);
  expect_equal(load_bundle(path_), b);
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["planner"] = R"({"covariance":[[0]]})"; }),
            "planner: covariance[0][0] is 0; a variance must be at least 1e-09");
}

TEST_F(BundleTest, APlannerSettingOfALaterVersionIsRefusedByName) {
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["planner"] = R"({"depths":3})"; }),
            "unknown setting planner.depths; nearest is planner.neutral (in its metadata "
            "planner)");
}

std::string recorded(const std::string& name) {
  return std::string(SOFTMPC_GOLDEN_DIR) + "/bundle/" + name;
}

// Recorded from a run of the version before: InvertedPendulum, acting by its planner.
TEST_F(BundleTest, ABundleOfFormat1StillLoads) {
  const std::string path = recorded("v1_pendulum.safetensors");
  ASSERT_EQ(read_safetensors(path).metadata.at("format_version"), "1");
  const Bundle b = load_bundle(path);
  EXPECT_EQ(b.task, "InvertedPendulum");
  EXPECT_EQ(b.planner.rollouts, 37);
  EXPECT_TRUE(b.planner.neutral.empty());
  EXPECT_EQ(b.environment, (EnvironmentConfig{.time_limit = 123}));
  EXPECT_EQ(b.acting, Acting::planner);
  EXPECT_EQ(b.members.spec, NetSpec::mlp({5, 8, 8, 4}));
  const auto provenance = nlohmann::json::parse(b.provenance);
  EXPECT_EQ(provenance.at("seed"), 5);
  EXPECT_EQ(provenance.at("settings").at("trainer").at("steps"), 40);
  save_bundle(b, path_);
  expect_equal(load_bundle(path_), b);
}

// It held members that nothing had trained; they would be planned with.
TEST_F(BundleTest, ABundleOfFormat1WithTheEnvironmentAsModelHasNoMembers) {
  const Bundle b = load_bundle(recorded("v1_environment.safetensors"));
  EXPECT_EQ(b.members.stack, 0);
  EXPECT_EQ(b.acting, Acting::policy);
  EXPECT_TRUE(b.policy.has_value());
}

TEST_F(BundleTest, EqualBundlesAreEqualBytes) {
  save_bundle(sample(), path_);
  const std::string first = read_file(path_);
  save_bundle(load_bundle(path_), path_);
  EXPECT_EQ(read_file(path_), first);
}

TEST_F(BundleTest, HasTheNamesThatOtherProgramsRead) {
  save_bundle(sample(), path_);
  const TensorFile file = read_safetensors(path_);
  EXPECT_EQ(file.tensors.at("members.weight1").shape, (std::vector<std::int64_t>{2, 4, 3}));
  EXPECT_EQ(file.tensors.at("members.bias2").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.tensors.at("critics.weight3").shape, (std::vector<std::int64_t>{2, 1, 4}));
  EXPECT_EQ(file.tensors.at("policy.output_std").shape, (std::vector<std::int64_t>{1}));
  EXPECT_EQ(file.metadata.at("format_version"), "2");
  EXPECT_EQ(file.metadata.at("task"), "lq");
  EXPECT_EQ(file.metadata.at("bounds"), R"({"low":[-0.4],"high":[1.1]})");
  EXPECT_EQ(file.metadata.at("sizes"), R"({"nx":2,"nu":1})");
  EXPECT_EQ(file.metadata.at("dt"), "0.1");
  EXPECT_EQ(file.metadata.at("outputs"), R"({"reward":true,"termination":false})");
  EXPECT_EQ(file.metadata.at("normalisation"), R"({"model":"running","critic":"none"})");
  EXPECT_EQ(nlohmann::json::parse(file.metadata.at("planner"))["rollouts"], 33);
  EXPECT_EQ(file.metadata.at("environment"),
            R"({"positions":false,"clip_velocities":false,"bodies":false,"time_limit":77})");
  EXPECT_EQ(file.metadata.at("acting"), "policy");
  EXPECT_EQ(nlohmann::json::parse(file.metadata.at("provenance"))["settings"]["trainer"]["of"][0],
            "later");
}

TEST_F(BundleTest, HoldsLayerNormWhereALayerHasIt) {
  Bundle b = sample();
  NetSpec spec = NetSpec::mlp({3, 4, 5, 1});
  spec.layers[1].normalise = true;
  b.critics = net(2, spec);
  save_bundle(b, path_);
  const TensorFile file = read_safetensors(path_);
  EXPECT_EQ(file.tensors.at("critics.norm_scale2").shape, (std::vector<std::int64_t>{2, 5}));
  EXPECT_EQ(file.tensors.at("critics.norm_shift2").shape, (std::vector<std::int64_t>{2, 5}));
  EXPECT_EQ(file.tensors.count("critics.norm_scale1"), 0u);
  expect_equal(load_bundle(path_), b);
  EXPECT_EQ(changed_error([](TensorFile& f) {
              f.tensors["critics.norm_scale1"] = f.tensors["critics.bias1"];
            }),
            "tensor critics.norm_shift1: is missing");
}

// The format names no activations: what it cannot say is not saved.
TEST_F(BundleTest, OtherActivationsAreRefused) {
  EXPECT_NE(save_error([](Bundle& b) {
              b.members.spec.layers[0].activation = Activation::tanh;
            }).find("members, layer 1: a bundle holds nets with SiLU between layers"),
            std::string::npos);
}

TEST_F(BundleTest, AMissingFileIsNamed) {
  EXPECT_EQ(load_error(), "cannot open: No such file or directory");
}

TEST_F(BundleTest, TruncationAtEveryLengthIsAnError) {
  save_bundle(sample(), path_);
  const std::string bytes = read_file(path_);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    write_raw(bytes.substr(0, n));
    EXPECT_THROW(load_bundle(path_), Error) << n;
  }
  write_raw(bytes + "x");
  EXPECT_THROW(load_bundle(path_), Error);
}

TEST_F(BundleTest, EveryChangedByteIsAnError) {
  save_bundle(sample(), path_);
  const std::string bytes = read_file(path_);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    for (const int mask : {0x01, 0x20, 0xff}) {
      std::string changed = bytes;
      changed[n] = static_cast<char>(changed[n] ^ mask);
      write_raw(changed);
      EXPECT_THROW(load_bundle(path_), Error) << "byte " << n << " mask " << mask;
    }
  }
}

TEST_F(BundleTest, AChangedWeightIsCorruption) {
  save_bundle(sample(), path_);
  std::string bytes = read_file(path_);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_raw(bytes);
  EXPECT_EQ(load_error().rfind("is corrupt: its content has the checksum crc32c:", 0), 0u);
}

TEST_F(BundleTest, AFullDiskLeavesTheOldFile) {
  save_bundle(sample(), path_);
  const std::string before = read_file(path_);
  {
    const test::FileLimit limit(1000);
    EXPECT_EQ(error_of<Error>([&] { save_bundle(sample(), path_); }),
              path_ + ": cannot write: File too large");
  }
  EXPECT_EQ(read_file(path_), before);
  EXPECT_EQ(folder_.names().size(), 1u);
}

TEST_F(BundleTest, BytesLoadAsTheFileDoes) {
  save_bundle(sample(), path_);
  const std::string bytes = read_file(path_);
  const auto loaded = load_bundle(std::as_bytes(std::span(bytes)), "flash");
  EXPECT_EQ(bundle_hash(loaded), bundle_hash(load_bundle(path_)));
  EXPECT_EQ(
      error_of<Error>([&] { load_bundle(std::as_bytes(std::span(bytes)).first(4), "flash"); }),
      "flash: is truncated: it has no header");
}

TEST_F(BundleTest, ForeignAndNewerFilesAreNamed) {
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata.clear(); }),
            "is not a softmpc bundle: it has no metadata format_version");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["format_version"] = "3"; }),
            "is a bundle of format 3, this softmpc reads up to 2; a newer softmpc is needed");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["format_version"] = "0"; }),
            "metadata format_version: is not a version");
}

TEST_F(BundleTest, WrongTensorsAreNamed) {
  EXPECT_EQ(changed_error([](TensorFile& f) { f.tensors.erase("members.weight1"); }),
            "tensor members.weight1: is missing");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.tensors.erase("critics.bias2"); }),
            "tensor critics.bias2: is missing");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.tensors.erase("policy.input_std"); }),
            "tensor policy.input_std: is missing");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.tensors["x"] = f.tensors["critics.bias2"]; }),
            "tensor x: is not expected");
  EXPECT_EQ(changed_error([](TensorFile& f) {
              f.tensors["members.weight1"].shape = {3, 4, 2};
            }),
            "tensor members.bias1: has the shape [2,4], [3,4] is needed");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.tensors["members.weight1"].shape = {24}; }),
            "tensor members.weight1: its shape is not [E, out, in]");
  EXPECT_EQ(changed_error([](TensorFile& f) {
              f.tensors["members.weight1"] = Tensor::of<double>({1, 1, 1}, std::vector<double>{0});
            }),
            "tensor members.weight1: is of type F64 and not F32");
  EXPECT_EQ(changed_error([](TensorFile& f) {
              f.tensors["members.weight1"] = Tensor::of<float>({0, 4, 3}, std::vector<float>{});
            }),
            "tensor members.weight1: its shape is out of range");
}

TEST_F(BundleTest, WrongMetadataIsNamed) {
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["sizes"] = R"({"nx":3,"nu":1})"; }),
            "members: has 3 inputs, 4 are needed (nx 3, nu 1)");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["sizes"] = R"({"nx":-3,"nu":1})"; }),
            "metadata sizes: nx is not a size");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata.erase("bounds"); }),
            "metadata bounds: is missing");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["bounds"] = R"({"low":[1]})"; }),
            "metadata bounds: high is missing or of the wrong type");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["dt"] = "x"; }),
            "metadata dt: is not JSON");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["dt"] = "[]"; }),
            "metadata dt: is not a number");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["provenance"] = "[]"; }),
            "metadata provenance: is not an object");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["bounds"] = R"({"low":["x"]})"; }),
            "metadata bounds: low has \"x\", which is neither a number nor null");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["planner"] = R"({"rollouts":0})"; }),
            "planner.rollouts: 0 is out of range 1..1048576 (in its metadata planner)");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata.erase("environment"); }),
            "metadata environment: is missing");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["acting"] = "planer"; }),
            "trainer.acting: \"planer\" is not one of planner, policy; nearest is planner (in its "
            "metadata acting)");
}

TEST_F(BundleTest, NamesFromAFileStayWithinALineOfText) {
  EXPECT_EQ(changed_error([](TensorFile& f) { f.metadata["task"] = "a\nrobot"; }),
            "task: has a control character");
  EXPECT_EQ(changed_error([](TensorFile& f) { f.tensors["a\nname"] = Tensor::of<float>({0}, {}); }),
            "tensor a?name: is not expected");
}

TEST_F(BundleTest, WhatWouldNotLoadIsNotSaved) {
  EXPECT_NE(save_error([](Bundle& bad) { bad.state_low = {1}; }).find("state_range"),
            std::string::npos);
  EXPECT_NE(save_error([](Bundle& bad) {
              bad.state_low.assign(bad.nx, 1);
              bad.state_high.assign(bad.nx, 0.5f);
            }).find("component 0 ends below its start"),
            std::string::npos);
  EXPECT_EQ(save_error([](Bundle& b) { b.nx = 3; }),
            "members: has 3 inputs, 4 are needed (nx 3, nu 1)");
  EXPECT_EQ(save_error([](Bundle& b) { b.outputs.termination = true; }),
            "members: has 3 outputs, 4 are needed (nx 2, nu 1)");
  EXPECT_EQ(save_error([](Bundle& b) {
              b.critics = net(1, {3, 2});
            }),
            "critics: has 2 outputs, 1 are needed (nx 2, nu 1)");
  EXPECT_EQ(save_error([](Bundle& b) { b.policy.reset(); }),
            "policy: is missing, and planner.control_mode policy_residual needs it");
  EXPECT_EQ(save_error([](Bundle& b) {
              b.policy.reset();
              b.planner.control_mode = ControlMode::plain;
              b.planner.proposals = Proposals::plan_and_policy;
              b.planner.rollouts = 32;
            }),
            "policy: is missing, and planner.proposals plan_and_policy needs it");
  EXPECT_EQ(save_error([](Bundle& b) {
              b.policy.reset();
              b.planner.control_mode = ControlMode::plain;
            }),
            "policy: is missing, and acting needs it");
  EXPECT_EQ(save_error([](Bundle& b) {
              b.policy = net(2, {2, 1});
            }),
            "policy: is a stack of 2 networks, and not of 1");
  EXPECT_EQ(save_error([](Bundle& b) { b.action_low = {2.0f}; }),
            "planner: action 0 has the bounds 2..1.1; low must be at most high");
  EXPECT_EQ(save_error([](Bundle& b) { b.action_low = {}; }),
            "bounds: have 0 and 1 numbers, nu is 1");
  EXPECT_EQ(save_error([](Bundle& b) { b.nu = 0; }), "sizes: nx 2, nu 0 are not positive");
  EXPECT_EQ(save_error([](Bundle& b) { b.dt = std::nan(""); }), "dt: nan is not positive");
  EXPECT_EQ(save_error([](Bundle& b) {
              b.planner.variance = {1, 1};
            }),
            "planner: variance has 2 entries; 1 or nu = 1 are possible");
  EXPECT_EQ(save_error([](Bundle& b) { b.provenance = "seven"; }),
            "metadata provenance: is not JSON");
  EXPECT_NE(save_error([](Bundle& b) { b.members.weight(0)[0] = NAN; }).find("NaN"),
            std::string::npos);
  EXPECT_NE(
      save_error([](Bundle& b) { b.members.normalisation.input_std[0] = 0; }).find("input_std"),
      std::string::npos);
}

}  // namespace
}  // namespace softmpc
