// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc report: that its numbers are those of the runs, that the page stands alone, bad
// input.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>

#include "program.h"

namespace softmpc::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;

/// A made-up run: what its folder says is written by the test.
struct MadeUp {
  std::string task = "lq";
  int seed = 0, steps = 20000, horizon = 4;
  std::string metrics{};

  void episode(int step, const std::string& value) {
    metrics += R"({"kind":"episode","step":)" + std::to_string(step) + R"(,"return":)" + value +
               R"(,"length":10})" + "\n";
  }
  void evaluation(int step, const std::string& returns) {
    metrics += R"({"kind":"eval","step":)" + std::to_string(step) + R"(,"returns":[)" + returns +
               R"(],"mean":0})" + "\n";
  }
  void train(int step, const std::string& values) {
    metrics += R"({"kind":"train","step":)" + std::to_string(step) + "," + values + "}\n";
  }
  void write(const std::string& folder) const {
    fs::create_directories(folder);
    const Json config = {
        {"version", "0.1.0"},
        {"task", task},
        {"preset", "default"},
        {"started", "2026-01-01T00:00:00Z"},
        {"hardware", {{"cpu", "a <cpu> & more"}, {"cores", 2}, {"instruction_set", "avx2"}}},
        {"planner", {{"horizon", horizon}}},
        {"trainer",
         {{"seed", seed}, {"steps", steps}, {"log_interval", 1000}, {"eval_interval", 5000}}}};
    write_file(folder + "/config.json", config.dump());
    write_file(folder + "/metrics.jsonl", metrics);
  }
};

/// Evaluations 5,000 apart, two episodes each, whose means are given.
MadeUp made_up(int seed, const std::vector<double>& means) {
  MadeUp run{.seed = seed, .steps = 5000 * static_cast<int>(means.size())};
  for (std::size_t i = 0; i < means.size(); ++i) {
    const int step = 5000 * (static_cast<int>(i) + 1);
    run.episode(step - 1, Json(means[i] - 3).dump());
    run.train(step, R"("steps_per_second":)" + std::to_string(50 * (seed + 1)) +
                        R"(,"critic_loss":)" + Json(1.0 / (1.0 + static_cast<double>(i))).dump() +
                        R"(,"return_discounted":100.0,"value_bias":-20.0,"q_bias":5.0)");
    run.evaluation(step, Json(means[i] - 1).dump() + "," + Json(means[i] + 1).dump());
  }
  return run;
}

class Report : public testing::Test {
 protected:
  Result report(Words words, const ProgramOptions& options = {}) {
    words.insert(words.begin(), "report");
    if (std::ranges::count(words, "--out") == 0) words.insert(words.end(), {"--out", page_});
    return run(words, options);
  }
  std::string page(const Words& words) {
    const Result result = report(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return read_file(page_);
  }
  static Json data(const std::string& html) {
    const std::string mark = "<script type=\"application/json\" id=data>";
    const std::size_t begin = html.find(mark);
    if (begin == std::string::npos) throw std::runtime_error("the page has no data");
    const std::size_t end = html.find("</script>", begin);
    return Json::parse(html.substr(begin + mark.size(), end - begin - mark.size()));
  }
  /// Three seeds below runs/seed-N.
  std::string three() {
    made_up(0, {10.25, 20.5, 40.125, 30}).write(runs_ + "/seed-0");
    made_up(1, {-4, 25, 35, 61.75}).write(runs_ + "/seed-1");
    made_up(2, {7, 22.0625, 33, 50}).write(runs_ + "/seed-2");
    return runs_;
  }

  Folder folder_;
  std::string page_ = folder_.file("report.html"), runs_ = folder_.file("runs");
};

void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "'";
}

