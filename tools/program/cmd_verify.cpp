// SPDX-License-Identifier: Apache-2.0
// softmpc verify: replays recorded trajectories and plans, prints the largest errors.
#include <cmath>
#include <memory>

#include "program/command.h"
#include "program/console.h"
#include "program/flight.h"
#include "program/gpu_device.h"
#include "program/json_reader.h"
#include "softmpc/error.h"
#include "verify/verify_black_box.h"
#include "verify/verify_env.h"
#include "verify/verify_plan.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyOptions {
  std::vector<std::string> files, bundles;
  std::string device, precision, path;
  bool json = false;
};

VerifyTarget read_target(const VerifyOptions& options) {
  const Device device = resolve_device(options.device);
  VerifyTarget target;
  if (!options.precision.empty()) {
    target.precision = read_precision(options.precision, device);
    if (target.precision == Precision::automatic)
      throw UsageError("--precision: auto is not for verify; name float32, bfloat16 or float16");
  }
  if (!options.path.empty()) {
    if (device == Device::cpu) throw UsageError("--path: is for --device cuda");
    target.path = read_path(options.path);
  }
  if (device == Device::cuda) target.device = cuda_device();
  return target;
}

VerifyReport verify_file(const std::string& path, const VerifyTarget& target,
                         const std::vector<std::string>& bundles) {
  if (is_black_box(path)) return verify_black_box(path, bundles);
  const nlohmann::json document = parse_json(read_text(path), path);
  const JsonNode root(document, path);
  const std::string kind = root.at("kind").string();
  if (kind == "env") return verify_env(root);
  if (kind == "plan") return verify_plan(root, target);
  root.at("kind").fail("is '" + kind.substr(0, 40) + "', must be env or plan");
}

/// JSON has no infinity: a quantity that must match exactly and does not has no finite ratio.
Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json as_json(const VerifyReport& report) {
  Json quantities = Json::object();
  for (const Quantity& quantity : report.quantities()) {
    quantities[quantity.name] = {{"error", finite(quantity.error)},
                                 {"of_tolerance", finite(quantity.of_limit)},
                                 {"where", quantity.where},
                                 {"pass", quantity.of_limit <= 1}};
  }
  return {{"file", report.file},      {"kind", report.kind},     {"task", report.task},
          {"quantities", quantities}, {"remark", report.remark}, {"pass", report.passed()}};
}

std::string as_text(const VerifyReport& report) {
  std::string result = text("%s  %s  (%s, %s)\n", report.passed() ? "PASS" : "FAIL",
                            report.file.c_str(), report.kind.c_str(), report.task.c_str());
  for (const Quantity& quantity : report.quantities()) {
    result +=
        text("      %-12s largest error %-9.3g  %.3g of its tolerance%s%s\n", quantity.name.c_str(),
             quantity.error, quantity.of_limit, quantity.of_limit > 1 ? "  OVER at " : "",
             quantity.of_limit > 1 ? quantity.where.c_str() : "");
  }
  if (!report.remark.empty()) result += "      " + report.remark + '\n';
  return result;
}

int run_verify(const VerifyOptions& options) {
  const VerifyTarget target = read_target(options);
  const std::string where =
      text("%s, %s", target.device ? "cuda" : "cpu", softmpc::to_string(target.precision));
  Json results = Json::array();
  std::string first_problem;
  std::size_t problems = 0;
  const auto note = [&](const std::string& problem) {
    if (problems++ == 0) first_problem = problem;
  };
  for (const std::string& file : options.files) {
    try {
      const VerifyReport report = verify_file(file, target, options.bundles);
      if (!report.passed()) note(file + ": over its tolerance: " + report.worst());
      if (options.json) {
        results.push_back(as_json(report));
      } else {
        write_out(as_text(report));
      }
    } catch (const std::exception& error) {
      std::string message = one_line(error);
      if (!message.starts_with(file)) message = file + ": " + message;
      note(message);
      results.push_back({{"file", file}, {"error", message}, {"pass", false}});
      if (!options.json) write_out("ERROR " + message + '\n');
    }
  }
  const std::size_t passed = options.files.size() - problems;
  if (options.json) {
    write_out(Json{{"device", target.device ? "cuda" : "cpu"},
                   {"precision", softmpc::to_string(target.precision)},
                   {"files", results},
                   {"pass", problems == 0}}
                  .dump(2, ' ', false, Json::error_handler_t::replace) +
              '\n');
  } else {
    write_out(
        text("%zu of %zu files pass (plans: %s)\n", passed, options.files.size(), where.c_str()));
  }
  if (problems == 0) return 0;
  throw Error(first_problem +
              (problems > 1 ? text(" (and %zu more files did not pass)", problems - 1) : ""));
}

}  // namespace

Run add_verify(CLI::App& app) {
  auto options = std::make_shared<VerifyOptions>();
  app.add_option("FILE", options->files,
                 "recordings, \"kind\": \"env\" or \"plan\", or black boxes")
      ->required()
      ->type_name("");
  app.add_option("--bundle", options->bundles,
                 "of black boxes: the run folders or bundles that flew")
      ->type_name("B...");
  add_text(app, "--device", options->device, "D",
           std::string("of plans: ") + kDeviceHelp + "; environments run on the CPU always");
  add_text(app, "--precision", options->precision, "P",
           "of plans: float32 (if not given), bfloat16; with cuda float16 too");
  add_text(app, "--path", options->path, "P",
           "kernels of --device cuda: auto (if not given), tile, cluster, wgmma or plain");
  app.add_flag("--json", options->json, "one JSON document on standard output");
  app.footer(
      "Replays each recording with the task's environment (kind env) or the planner (kind plan), "
      "and\n"
      "prints the largest error of each quantity, absolute and as a share of the file's "
      "tolerance.\n"
      "Plans in 16 bit have a budget in place of the file's tolerances, in the median over a "
      "file's\n"
      "problems and iterations: total variation of the rollouts' weights 0.02 and value 0.05 % in\n"
      "float16, 0.05 and 0.4 % in bfloat16.\n"
      "A black box (ControllerOptions::black_box) is planned again record by record: to the bit "
      "where\n"
      "this program, on this instruction set, recorded it; else statuses are equal, values within\n"
      "0.1 % and actions within 1 % of their range.\n"
      "Exit 1 if any share is over 1 or a file cannot be read.\n\n"
      "Example: softmpc verify tests/golden/env/*.json tests/golden/plan/*.json\n"
      "         softmpc verify flight.blackbox --bundle runs/Hopper-default-seed1");
  return [options] { return run_verify(*options); };
}

}  // namespace softmpc::tools
