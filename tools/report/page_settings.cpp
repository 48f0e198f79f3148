// SPDX-License-Identifier: Apache-2.0
// Settings, origin and repetition: the parts of a page that say what was run.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "program/console.h"
#include "report/page_parts.h"
#include "report/repeat.h"
#include "report/words.h"

namespace softmpc::tools::report {
namespace {

constexpr const char* kSeed = "trainer.seed";

/// What the runs of a group have for each key, in the order of the runs.
using Values = std::map<std::string, std::vector<std::string>>;

void note(Values& values, const std::string& key, const std::string& value) {
  std::vector<std::string>& seen = values[key];
  if (std::ranges::count(seen, value) == 0) seen.push_back(value);
}

std::string plain(const std::string& json) {
  return json.size() > 1 && json.front() == '"' ? json.substr(1, json.size() - 2) : json;
}

Values values_of(const Group& group) {
  Values values;
  for (const TrainRun& run : group.runs) {
    for (const auto& [key, value] : run.settings) note(values, key, plain(value));
    note(values, "preset", run.preset);
    note(values, "version", run.version);
    note(values, "hardware", run.hardware);
  }
  return values;
}

std::string joined(const std::vector<std::string>& words) {
  std::string result;
  for (const std::string& word : words) result += (result.empty() ? "" : ", ") + word;
  return result.empty() ? "\u2013" : result;
}

/// A group's name as one component of a path.
std::string folder(const std::string& name) {
  std::string result;
  for (const char c : name)
    result += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' ? c : '-';
  return result;
}

}  // namespace

std::string differences(const StudyResults& results) {
  const std::vector<Group>& groups = results.study.groups;
  if (groups.size() < 2) return "";
  std::vector<Values> values;
  std::set<std::string> keys;
  for (const Group& group : groups) {
    values.push_back(values_of(group));
    for (const auto& [key, seen] : values.back()) keys.insert(key);
  }
  std::string rows;
  for (const std::string& key : keys) {
    if (key == kSeed) continue;
    const bool same =
        std::ranges::all_of(values, [&](Values& one) { return one[key] == values.front()[key]; });
    if (same) continue;
    rows += "<tr><td class=t><code>" + escaped(key) + "</code></td>";
    for (Values& one : values) rows += "<td>" + escaped(joined(one[key])) + "</td>";
    rows += "</tr>\n";
  }
  if (rows.empty()) return "<p>Nothing: their settings, versions and hardware are the same.</p>\n";
  std::string html = "<div class=scroll><table><thead><tr><th class=t>setting</th>";
  for (const Group& group : groups) html += "<th>" + escaped(group.name) + "</th>";
  return html + "</tr></thead><tbody>" + rows + "</tbody></table></div>\n";
}

std::string all_settings(const StudyResults& results) {
  std::string html;
  for (const Group& group : results.study.groups) {
    html += "<details><summary>" + escaped(group.name) + "</summary><ul class=settings>";
    for (const auto& [key, seen] : values_of(group))
      if (key.find('.') != std::string::npos)
        html +=
            "<li><span>" + escaped(key) + "</span><span>" + escaped(joined(seen)) + "</span></li>";
    html += "</ul></details>\n";
  }
  return html;
}

std::string origins(const StudyResults& results) {
  std::string html;
  for (const Group& group : results.study.groups) {
    html += "<details><summary>" + escaped(group.name) + "</summary>\n";
    for (const TrainRun& run : group.runs) {
      const std::string again =
          command_of(run, "runs/again/" + folder(group.name) + '/' + folder(run.label));
      html += "<h3>" + escaped(run.label) + "</h3><p class=note>" + escaped(run.path) +
              " \u2013 softmpc " + escaped(run.version) + ", preset " + escaped(run.preset) +
              (run.started.empty() ? "" : ", started " + escaped(run.started)) +
              (run.clock.empty() ? "" : ", " + duration(run.clock.back().value) + " of training") +
              (run.hardware.empty() ? "" : ", on " + escaped(run.hardware)) + "</p>";
      html += again.empty() ? "<p>This softmpc has no task " + escaped(run.task) + " with preset " +
                                  escaped(run.preset) + ": no command is known.</p>\n"
                            : "<pre>" + escaped(again) + "</pre>\n";
    }
    html += "</details>\n";
  }
  return html;
}

}  // namespace softmpc::tools::report
