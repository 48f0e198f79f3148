#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests bench/run and bench/table on tiny runs: usage: bench_run_test.py CHECKOUT PROGRAM"""
import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
CHECKOUT, PROGRAM = (Path(word).resolve() for word in sys.argv[1:3])
NAMES = ["plan_float32", "latency_float32", "scaling_float32", "diff_drive_threads1", "train_float32_threads1",
         "update"]


def script(name):
    """A script of bench/ as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(CHECKOUT / "bench" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.path.insert(0, str(CHECKOUT / "bench"))
    loader.exec_module(module)
    return module


def run(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)


class BenchRunTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = Path(cls.folder.name)
        done = run(CHECKOUT / "bench" / "run", "--quick", "--out", cls.out, "--program", PROGRAM, *NAMES)
        if "no trainer" in done.stderr:
            sys.exit(77)
        assert done.returncode == 0, done.stderr
        cls.records = {name: json.loads((cls.out / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def changed(self, name, **fields):
        """The results, of a commit without changes but for `fields` of one of them."""
        records = {key: {**record, "changed": False} for key, record in self.records.items()}
        records[name].update(fields)
        return records

    def tables(self, records):
        with tempfile.TemporaryDirectory() as folder:
            for name, record in records.items():
                (Path(folder) / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
            return run(CHECKOUT / "bench" / "table", "--print", "--results", folder)

    def test_records_say_where_they_are_from(self):
        for name, record in self.records.items():
            for field in ("command", "machine", "version", "commit", "changed", "compiler", "date", "result"):
                self.assertIn(field, record, name)
            self.assertRegex(record["date"], r"^\d{4}-\d\d-\d\dT\d\d:\d\dZ$")
            self.assertTrue(record["command"].startswith("softmpc bench "))

    def test_tables_keep_latency_and_throughput_apart(self):
        done = self.tables(self.changed("update"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"Latency of a plan through[^|]*\n\n\| case \| B \| K \| H \| float32: median \|")
        self.assertRegex(done.stdout, r"Throughput, all plans in their total time[^|]*\n\n\| case [^\n]*evaluations/s")
        self.assertIn("commit " + self.records["update"]["commit"], done.stdout)
        for word in ("Throughput of training", "one controller's ticks", "model steps/s", "Case a with other members"):
            self.assertIn(word, done.stdout)

    def test_tables_of_several_origins_are_refused(self):
        machine = {**self.records["update"]["machine"], "cpu": "another"}
        for fields, words in (({"commit": "0123456789"}, ["2 commits", "0123456789: update"]),
                              ({"changed": True}, ["update.json", "changed sources"]),
                              ({"compiler": "another"}, ["2 compilers"]),
                              ({"machine": machine}, ["2 machines"])):
            done = self.tables(self.changed("update", **fields))
            self.assertEqual(done.returncode, 1, done.stdout)
            for word in words + ["bench/run all"]:
                self.assertIn(word, done.stderr)

    def test_an_older_record_is_refused(self):
        records = self.changed("update")
        del records["plan_float32"]["date"]
        found = script("table").faults(records)
        self.assertEqual(len(found), 1, found)
        self.assertIn("plan_float32", found[0])
        self.assertEqual(script("table").faults(self.changed("update")), [])

    def test_other_runs_may_be_of_another_commit(self):
        records = self.changed("update")
        records["peers"] = {"commit": "0123456789", "changed": False, "date": "2026-01-01T00:00Z", "threads": 1,
                            "command": "bench/peers/compare", "machine": self.records["update"]["machine"], "cases": []}
        done = self.tables(records)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("A run of its own", done.stdout)
        self.assertIn("commit 0123456789", done.stdout)

    def test_wrong_command_lines_say_what_is_right(self):
        for words, part in (([], "name benchmarks, or all"), (["plan_float23"], "plan_float32"),
                            (["--quick", "all"], "--out")):
            done = run(CHECKOUT / "bench" / "run", *words)
            self.assertEqual(done.returncode, 2)
            self.assertIn(part, done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