// Of three seeds a < b < c the inclusive quantiles are a + 2/5 (b - a) and b + 3/5 (c - b), the
// interquartile mean leaves none out, and of the 27 equally likely resamplings one is all a and one
// all c: 1/27 > 2.5 %, so the 95 % interval is a to c.
TEST_F(Report, NumbersOfThreeSeedsAreThoseComputedByHand) {
  const Json table = data(page({three()})).at("table");
  ASSERT_EQ(table.size(), 3u);  // 5, 10 and 20 thousand steps
  const auto check = [&](const Json& row, int step, double a, double b, double c,
                         const std::string& worst) {
    SCOPED_TRACE(step);
    EXPECT_EQ(row.at("step"), step);
    EXPECT_EQ(row.at("seeds"), 3);
    EXPECT_NEAR(row.at("median"), b, 1e-9);
    EXPECT_NEAR(row.at("low"), a + 0.4 * (b - a), 1e-9);
    EXPECT_NEAR(row.at("high"), b + 0.6 * (c - b), 1e-9);
    EXPECT_NEAR(row.at("mean"), (a + b + c) / 3, 1e-9);
    EXPECT_NEAR(row.at("interquartile_mean"), (a + b + c) / 3, 1e-9);
    EXPECT_NEAR(row.at("interval").at(0), a, 1e-9);
    EXPECT_NEAR(row.at("interval").at(1), c, 1e-9);
    EXPECT_NEAR(row.at("worst"), a, 1e-9);
    EXPECT_EQ(row.at("worst_seed"), worst);
  };
  check(table[0], 5000, -4, 7, 10.25, "seed 1");
  check(table[1], 10000, 20.5, 22.0625, 25, "seed 0");
  check(table[2], 20000, 30, 50, 61.75,
        "seed 0");  // seed 0 was at 40.125 before: never best so far
}

TEST_F(Report, CurvesAreTheRuns) {
  const Json figures = data(page({"three=" + three()})).at("figures");
  const Json& evaluation = figures.at(0);
  EXPECT_EQ(evaluation.at("key"), "evaluation");
  const Json& curve = evaluation.at("curves").at(0);
  EXPECT_EQ(curve.at("name"), "three");
  EXPECT_EQ(curve.at("steps"), Json({5000.0, 10000.0, 15000.0, 20000.0}));
  EXPECT_EQ(curve.at("median"), Json({7.0, 22.0625, 35.0, 50.0}));
  EXPECT_EQ(curve.at("lines").at(0).at("values"), Json({10.25, 20.5, 40.125, 30.0}));
  // rates 50, 100 and 150: the median seed takes 50 s for 5,000 steps
  EXPECT_EQ(evaluation.at("unit"), "min");
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(curve.at("time").at(i), 50.0 * (i + 1) / 60, 1e-4);
  const Json& training = figures.at(1);
  EXPECT_EQ(training.at("key"), "training");
  // the median over the latest ten episodes: of one, of two, ...
  const Json& seed = training.at("curves").at(0).at("lines").at(0).at("values");
  EXPECT_NEAR(seed.at(seed.size() - 1), (20.5 + 30) / 2 - 3, 1e-9);
}

// Made by bench/learning_statistics.py: interquartile_mean, band and bootstrap_interval of these.
TEST_F(Report, AgreesWithTheTablesOfBenchLearning) {
  const std::vector<double> ends = {3.5, -1.25, 8, 2, 11.75, 4, 6.5, 0.125, 5, 7.0625};
  for (std::size_t i = 0; i < ends.size(); ++i)
    made_up(static_cast<int>(i), {ends[i]}).write(runs_ + "/seed-" + std::to_string(i));
  const Json row = data(page({runs_})).at("table").at(0);
  EXPECT_NEAR(row.at("low"), 1.625, 1e-9);
  EXPECT_NEAR(row.at("high"), 7.25, 1e-9);
  EXPECT_NEAR(row.at("interquartile_mean"), 4.677083333333333, 1e-9);
  EXPECT_NEAR(row.at("interval").at(0), 2.009635416666667, 1e-9);
  EXPECT_NEAR(row.at("interval").at(1), 7.052083333333333, 1e-9);
}

TEST_F(Report, CsvHasTheDataOfEveryFigure) {
  const std::string csv = folder_.file("csv");
  const Json figures = data(page({"three=" + three(), "--csv", csv})).at("figures");
  for (const Json& figure : figures)
    EXPECT_TRUE(fs::exists(csv + "/lq-" + figure.at("key").get<std::string>() + ".csv"))
        << figure.at("key");
  const std::string evaluation = read_file(csv + "/lq-evaluation.csv");
  expect_has(evaluation, "\nthree,10000,100,,3,22.0625,21.125,23.825\n");
  expect_has(evaluation, "\nthree,10000,100,seed 0,1,20.5,,\n");
  expect_has(read_file(csv + "/table.csv"), "\nlq,three,10000,10000,3,22.0625,");
}

