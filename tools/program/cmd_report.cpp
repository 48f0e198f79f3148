// SPDX-License-Identifier: Apache-2.0
// softmpc report: one page with curves, spread and settings of runs.
#include <filesystem>
#include <memory>

#include "io/atomic_file.h"
#include "program/command.h"
#include "program/console.h"
#include "report/findings.h"
#include "report/page.h"
#include "softmpc/error.h"
#include "train/train_settings.h"

namespace softmpc::tools {
namespace {

struct ReportOptions {
  std::vector<std::string> runs, baselines;
  std::string out, csv;
};

/// Before runs are read: a page that cannot be written is not made.
void check_out(const std::string& out) {
  namespace fs = std::filesystem;
  std::error_code fault;
  const fs::path folder = fs::path(out).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, fault))
    throw Error("--out " + out + ": there is no folder " + folder.string() + "; make it first");
  if (fs::is_directory(out, fault))
    throw Error("--out " + out + ": is a folder, must be a file such as report.html");
}

std::string command_line(const ReportOptions& options) {
  std::string command = "softmpc report";
  for (const std::string& run : options.runs) command += ' ' + shell_word(run);
  for (const std::string& baseline : options.baselines)
    command += " --baseline " + shell_word(baseline);
  if (!options.csv.empty()) command += " --csv " + shell_word(options.csv);
  return command + " --out " + shell_word(options.out);
}

/// What the page says of each group, in a line, and what went wrong.
std::string summary(const report::StudyResults& results) {
  std::vector<std::vector<std::string>> rows = {{"group", "seeds", "steps", "median", "worst"}};
  for (std::size_t i = 0; i < results.table.size(); ++i) {
    const report::Row& row = results.table[i];
    const bool last = i + 1 == results.table.size() || results.table[i + 1].group != row.group;
    if (last)
      rows.push_back({row.group, std::to_string(row.values.size()), std::to_string(row.step),
                      text("%.4g", row.median), text("%.4g", row.worst)});
  }
  std::string words = results.study.task + '\n' + table(rows);
  for (const report::Finding& finding : report::findings_of(results.study))
    words += finding.group + (finding.run.empty() ? "" : ", " + finding.run) + ": " + finding.text +
             '\n';
  return words;
}

int run_report(const ReportOptions& options) {
  check_out(options.out);
  std::vector<report::Baseline> baselines;
  for (const std::string& path : options.baselines)
    baselines.push_back(report::read_baseline(path));
  std::vector<report::StudyResults> studies;
  for (report::Study& study :
       report::studies_of(report::read_groups(options.runs), std::move(baselines)))
    studies.push_back(report::results_of(std::move(study)));
  const std::string html = report::page(studies, command_line(options));
  if (!options.csv.empty()) report::write_csv(options.csv, studies);
  write_file_atomically(options.out, html);
  std::string said;
  for (const report::StudyResults& results : studies) said += summary(results) + '\n';
  write_out(said + options.out + text(": %.0f kB\n", static_cast<double>(html.size()) / 1000));
  return 0;
}

}  // namespace

Run add_report(CLI::App& app) {
  auto options = std::make_shared<ReportOptions>();
  app.add_option("RUN", options->runs,
                 "run folders, folders of seeds (DIR/seed-N), NAME=RUN... for a group")
      ->required()
      ->type_name("");
  add_text(app, "--out", options->out, "FILE.html", "the page")->required();
  app.add_option(
         "--baseline", options->baselines,
         "curves to draw beside: {\"name\", \"task\", \"steps\": [...], \"returns\": [[one row a "
         "seed]]}")
      ->type_name("FILE");
  add_text(app, "--csv", options->csv, "FOLDER", "writes the data of every figure and table, too");
  app.footer(
      "One file that asks for nothing else: it opens without a network, prints, and is read "
      "without\n"
      "JavaScript. Runs that differ by nothing but their seed are a group; NAME=RUN... names one, "
      "and\n"
      "takes what follows. Runs of several tasks have a part each.\n\n"
      "Example: softmpc report runs/hopper --out hopper.html\n"
      "         softmpc report short=runs/h8 long=runs/h12 --csv data --out horizon.html");
  return [options] { return run_report(*options); };
}

}  // namespace softmpc::tools
