// SPDX-License-Identifier: Apache-2.0
#include "report/groups.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "program/json_reader.h"
#include "softmpc/error.h"

namespace softmpc::tools::report {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSeedPrefix = "seed-";

/// N of "seed-N", -1 for other names.
std::int64_t seed_of(const std::string& name) {
  if (!name.starts_with(kSeedPrefix)) return -1;
  std::int64_t number = -1;
  const char* const end = name.data() + name.size();
  const auto read = std::from_chars(name.data() + std::string(kSeedPrefix).size(), end, number);
  return read.ptr == end ? number : -1;
}

/// The run folders that a word names: itself, or its seeds by number.
std::vector<std::string> folders_of(const std::string& path) {
  if (is_run(path)) return {path};
  std::error_code fault;
  std::map<std::int64_t, std::string> seeds;
  for (fs::directory_iterator entry(path, fault), end; !fault && entry != end;
       entry.increment(fault)) {
    const std::int64_t seed = seed_of(entry->path().filename().string());
    if (seed >= 0 && is_run(entry->path().string())) seeds[seed] = entry->path().string();
  }
  if (!fs::exists(path, fault)) throw Error(path + ": no such folder, must be a run folder");
  if (seeds.empty()) {
    throw Error(path + ": is no run folder (no config.json) and no folder of seeds (no seed-N)");
  }
  std::vector<std::string> folders;
  folders.reserve(seeds.size());
  for (const auto& [seed, folder] : seeds) folders.push_back(folder);
  return folders;
}

/// NAME of NAME=RUN; empty for a path that holds a =.
std::string name_in(const std::string& word) {
  std::error_code ignored;
  const std::size_t sign = word.find('=');
  if (sign == std::string::npos || fs::exists(word, ignored)) return "";
  const std::string name = word.substr(0, sign);
  if (name.find('/') != std::string::npos) return "";
  if (name.empty() || sign + 1 == word.size())
    throw UsageError("'" + word + "': must be NAME=RUN, neither of them empty");
  return name;
}

std::string folder_name(const std::string& path) {
  fs::path clean = fs::path(path).lexically_normal();
  if (!clean.has_filename()) clean = clean.parent_path();
  if (clean.filename() == "." || clean.filename() == "..") {
    std::error_code ignored;
    clean = fs::canonical(clean, ignored);
  }
  return clean.filename().string();
}

void add_run(Group& group, TrainRun run, std::set<std::string>& seen) {
  std::error_code ignored;
  const std::string place = fs::weakly_canonical(run.path, ignored).string();
  if (!seen.insert(group.name + '\n' + place).second)
    throw UsageError(run.path + ": is named twice in group '" + group.name + "'");
  if (!group.runs.empty() && group.runs.front().task != run.task) {
    throw UsageError("group '" + group.name + "': " + group.runs.front().path + " is of task " +
                     group.runs.front().task + ", " + run.path + " of " + run.task +
                     "; runs of one group must have one task");
  }
  group.runs.push_back(std::move(run));
}

bool same_but_seed(const TrainRun& a, const TrainRun& b) {
  auto x = a.settings, y = b.settings;
  x.erase("trainer.seed");
  y.erase("trainer.seed");
  return a.task == b.task && a.preset == b.preset && x == y;
}

Group& group_named(std::vector<Group>& groups, const std::string& name) {
  const auto found = std::ranges::find(groups, name, &Group::name);
  return found != groups.end() ? *found : groups.emplace_back(Group{name, {}});
}

/// A name that no group has yet.
std::string free_name(const std::vector<Group>& groups, const std::string& wanted) {
  std::string name = wanted;
  for (int i = 2; std::ranges::count(groups, name, &Group::name) > 0; ++i)
    name = wanted + " (" + std::to_string(i) + ")";
  return name;
}

/// Runs with no name given: to the group whose runs differ from them by the seed alone.
void add_unnamed(std::vector<Group>& groups, const std::string& word, std::set<std::string>& seen) {
  const std::vector<std::string> folders = folders_of(word);
  const bool seeds = folders.front() != word || seed_of(folder_name(word)) >= 0;
  for (const std::string& folder : folders) {
    TrainRun run = read_run(folder);
    const auto alike = std::ranges::find_if(
        groups, [&](const Group& group) { return same_but_seed(group.runs.front(), run); });
    const std::string name = folder_name(
        seeds ? fs::absolute(folder).lexically_normal().parent_path().string() : folder);
    Group& group =
        alike != groups.end() ? *alike : groups.emplace_back(Group{free_name(groups, name), {}});
    add_run(group, std::move(run), seen);
  }
}

/// Labels tell the runs of a group apart.
void make_labels_differ(Group& group) {
  std::map<std::string, int> uses;
  for (const TrainRun& run : group.runs) ++uses[run.label];
  for (TrainRun& run : group.runs)
    if (uses[run.label] > 1) run.label += " (" + run.path + ")";
}

}  // namespace