TEST_F(Report, BaselinesStandBeside) {
  const std::string file = folder_.file("baseline.json");
  write_file(file,
             R"({"name":"<old>","task":"lq","steps":[5000,10000],"returns":[[1,2],[3,null]]})");
  const std::string html = page({three(), "--baseline", file});
  expect_has(html, "&lt;old&gt;");
  EXPECT_EQ(html.find("<old>"), std::string::npos);
  const Json curve = data(html).at("figures").at(0).at("curves").at(1);
  EXPECT_EQ(curve.at("baseline"), true);
  EXPECT_EQ(curve.at("median"), Json({2.0, 2.0}));
}

/// Whatever a browser would load: addresses in attributes and styles that are no data and no place
/// in the page.
Words fetched(const std::string& html) {
  Words found;
  const std::regex pattern(
      R"re((?:\s(?:src|href|srcset|poster|action|data)\s*=\s*["']?|url\(\s*["']?|@import\s+["']?)(?!data:|#)([^"'\s>)]+))re");
  const std::size_t script = html.find("<script>");
  const std::string head = html.substr(0, script);
  for (std::sregex_iterator match(head.begin(), head.end(), pattern), end; match != end; ++match)
    found.push_back(match->str());
  return found;
}

TEST(ReportPage, AddressesAreFound) {  // by the test below
  const std::string three = R"x(<img src="a.png"><link href='https://b/c'><p style="x:url(d)">)x";
  EXPECT_EQ(fetched(three).size(), 3u);
  EXPECT_EQ(fetched(R"x(<a href="#a"></a><img src="data:image/webp;base64,x">)x").size(), 0u);
}

TEST_F(Report, StandsAlone) {
  const std::string videos = three() + "/seed-0/video";
  fs::create_directories(videos);
  write_file(videos + "/step5000.webp", "a picture");
  write_file(videos + "/step10000.mp4", "moving pictures");
  write_file(videos + "/large.gif", std::string(3 << 20, 'x'));
  const std::string html = page({runs_});
  EXPECT_EQ(fetched(html), Words{});
  expect_has(html, "default-src 'none'");
  expect_has(html, "src=\"data:image/webp;base64,YSBwaWN0dXJl\"");
  expect_has(html, "src=\"data:video/mp4;base64,bW92aW5nIHBpY3R1cmVz\"");
  expect_has(html, "seed-0/video/large.gif</code>, 3.1 MB");
  // one address stands in the licence of the charts and is not fetched
  const std::regex address(R"(https?://[^\s"'<>]*)");
  for (std::sregex_iterator match(html.begin(), html.end(), address), end; match != end; ++match)
    EXPECT_EQ(match->str(), "https://github.com/danvk/dygraphs/blob/v2.2.1/LICENSE.txt");
  // without JavaScript: tables and pictures
  expect_has(html, "<td>22.06</td>");
  expect_has(html, "<svg viewBox");
  EXPECT_EQ(html.find("a <cpu> &"), std::string::npos);
  EXPECT_EQ(html, page({runs_})) << "a page can be made again";
}

TEST_F(Report, OpensInABrowserWithoutANetwork) {
  if (std::system("command -v chromium >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "no chromium on the PATH: the page is not opened";
  page({three()});
  const std::string dom = folder_.file("dom"), log = folder_.file("log");
  const std::string command =
      "chromium --headless --no-sandbox --disable-gpu --user-data-dir=" + folder_.file("profile") +
      " --host-resolver-rules='MAP * ~NOTFOUND' --enable-logging=stderr --virtual-time-budget=5000 "
      "--dump-dom file://" +
      page_ + " >" + dom + " 2>" + log;
  ASSERT_EQ(std::system(command.c_str()), 0) << read_file(log);
  const std::string html = read_file(dom);
  if (html.find("has no dygraphs") != std::string::npos)
    GTEST_SKIP() << "this build has no dygraphs: the page has no charts";
  EXPECT_EQ(read_file(log).find("CONSOLE"), std::string::npos) << read_file(log);
  const std::regex plot("data-figure=");
  const auto plots =
      std::distance(std::sregex_iterator(html.begin(), html.end(), plot), std::sregex_iterator());
  EXPECT_GT(plots, 4);
  expect_has(html, "data-charts=\"" + std::to_string(plots) + "\"");
  expect_has(html, "<canvas");
}

// ---- what went wrong ----

TEST_F(Report, SaysWhatWentWrong) {
  MadeUp run = made_up(3, {10, 100, 40, 30});
  run.steps = 40000;
  for (int step = 21000; step <= 25000; step += 1000)
    run.train(step,
              R"("steps_per_second":9,"critic_loss":null,"model_loss":0.25,"q_bias_share":7.5,)"
              R"("warnings":["ensemble collapsed: members differ by 0"])");
  run.write(runs_);
  const std::string html = page({"bad=" + runs_});
  expect_has(html, "stopped at step 25,000 of 40,000");
  expect_has(html, "relapsed: below half of its best (100.0 at step 10,000) from step 15,000");
  expect_has(html, "diverged: at step 25,000 Q is off by 7.5 times");
  expect_has(html, "critic_loss is not finite in 5 of 9 train lines, first at step 21,000");
  expect_has(html, "model_loss stands still: 0.25 in each of the last 5");
  expect_has(html, "training warned 5 times from step 21,000 to 25,000; last: ensemble collapsed");
}

TEST_F(Report, AHealthyRunHasNothingWrong) {
  const std::string html = page({three()});
  expect_has(html, "<b>Nothing.</b>");
  EXPECT_EQ(html.find("<li class=fault>"), std::string::npos);
  EXPECT_EQ(html.find("<li class=warning>"), std::string::npos);
}

TEST_F(Report, ARelapseIsOneThatStays) {
  made_up(0, {10, 100, 40, 60}).write(runs_ + "/seed-0");     // came back
  made_up(1, {-50, -10, -31, -20}).write(runs_ + "/seed-1");  // counted from -50: half is -30
  made_up(2, {-50, -10, -31, -40}).write(runs_ + "/seed-2");
  made_up(3, {100, 101, 99, 60}).write(runs_ + "/seed-3");
  made_up(4, {100, 101, 99, 20}).write(runs_ + "/seed-4");
  const std::string html = page({"g=" + runs_});
  const std::regex fault("<li class=fault><b>([^<]*)</b> relapsed");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(html, match, fault));
  EXPECT_EQ(match[1], "g, seed 2");
  EXPECT_FALSE(std::regex_search(std::string(match.suffix()), fault));
  expect_has(html, "g, seed 4</b> its last evaluation (20.00) is below half of its best");
}

TEST_F(Report, SettingsThatDiffer) {
  MadeUp longer = made_up(0, {1, 2});
  longer.horizon = 8;
  longer.write(folder_.file("long"));
  made_up(0, {1, 2}).write(folder_.file("short"));
  const std::string html = page({folder_.file("long"), folder_.file("short")});
  expect_has(html, "<td class=t><code>planner.horizon</code></td><td>8</td><td>4</td></tr>");
  EXPECT_EQ(html.find("<td class=t><code>trainer.steps"), std::string::npos);
  expect_has(html, "--set planner.horizon=8");
}

TEST_F(Report, TasksHaveAPartEach) {
  made_up(0, {1}).write(folder_.file("a"));
  MadeUp other = made_up(0, {1});
  other.task = "pendulum";
  other.write(folder_.file("b"));
  const std::string html = page({folder_.file("a"), folder_.file("b")});
  expect_has(html, "<h1 id=\"lq-top\">lq</h1>");
  expect_has(html, "<h1 id=\"pendulum-top\">pendulum</h1>");
}

// ---- bad input ----

TEST_F(Report, NoRunFolder) {
  expect_error(report({folder_.file("none")}), 1, {"none", "no such folder"});
  expect_error(report({folder_.path()}), 1, {folder_.path(), "no config.json", "no seed-N"});
  EXPECT_FALSE(fs::exists(page_));
}

TEST_F(Report, RunWithoutEvaluationsIsJudgedByTraining) {
  MadeUp run{.steps = 6000};
  for (int step = 100; step <= 6000; step += 100) run.episode(step, std::to_string(step));
  run.write(runs_);
  const std::string html = page({runs_});
  expect_has(html, "has no evaluations");
  const Json table = data(html).at("table");
  EXPECT_NEAR(table.at(0).at("median"), 4550, 1e-9);  // of 4,100, 4,200, ..., 5,000
}

TEST_F(Report, RunThatHasNotBegunYet) {
  MadeUp{}.write(runs_);
  expect_has(page({runs_}), "metrics.jsonl has no line yet");
}

TEST_F(Report, TasksInOneGroup) {
  made_up(0, {1}).write(folder_.file("a"));
  MadeUp other = made_up(0, {1});
  other.task = "pendulum";
  other.write(folder_.file("b"));
  expect_error(report({"both=" + folder_.file("a"), folder_.file("b")}), 2,
               {"both", "lq", "pendulum", "one task"});
}

TEST_F(Report, RunNamedTwice) {
  made_up(0, {1}).write(runs_);
  expect_error(report({"a=" + runs_, runs_ + "/"}), 2, {"named twice", "'a'"});
}

TEST_F(Report, LastLineCut) {
  MadeUp run = made_up(0, {1, 2});
  run.metrics += R"({"kind":"eval","step":11000,"returns":[99)";
  run.write(runs_);
  const std::string html = page({runs_});
  expect_has(html, "the last line of metrics.jsonl is cut; everything up to step 10,000 is used");
  EXPECT_EQ(data(html).at("table").size(), 2u);
}

TEST_F(Report, LineThatIsNoJson) {
  MadeUp run = made_up(0, {1});
  run.metrics = "{\"kind\":\n" + run.metrics;
  run.write(runs_);
  expect_error(report({runs_}), 1, {"metrics.jsonl line 1", "not JSON"});
}

TEST_F(Report, ReturnsThatAreNotFinite) {
  MadeUp run = made_up(0, {1, 2});
  run.evaluation(15000, "1,null");
  run.evaluation(20000, "NaN,3");
  run.steps = 20000;
  run.write(runs_ + "/seed-0");
  made_up(1, {5, 6, 7, 8}).write(runs_ + "/seed-1");
  const std::string html = page({runs_});
  expect_has(html, "2 of 4 evaluations have a return that is not finite, first at step 15,000");
  const Json last = data(html).at("table").at(2);
  EXPECT_EQ(last.at("step"), 20000);
  EXPECT_EQ(last.at("seeds"), 1);
  EXPECT_EQ(last.at("median"), 8.0);
}

TEST_F(Report, OneSeedHasNoBand) {
  made_up(0, {1, 2}).write(runs_);
  const std::string html = page({runs_});
  expect_has(html, "has one seed: no band and no interval");
  EXPECT_EQ(html.find("<path class=b"), std::string::npos);
  EXPECT_TRUE(data(html).at("table").at(0).at("interval").is_null());
}

TEST_F(Report, BadBaseline) {
  const std::string file = folder_.file("b.json"), runs = three();
  const auto refused = [&](const std::string& text, const Words& parts) {
    write_file(file, text);
    expect_error(report({runs, "--baseline", file}), 1, parts);
  };
  refused(R"({"name":"x","task":"lq","steps":[1],"returns":[[1]],"colour":"red"})",
          {"b.json", "'colour'", "steps, returns"});
  refused(R"({"name":"x","task":"lq","steps":[1,2],"returns":[[1]]})", {"returns[0]", "2 steps"});
  refused(R"({"name":"x","task":"lq","steps":[2,1],"returns":[[1,1]]})", {"steps[1]", "greater"});
  refused(R"({"name":"x","task":"Ant","steps":[1],"returns":[[1]]})", {"'x'", "Ant"});
}

TEST_F(Report, OutInAMissingFolder) {
  const std::string out = folder_.file("none/report.html");
  expect_error(report({three(), "--out", out}), 1, {"none", "--out"});
  EXPECT_FALSE(fs::exists(folder_.file("none")));
}

TEST_F(Report, FullDiskLeavesThePageThatWasThere) {
  write_file(page_, "an earlier page");
  ProgramOptions options;
  options.most_file_bytes = 20000;
  const Result result = report({three()}, options);
  expect_error(result, 1, {page_, "cannot write"});
  EXPECT_EQ(read_file(page_), "an earlier page");
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder_.path()))
    files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 1) << "something half-written remains";
}

}  // namespace
}  // namespace softmpc::test
