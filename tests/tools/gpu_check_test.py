# SPDX-License-Identifier: Apache-2.0
"""Tests tools/gpu_check where there is no GPU: what it skips, keeps, refuses and collects; the stages
themselves by a program whose device is the emulator.

    gpu_check_test.py SOURCE BUILD SOFTMPC_EMULATED GTEST_PROGRAM
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE, BUILD, EMULATED, GTEST = (Path(argument) for argument in sys.argv[1:5])


def gpu_check(*arguments):
    words = [sys.executable, str(SOURCE / "tools" / "gpu_check"), *map(str, arguments)]
    # a GPU that this machine may have is not for these tests. Their pack is of a build with LibTorch, which a
    # program that has moved finds no more; a real pack's has none
    libraries = ":".join(str(SOURCE / ".deps" / name / "lib") for name in ("torch", "mujoco"))
    return subprocess.run(words, capture_output=True, text=True, check=False,
                          env=dict(os.environ, CUDA_VISIBLE_DEVICES="-1", LD_LIBRARY_PATH=libraries))


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "gpu.json"

    def prebuilt(self):
        """A pack whose device is the emulator and whose one test needs no device."""
        folder = self.folder / "pack"
        (folder / "bin").mkdir(parents=True)
        shutil.copy2(EMULATED, folder / "bin" / "softmpc")
        shutil.copy2(GTEST, folder / "bin" / "some_test")
        (folder / "manifest.json").write_text(json.dumps({"commit": "abc", "tests": ["some_test"]}), encoding="utf-8")
        return folder

    def stages(self):
        return json.loads(self.out.read_text(encoding="utf-8"))["stages"]

    def quick(self, *stages, prebuilt):
        return gpu_check(*stages, "--quick", "--prebuilt", prebuilt, "--out", self.out)

    def test_lists_the_stages(self):
        done = gpu_check("--list")
        self.assertEqual(done.returncode, 0)
        names = [line.split()[0] for line in done.stdout.splitlines()]
        for name in ("facts", "build", "parity", "golden", "sanitizer", "precision", "startup", "bench", "diffdrive",
                     "peers", "peers_a", "train"):
            self.assertIn(name, names)

    def test_without_a_gpu_everything_is_skipped(self):
        done = gpu_check("all", "--out", self.out)
        self.assertEqual(done.returncode, 77, done.stdout + done.stderr)
        stages = self.stages()
        self.assertEqual(len(stages), 15)
        for name, stage in stages.items():
            self.assertEqual(stage["status"], "skipped", name)
            self.assertTrue(stage["reason"].startswith("no GPU"), stage["reason"])
            self.assertEqual(stage["results"], {})
        self.assertEqual(list(self.folder.iterdir()), [self.out], "nothing beside the record")

    def test_stages_run_and_their_records_merge(self):
        pack = self.prebuilt()
        done = self.quick("golden", "bench", prebuilt=pack)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        golden, bench = self.stages()["golden"], self.stages()["bench"]
        self.assertEqual(golden["status"], "ok")
        self.assertTrue(golden["quick"])
        self.assertEqual(golden["commit"], "abc")
        self.assertEqual(len(golden["results"]["float16 auto"]["passed"]), 12)
        self.assertEqual(len(golden["results"]["float32 plain"]["passed"]), 12)
        self.assertTrue(golden["results"]["float16 cluster"]["refused"], "narrow nets do not fit that path")
        self.assertGreater(bench["results"]["a float16 auto"]["cases"][0]["device_us"]["median"], 0)
        self.assertIn("refused", bench["results"]["a float16 cluster"])
        for command in bench["commands"]:
            self.assertTrue(command["command"].startswith("BUILD/bin/softmpc bench plan"), command)
            self.assertNotIn(str(self.folder), json.dumps(command))
        # a later call adds, a skip takes nothing away, a failure shows and keeps the rest
        done = self.quick("parity", "diffdrive", prebuilt=pack)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(self.stages()["diffdrive"]["results"]["cases"][0]["device_us"]["median"], 0)
        self.assertTrue(all(test["passed"] for test in self.stages()["parity"]["results"].values()))
        self.assertGreater(len(self.stages()["parity"]["results"]), 1)
        self.assertEqual(gpu_check("golden", "--prebuilt", pack, "--out", self.out).returncode, 77)
        self.assertEqual(self.stages()["golden"], golden)
        (pack / "bin" / "some_test").unlink()
        done = self.quick("parity", prebuilt=pack)
        self.assertEqual(done.returncode, 1)
        self.assertIn("some_test", self.stages()["parity"]["reason"])
        self.assertEqual(self.stages()["bench"], bench)

    def test_the_time_of_a_stage_ends_it(self):
        done = gpu_check("parity", "--quick", "--prebuilt", self.prebuilt(), "--limit", "1e-3", "--out", self.out)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertEqual(self.stages()["parity"]["status"], "failed")

    def test_refuses_in_one_line(self):
        def refused(code, part, *arguments):
            done = gpu_check(*arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(part, done.stderr.splitlines()[-1])

        refused(2, "'benhc' is not known", "benhc")
        refused(2, "no stage given")
        refused(2, "pack needs one folder", "pack")
        refused(2, "--quick needs --out", "bench", "--quick", "--out", SOURCE / "bench" / "results" / "gpu.json")
        refused(1, "manifest.json", "bench", "--prebuilt", self.folder, "--out", self.out)
        self.out.write_text('{"stages": ', encoding="utf-8")
        refused(1, "no record of gpu_check", "facts", "--out", self.out)
        self.assertEqual(self.out.read_text(encoding="utf-8"), '{"stages": ', "what is there stays")

    def test_packs_what_a_gpu_machine_needs(self):
        done = gpu_check("pack", self.folder / "pack", "--from-build", BUILD)
        if "is not there; build it" in done.stderr:
            self.skipTest("not every test labelled gpu is built")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("MB", done.stdout)
        manifest = json.loads((self.folder / "pack" / "manifest.json").read_text(encoding="utf-8"))
        self.assertIn("device_parity_test", manifest["tests"])
        done = gpu_check("build", "--quick", "--prebuilt", self.folder / "pack", "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertTrue(self.stages()["build"]["results"]["version"].startswith("softmpc "))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
