#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests bench/learning with a program that trains nothing: usage: bench_learning_test.py CHECKOUT"""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
CHECKOUT = Path(sys.argv[1]).resolve()
sys.path.insert(0, str(CHECKOUT / "bench"))
import learning_records  # noqa: E402
import learning_statistics  # noqa: E402
import learning_tables  # noqa: E402

loader = importlib.machinery.SourceFileLoader("learning", str(CHECKOUT / "bench" / "learning"))
command_line = importlib.util.module_from_spec(importlib.util.spec_from_loader("learning", loader))
loader.exec_module(command_line)

# Takes the command line of `softmpc train` and writes a run folder. Its settings choose what happens: fail: a seed
# that fails; wait: it stops at half time until it is resumed.
FAKE = f"""#!{sys.executable} -IS
""" + """import json, os, signal, sys, time
words = sys.argv[1:]
value = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}
settings = dict(words[i + 1].split("=") for i, word in enumerate(words) if word == "--set")
seed, out = int(value["--seed"]), value["--out"]
with open(os.path.join(os.path.dirname(__file__), "calls"), "a") as calls:
    calls.write(" ".join(words) + f" OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}\\n")
if settings.get("fail") == str(seed):
    sys.exit("softmpc: error: seed of ill luck")
def stop(*_):
    open(os.path.join(out, "checkpoint"), "w").close()
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
os.makedirs(out, exist_ok=True)
if settings.get("wait") == "true" and "--resume" not in words:
    open(os.path.join(out, "waits"), "w").close()
    time.sleep(60)
with open(os.path.join(out, "metrics.jsonl"), "w") as metrics:
    for step in range(2500, int(value["--steps"]) + 1, 2500):
        for line in ({"kind": "episode", "step": step - 1000, "return": 10.0 * seed, "length": 100},
                     {"kind": "episode", "step": step, "return": 20.0 * seed, "length": 100},
                     {"kind": "train", "step": step, "steps_per_second": 50.0},
                     {"kind": "eval", "step": step, "returns": [step, step + 2.0 * seed], "mean": step + seed}):
            metrics.write(json.dumps(line) + "\\n")
"""
STUDIES = {
    "a": {"task": "lq", "steps": 5000, "seeds": "0..2", "settings": {"critic.count": 2}, "shows": "something"},
    "b": {"task": "lq", "preset": "paper-gaussian", "steps": 5000, "seeds": [5, 7],
          "settings": {"trainer.eval_episodes": 2}},
    "failing": {"task": "lq", "steps": 5000, "seeds": "1..3", "settings": {"fail": 2}},
    "waiting": {"task": "lq", "steps": 5000, "seeds": "1..2", "settings": {"wait": True}},
}


class BenchLearningTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = self.folder / "softmpc"
        self.program.write_text(FAKE, encoding="utf-8")
        self.program.chmod(0o755)
        (self.folder / "studies.json").write_text(json.dumps(STUDIES), encoding="utf-8")

    def command(self, name, *arguments):
        where = ["--studies", self.folder / "studies.json", "--results", self.folder / "results"]
        if name == "run":
            where += ["--runs", self.folder / "runs", "--program", self.program]
        return [*map(str, [CHECKOUT / "bench" / "learning", name, *arguments, *where])]

    def learning(self, name, *arguments):
        """As a command, but in this process: an interpreter takes longer to start than all else here."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", self.command(name, *arguments)), contextlib.redirect_stdout(out), \
                contextlib.redirect_stderr(err):
            try:
                code = command_line.main()
            except SystemExit as end:
                code = end.code
        return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())

    def record(self, name):
        return json.loads((self.folder / "results" / f"{name}.json").read_text(encoding="utf-8"))

    def change(self, name, **origin):
        record = self.record(name)
        record["origin"].update(origin)
        (self.folder / "results" / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")

    def calls(self):
        """Command lines since the last call."""
        path = self.folder / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def test_runs_are_recorded(self):
        done = self.learning("run", "a", "b", "--jobs", "1")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("[1/5] a seed 0: done", done.stdout)
        record = self.record("a")
        self.assertEqual(record["command"], "softmpc train lq --preset default --steps 5000 --set critic.count=2 --set "
                         "trainer.eval_interval=2500 --set trainer.eval_episodes=10 --seeds 0..2")
        for field in ("machine", "commit", "changed", "date"):
            self.assertIn(field, record["origin"])
        self.assertEqual(record["seeds"]["2"], {
            "evaluations": [[2500, 2502, [2500, 2504]], [5000, 5002, [5000, 5004]]], "training": [30, 30],
            "episodes": 4, "last_ten": {"median": 30, "least": 20}, "seconds": 100, "steps_per_second": 50})
        # its own number of episodes; 5 and 7 are no range of seeds
        self.assertEqual(self.record("b")["command"], "softmpc train lq --preset paper-gaussian --steps 5000 --set "
                         "trainer.eval_episodes=2 --set trainer.eval_interval=2500")

    def test_a_study_may_name_a_peer_in_place_of_the_program(self):
        peer = self.folder / "peer"
        self.program.rename(peer)
        self.program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        self.program.chmod(0o755)
        study = {"task": "lq", "preset": "sac", "program": str(peer), "steps": 5000, "seeds": "0..1"}
        (self.folder / "studies.json").write_text(json.dumps({"peer": study}), encoding="utf-8")
        done = self.learning("run", "peer")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(self.record("peer")["command"].startswith(f"{peer} train lq --preset sac "))
        shown = self.learning("table").stdout
        self.assertIn("| lq | SAC of stable-baselines3, by us | 2 | 2,500 | 5,000 |", shown)

    def test_seeds_of_studies_take_turns_on_one_thread_each(self):
        self.learning("run", "a", "b", "--jobs", "1")
        calls = self.calls()
        self.assertEqual([line.split("--seed ")[1].split()[0] for line in calls], ["0", "5", "1", "7", "2"])
        for line in calls:
            self.assertIn("--threads 1 ", line)
            self.assertIn("OMP_NUM_THREADS=1", line)

    def test_what_is_recorded_is_skipped(self):
        self.learning("run", "a", "--seeds", "0..1")
        self.assertEqual(len(self.calls()), 2)
        done = self.learning("run", "a")
        self.assertIn("1 runs", done.stdout)
        self.assertIn("2 are recorded already", done.stdout)
        calls = self.calls()
        self.assertEqual(len(calls), 1, calls)
        self.assertIn("--seed 2 ", calls[0])
        self.assertEqual(list(self.record("a")["seeds"]), ["0", "1", "2"])

    def test_a_stopped_run_goes_on(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            runs = self.folder / "runs"
            process = subprocess.Popen([sys.executable, *self.command("run", "waiting", "--jobs", "1", "--seeds",
                                                                       str(int(number)))],
                                       stdout=subprocess.PIPE, text=True)
            begun = time.monotonic()
            while not list(runs.glob(f"*/*/seed-{int(number)}/waits")):
                self.assertLess(time.monotonic() - begun, 30)
                time.sleep(0.02)
            process.send_signal(number)
            out, _ = process.communicate(timeout=30)
            self.assertEqual(process.returncode, 128 + number)
            self.assertIn("1 runs are not finished", out)
            self.assertTrue(list(runs.glob(f"*/*/seed-{int(number)}/checkpoint")))
            self.calls()
            self.assertEqual(self.learning("run", "waiting", "--seeds", str(int(number))).returncode, 0)
            self.assertIn("--resume", self.calls()[0])
            self.assertIn(str(int(number)), self.record("waiting")["seeds"])

    def test_a_failed_run_is_named_and_stops_no_other(self):
        done = self.learning("run", "failing", "--jobs", "1")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"failing seed 2: failed after [0-9:]+: "
                                      r"softmpc: error: seed of ill luck \(exit code 1\)")
        self.assertEqual(list(self.record("failing")["seeds"]), ["1", "3"])

    def test_a_return_that_is_not_finite_is_a_failure(self):
        self.program.write_text(FAKE.replace('"returns": [step', '"returns": [None'), encoding="utf-8")
        done = self.learning("run", "a", "--seeds", "0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("a return at step 2500 is not finite", done.stdout)
        self.assertFalse((self.folder / "results" / "a.json").exists())

    def test_seeds_of_another_origin_or_protocol_are_refused(self):
        self.learning("run", "a", "--seeds", "0")
        self.calls()
        refused = [self.learning("run", "a", "--steps", "7500")]
        self.change("a", commit="0123456789")
        refused += [self.learning("run", "a"), self.learning("run", "b", "a")]
        for done, words in zip(refused, ("steps 5000, and now it is 7500", "commit 0123456789", "study 'a'")):
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(words, done.stderr)
            self.assertIn("--again", done.stderr)
        self.assertEqual(self.calls(), [])  # refused before anything is trained
        self.assertEqual(self.learning("run", "a", "--again", "--seeds", "1..2").returncode, 0)
        self.assertEqual(list(self.record("a")["seeds"]), ["1", "2"])
        self.assertNotEqual(self.record("a")["origin"]["commit"], "0123456789")

    def test_run_folders_of_another_commit_are_refused(self):
        (self.folder / "runs" / "a" / "0123456789" / "seed-0").mkdir(parents=True)
        done = self.learning("run", "a")
        self.assertEqual(done.returncode, 1)
        self.assertIn("has runs of 0123456789", done.stderr)
        self.assertEqual(self.learning("run", "a", "--again").returncode, 0)

    def test_a_program_that_is_built_again_starts_no_further_run(self):
        self.program.write_text(FAKE + f"os.utime({str(self.program)!r}, (1, 1))\n", encoding="utf-8")
        done = self.learning("run", "a", "--jobs", "1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("2 runs were not started", done.stderr)
        self.assertEqual(list(self.record("a")["seeds"]), ["0"])

    def test_tables_and_comparisons_of_evaluations(self):
        self.learning("run", "a", "b")
        done = self.learning("table", "a")
        self.assertIn("Evaluation returns: each seed's mean over 2 episodes", done.stdout)
        self.assertRegex(done.stdout, r"\| 5,000 \| 5,001 \| 5,001 \| 5,000 to 5,002 \| 5,001 \| "
                                      r"[^|]+ \| 5,000 \(seed 0\) \| 3 \|")
        done = self.learning("compare", "b", "a", "--at", "5000")
        self.assertIn("probability 1.00 (2 and 3 seeds; evaluation returns, at step 5000)", done.stdout)
        self.assertIn("standard deviation of 0.29", done.stdout)  # sqrt(6 / 72)
        self.assertIn("up to step 5000", self.learning("compare", "b", "a").stdout)
        done = self.learning("compare", "a", "b", "--at", "4000")
        self.assertIn("no returns at step 4000; it has them at 2500, 5000", done.stderr)

    def test_wrong_requests_say_what_is_right(self):
        self.learning("run", "a", "--seeds", "0")
        for words, part in ((["run", "c"], "study 'c' is not known; known: a, b"), (["table", "b"], "recorded: a"),
                            (["run", "a", "--seeds", "3..1"], "A..B with A <= B"),
                            (["run", "a", "--jobs", "0"], "'0' is not a whole number above 0")):
            done = self.learning(*words)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(part, done.stderr)
        (self.folder / "studies.json").write_text('{"a": {"task": "lq", "step": 5}}', encoding="utf-8")
        self.assertIn("study 'a': 'step' is not known", self.learning("list").stderr)


class StatisticsTest(unittest.TestCase):
    def test_against_values_by_hand(self):
        self.assertEqual(learning_statistics.band([6, 1, 5, 2, 4, 3]), (2, 5))
        self.assertEqual(learning_statistics.band([7]), (7, 7))
        self.assertEqual(learning_statistics.interquartile_mean([100, 1, 4, 3, 2, 5, 60, -50]), 3.5)  # of 2, 3, 4, 5
        self.assertEqual(learning_statistics.interquartile_mean([1, 2, 6]), 3)  # too few to cut one
        share, deviation = learning_statistics.mann_whitney([3, 4], [1, 3])
        self.assertEqual(share, 3.5 / 4)
        self.assertAlmostEqual(deviation, (2 * 2 * 5 / 12) ** 0.5 / 4)

    def test_intervals_hold_the_statistic_and_repeat(self):
        values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
        low, high = learning_statistics.bootstrap_interval(learning_statistics.interquartile_mean, values)
        self.assertTrue(1 < low < learning_statistics.interquartile_mean(values) < high < 9)
        self.assertEqual((low, high), learning_statistics.bootstrap_interval(
            learning_statistics.interquartile_mean, values))
        self.assertIsNone(learning_statistics.bootstrap_interval(learning_statistics.interquartile_mean, [1]))
        # two values: a quarter of the resamples is twice the lower, a quarter twice the greater one
        self.assertEqual(learning_statistics.bootstrap_interval(learning_statistics.interquartile_mean, [0, 1]), (0, 1))

    def test_seeds_without_an_episode_are_left_out_of_a_window(self):
        record = {"study": "x", "window": 2000, "steps": 5000, "seeds": {
            "0": {"evaluations": [], "training": [1, None, 3]}, "1": {"evaluations": [], "training": [5, 6, 7]}}}
        self.assertEqual(learning_tables.curves(record, learning_tables.kind_of(record)),
                         {2000: {"0": 1, "1": 5}, 4000: {"1": 6}, 5000: {"0": 3, "1": 7}})


class RecordedTest(unittest.TestCase):
    """What the checkout has recorded."""

    def test_the_page_has_the_tables_of_the_results(self):
        done = subprocess.run([sys.executable, str(CHECKOUT / "bench" / "learning"), "table", "--check"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_records_are_of_known_studies(self):
        studies, records = learning_records.read_studies(learning_records.STUDIES), learning_records.Records()
        self.assertTrue(records.names())
        for name in records.names():
            self.assertIn(name, studies)
            self.assertEqual(learning_records.to_text(records.read(name)),
                             records.path(name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