std::vector<Group> read_groups(const std::vector<std::string>& words) {
  std::vector<Group> groups;
  std::set<std::string> seen;
  std::string name;
  for (const std::string& word : words) {
    const std::string given = name_in(word);
    const std::string path = given.empty() ? word : word.substr(given.size() + 1);
    if (!given.empty()) name = given;
    if (name.empty()) {
      add_unnamed(groups, path, seen);
    } else {
      Group& group = group_named(groups, name);
      for (const std::string& folder : folders_of(path)) add_run(group, read_run(folder), seen);
    }
  }
  for (Group& group : groups) make_labels_differ(group);
  return groups;
}

Baseline read_baseline(const std::string& path) {
  const nlohmann::json root = parse_json(read_text(path), path);
  const JsonNode node(root, path);
  Baseline baseline;
  baseline.name = node.at("name").string();
  baseline.task = node.at("task").string();
  for (const auto& [key, value] : root.items()) {
    if (key != "name" && key != "task" && key != "steps" && key != "returns")
      throw Error(path + ": '" + key + "' is no key of a baseline: name, task, steps, returns");
  }
  const JsonNode steps = node.at("steps"), returns = node.at("returns");
  for (std::size_t i = 0; i < steps.size(); ++i) {
    baseline.steps.push_back(steps.at(i).integer(0, std::numeric_limits<int>::max()));
    if (i > 0 && baseline.steps[i] <= baseline.steps[i - 1])
      steps.at(i).fail("must be greater than the step before");
  }
  if (steps.size() == 0) steps.fail("is empty");
  if (returns.size() == 0) returns.fail("is empty, must have one row a seed");
  for (std::size_t i = 0; i < returns.size(); ++i) {
    const JsonNode row = returns.at(i);
    if (row.size() != steps.size())
      row.fail("has " + std::to_string(row.size()) + " returns, must have one for each of the " +
               std::to_string(steps.size()) + " steps");
    std::vector<double>& values = baseline.returns.emplace_back();
    for (std::size_t k = 0; k < row.size(); ++k)
      values.push_back(row.at(k).value().is_null() ? std::numeric_limits<double>::quiet_NaN()
                                                   : row.at(k).number());
  }
  return baseline;
}

std::vector<Study> studies_of(std::vector<Group> groups, std::vector<Baseline> baselines) {
  std::vector<Study> studies;
  const auto find = [&](const std::string& task) {
    return std::ranges::find(studies, task, &Study::task);
  };
  for (Group& group : groups) {
    const std::string task = group.runs.front().task;
    if (find(task) == studies.end()) studies.push_back({task, {}, {}});
    find(task)->groups.push_back(std::move(group));
  }
  for (Baseline& baseline : baselines) {
    const auto study = find(baseline.task);
    if (study == studies.end()) {
      throw Error("baseline '" + baseline.name + "' is of task " + baseline.task +
                  ", which no run here has");
    }
    study->baselines.push_back(std::move(baseline));
  }
  return studies;
}

}  // namespace softmpc::tools::report
