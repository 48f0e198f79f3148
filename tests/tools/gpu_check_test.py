# SPDX-License-Identifier: Apache-2.0
"""Tests tools/gpu_check where there is no GPU: what it skips, keeps, cuts, refuses, merges and collects. Stubs stand
for its programs; what the programs themselves print comes from one whose device is the emulator.

    gpu_check_test.py SOURCE [BUILD SOFTMPC_EMULATED GTEST_PROGRAM [TEST...]]
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SOURCE, *BUILT = (Path(argument).resolve() for argument in sys.argv[1:5])
BUILD, EMULATED, GTEST = BUILT if len(BUILT) == 3 else (None, None, None)
STUB = Path(__file__).resolve().parent / "gpu_check_stub.py"
PROGRAM = SOURCE / "tools" / "gpu_check"
sys.path.insert(0, str(SOURCE / "tools" / "gpu"))
sys.dont_write_bytecode = True
import gpu_pack  # noqa: E402
import gpu_stages  # noqa: E402

# the script with something replaced: `CHANGE` first
PATCHED = f"""
import runpy, sys
sys.path.insert(0, {str(SOURCE / "tools" / "gpu")!r})
import gpu_checks, gpu_machine, gpu_pack, gpu_times
CHANGE
sys.argv = ["gpu_check", *sys.argv[1:]]
runpy.run_path({str(PROGRAM)!r}, run_name="__main__")
"""
FAKE_GPU = 'gpu_machine.driver_facts = lambda: {"device": "Some GPU", "cuda_of_driver": "13.0", "compute_mode": MODE}\n'


def command(*arguments, change=None):
    program = [str(PROGRAM)] if change is None else ["-c", PATCHED.replace("CHANGE", change)]
    return [sys.executable, *program, *map(str, arguments)]


def environment(**variables):
    # a GPU that this machine may have is not for these tests. Their pack may be of a build with LibTorch, which a
    # program that has moved finds no more; a real pack's has none
    libraries = ":".join(str(SOURCE / ".deps" / name / "lib") for name in ("torch", "mujoco"))
    result = dict(os.environ, CUDA_VISIBLE_DEVICES="-1", LD_LIBRARY_PATH=libraries, PYTHONDONTWRITEBYTECODE="1")
    result.pop("SOFTMPC_CACHE_DIR", None)
    result.update(variables)
    return {name: value for name, value in result.items() if value is not None}


def gpu_check(*arguments, change=None, **variables):
    return subprocess.run(command(*arguments, change=change), capture_output=True, text=True, check=False,
                          env=environment(**variables))


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out, self.log = self.folder / "gpu.json", self.folder / "log"

    def stages(self, out=None):
        return json.loads((out or self.out).read_text(encoding="utf-8"))["stages"]

    def refused(self, code, part, *arguments, **how):
        done = gpu_check(*arguments, **how)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(part, done.stderr.splitlines()[-1])
        return done.stderr.splitlines()[-1]

    # ---- stubs ----

    def stub(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable} -IS\n" + STUB.read_text(encoding="utf-8"), encoding="utf-8")
        path.chmod(0o755)

    def stubs(self, *tests):
        """A pack of stubs."""
        folder = self.folder / "pack"
        for name in ("softmpc", *tests):
            self.stub(folder / "bin" / name)
        (folder / "manifest.json").write_text(json.dumps({"commit": "abc", "tests": tests}), encoding="utf-8")
        return folder

    def call(self, *stages, prebuilt, change=None, gpu=False, stub=None, limit=540, **variables):
        """The script on stubs: with --quick, or as if there were a GPU."""
        change = (FAKE_GPU.replace("MODE", "0") if gpu is True else gpu or "") + (change or "")
        return gpu_check(*stages, "--prebuilt", prebuilt, "--out", self.out, "--limit", limit,
                         *([] if gpu else ["--quick"]), change=change or None,
                         STUB=json.dumps({"log": str(self.log), **(stub or {})}), **variables)

    def logged(self):
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def assert_children_ended(self):
        for pid in Path(f"{self.log}.child").read_text(encoding="utf-8").split():
            stat = Path("/proc") / pid / "stat"
            for _ in range(100):
                state = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] if stat.exists() else "gone"
                if state in ("gone", "Z"):
                    break
                time.sleep(0.05)
            self.assertIn(state, ("gone", "Z"), "a hanging program's child lives on")


class Times(GpuCheck):
    def test_groups_fit_a_call(self):
        done = gpu_check("--list")
        self.assertEqual(done.returncode, 0)
        listed = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
        self.assertEqual(list(listed), [*gpu_stages.STAGES, *gpu_stages.GROUPS, "all"])
        for name in (*gpu_stages.STAGES, *gpu_stages.GROUPS):
            self.assertLessEqual(listed[name], 540, name)
        for name, members in gpu_stages.GROUPS.items():
            self.assertEqual(listed[name], sum(listed[each] for each in members))
        grouped = {each for members in gpu_stages.GROUPS.values() for each in members}
        self.assertEqual(set(gpu_stages.STAGES) - grouped, {"peers_c", "peers_d", "peers_e"}, "a call each")

    def test_what_does_not_fit_is_skipped_with_a_sentence(self):
        done = self.call("bench", "facts", prebuilt=self.stubs(), gpu=True, limit=100)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.stages()["bench"]["status"], "skipped")
        self.assertRegex(self.stages()["bench"]["reason"],
                         r"^needs about 370 s, and \d+ s of this call's 100 s are left")
        self.assertEqual(self.stages()["facts"]["status"], "ok")
        self.assertFalse(self.log.exists(), "nothing of it ran")

    def test_a_running_stage_is_cut_and_keeps_what_passed(self):
        done = self.call("parity", "golden", prebuilt=self.stubs("device_parity_test", "some_test"), limit=10,
                         stub={"hang": ["Long.hangs"]})
        self.assertEqual(done.returncode, 1, done.stdout)
        parity = self.stages()["parity"]
        self.assertEqual(parity["status"], "cut")
        self.assertIn("device_parity_test Long.hangs", parity["reason"])
        self.assertEqual(list(parity["results"]), ["some_test Short.passes", "some_test Short.again",
                                                   "device_parity_test Long.passes"], "the short program first")
        self.assertTrue(all(test["passed"] for test in parity["results"].values()))
        self.assertEqual(self.stages()["golden"]["status"], "skipped", "no time was left")
        self.assert_children_ended()

    def test_a_test_that_hangs_ends_alone(self):
        done = self.call("parity", "golden_short", prebuilt=self.stubs("device_parity_test", "some_test"),
                         change="gpu_checks.TEST_SECONDS = 5", stub={"hang": ["Long.hangs"]})
        self.assertEqual(done.returncode, 1, done.stdout)
        parity = self.stages()["parity"]
        self.assertEqual(parity["status"], "failed")
        self.assertIn("no end within 5 s", parity["results"]["device_parity_test Long.hangs"]["output"][-1])
        self.assertEqual(sum(test["passed"] for test in parity["results"].values()), 3)
        self.assertEqual(self.stages()["golden_short"]["status"], "ok", "what comes after has its time")
        self.assert_children_ended()

    def test_a_call_that_is_told_to_end_writes_what_it_found(self):
        pack = self.stubs("device_parity_test", "some_test")
        words = command("parity", "golden", "--quick", "--prebuilt", pack, "--out", self.out)
        stub = json.dumps({"log": str(self.log), "hang": ["Long.hangs"]})
        with subprocess.Popen(words, env=environment(STUB=stub), stdout=subprocess.DEVNULL) as process:
            for _ in range(400):
                if Path(f"{self.log}.child").exists():
                    break
                time.sleep(0.05)
            time.sleep(1)  # the others have ended
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), 1)
        self.assertEqual(self.stages()["parity"]["status"], "cut")
        self.assertTrue(self.stages()["parity"]["results"]["some_test Short.passes"]["passed"])
        self.assert_children_ended()


class Programs(GpuCheck):
    def test_tests_run_side_by_side_where_the_device_allows_it(self):
        pack, tests = self.stubs("some_test"), ["Short.passes", "Short.again"]
        stub = {"wait": str(self.folder / "meeting"), "meet": tests}
        two = "import os; os.sched_getaffinity = lambda _: {0, 1}\n"
        (self.folder / "meeting").mkdir()
        done = self.call("parity", prebuilt=pack, gpu=True, change=two, stub=stub)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        shutil.rmtree(self.folder / "meeting")  # no more, where a device is for one process at a time
        (self.folder / "meeting").mkdir()
        change = two + "gpu_checks.TEST_SECONDS = 2"
        done = self.call("parity", prebuilt=pack, gpu=FAKE_GPU.replace("MODE", "3"), change=change, stub=stub)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertFalse(self.stages()["parity"]["results"]["some_test Short.passes"]["passed"])

    def test_a_program_that_does_not_start_fails_alone(self):
        pack = self.stubs("some_test", "device_parity_test")
        (pack / "bin" / "some_test").unlink()
        done = self.call("parity", prebuilt=pack)
        self.assertEqual(done.returncode, 1)
        self.assertIn("some_test", self.stages()["parity"]["reason"])
        self.assertTrue(self.stages()["parity"]["results"]["device_parity_test Long.passes"]["passed"])

    def test_a_call_has_a_cache_of_its_own(self):
        pack = self.stubs()
        folders = []
        for _ in range(2):
            done = self.call("golden_short", prebuilt=pack, HOME=None)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            folders.append({line["SOFTMPC_CACHE_DIR"] for line in self.logged()})
            self.assertEqual(len(folders[-1]), 1, "one for all programs of a call")
            self.assertFalse(Path(*folders[-1]).exists(), "and gone with it")
            self.log.unlink()
        self.assertNotEqual(*folders)
        self.call("golden_short", prebuilt=pack, SOFTMPC_CACHE_DIR=str(self.folder / "kept"))
        self.assertEqual({line["SOFTMPC_CACHE_DIR"] for line in self.logged()}, {str(self.folder / "kept")})

    def test_nvrtc_in_a_python_package_is_named_to_the_programs(self):
        change = 'gpu_machine.python_packages = lambda: [gpu_machine.Path("PACKAGES")]\n' \
                 'gpu_machine.loaded_nvrtc = lambda file: "13.0" if "PACKAGES" in file else None\n'
        change = change.replace("PACKAGES", str(self.folder / "site"))
        library = self.folder / "site" / "nvidia" / "cu13" / "lib" / "libnvrtc.so.13"
        library.parent.mkdir(parents=True)
        library.touch()
        done = self.call("facts", "golden_short", prebuilt=self.stubs(), gpu=True, change=change)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual({line["SOFTMPC_NVRTC"] for line in self.logged()}, {str(library)})
        self.assertEqual(self.stages()["facts"]["results"]["nvrtc"],
                         {"file": "libnvrtc.so.13", "found": "a Python package", "version": "13.0"})
        self.log.unlink()
        self.call("facts", "golden_short", prebuilt=self.stubs(), gpu=True,
                  change='gpu_machine.loaded_nvrtc = lambda file: None if "/" in file else "13.0"')
        self.assertEqual({line["SOFTMPC_NVRTC"] for line in self.logged()}, {None}, "the program finds it by itself")
        self.assertEqual(self.stages()["facts"]["results"]["nvrtc"]["found"], "the loader's search")

    def test_a_recorded_plan_that_hangs_takes_no_other_along(self):
        hanging = f"--path wgmma --json {SOURCE}/tests/golden/plan/hopper_uniform.json"
        done = self.call("golden", prebuilt=self.stubs(), gpu=True, change="gpu_checks.GOLDEN_SECONDS = 5",
                         stub={"hang": [hanging]})
        self.assertEqual(done.returncode, 1)
        golden = self.stages()["golden"]
        self.assertEqual(golden["status"], "failed")
        self.assertEqual(len(golden["results"]["float16 wgmma"]["passed"]), 11)
        self.assertEqual(golden["results"]["float16 wgmma"]["failed"][0]["name"], "hopper_uniform")
        self.assertEqual(golden["results"]["float16 tile"]["of_tolerance"], {"cost": 0.5})
        self.assertEqual(len(golden["results"]["float32 plain"]["passed"]), 12)

    def sanitized(self, **stub):
        self.stub(self.folder / "tools" / "compute-sanitizer")
        done = self.call("sanitizer", prebuilt=self.stubs(), stub=stub,
                         PATH=f"{self.folder / 'tools'}:{os.environ['PATH']}")
        return done.returncode, self.stages()["sanitizer"]

    def test_memory_checks_decide_and_race_checks_inform(self):
        code, stage = self.sanitized(fail=["racecheck"])
        self.assertEqual((code, stage["status"]), (0, "ok"), stage)
        self.assertEqual(len(stage["results"]["notes"]), 5)
        self.assertIn("ERROR SUMMARY: 1 error", stage["results"]["racecheck, float16 tile"]["summary"])
        self.assertEqual(stage["results"]["memcheck, float16 tile"]["exit_code"], 0)
        code, stage = self.sanitized(fail=["memcheck --error-exitcode 99 " + str(self.folder / "pack/bin/softmpc")
                                           + " bench plan"])
        self.assertEqual((code, stage["status"]), (1, "failed"))
        self.assertIn("memcheck, float16 cluster", stage["reason"])
        self.assertEqual(stage["results"]["notes"], [])
        self.assertEqual(stage["results"]["memcheck, float32 plain"]["exit_code"], 0, "kept beside the fault")

    def test_a_check_that_could_not_run_is_a_note(self):
        said = "========= Program hit CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"
        code, stage = self.sanitized(fail=["memcheck"], says=said)
        self.assertEqual((code, stage["status"]), (0, "ok"), stage)
        self.assertEqual(len(stage["results"]["notes"]), 5)

    def test_a_program_without_a_trainer_is_told_from_a_fault(self):
        said = "softmpc: error: this build of softmpc has no trainer"
        done = self.call("train_short", prebuilt=self.stubs(), stub={"fail": ["bench train"], "says": said})
        self.assertEqual(done.returncode, 77, done.stdout)
        self.assertTrue(self.stages()["train_short"]["reason"].startswith("pack --trainer brings"))
        done = self.call("train_short", prebuilt=self.stubs(), stub={"fail": ["bench train"], "says": "lost"})
        self.assertEqual(done.returncode, 1)


class First(GpuCheck):
    def fake_python(self):
        self.stub(self.folder / "tools" / "python3")
        return f"{self.folder / 'tools'}:{os.environ['PATH']}"

    def test_the_group_first_is_one_call(self):
        done = self.call("first", prebuilt=self.stubs("device_planner_test", "device_parity_test"), gpu=True,
                         PATH=self.fake_python())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        stages = self.stages()
        self.assertEqual(list(stages), gpu_stages.GROUPS["first"])
        self.assertEqual({name: stage["reason"] for name, stage in stages.items() if stage["status"] != "ok"}, {})
        self.assertEqual({stage["device"] for stage in stages.values()}, {"Some GPU"})
        self.assertEqual(list(stages["parity_short"]["results"]), ["device_planner_test Other.passes"])
        self.assertEqual(set(stages["golden_short"]["results"]), {"float16 auto", "bfloat16 auto", "float32 plain"})
        self.assertEqual(list(stages["bench_short"]["results"]),
                         [f"{case} float16 auto{turn}" for turn in ("", " again") for case in "abcde"])
        self.assertEqual(list(stages["train_short"]["results"]), ["envs 1 float16", "envs 1 float32"])
        self.assertEqual(stages["peers_short"]["results"], {"kinds": "graph"})
        self.assertNotIn(str(self.folder), json.dumps(stages), "no folder of this machine")

    def test_kernels_are_compiled_before_anything_is_timed(self):
        self.call("bench_short", prebuilt=self.stubs(), gpu=True)
        lines = [line["line"] for line in self.logged()]
        self.assertEqual(len(lines), 15)
        self.assertEqual(["--seconds 0.01" in line for line in lines], 5 * [True] + 10 * [False])

    def test_what_is_timed_but_wrong_fails(self):
        done = self.call("bench_short", prebuilt=self.stubs(), stub={"apart": 3.2})
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        stage = self.stages()["bench_short"]
        self.assertEqual(stage["status"], "failed")
        self.assertIn("a float16 auto: S is 3.2 temperatures from the CPU's, at most 1 is right", stage["reason"])
        self.assertEqual(stage["results"]["a float16 auto"]["cases"][0]["agreement"]["largest"], 3.2)

    def test_a_peer_that_compiles_too_long_loses_no_other(self):
        done = self.call("peers_a", prebuilt=self.stubs(), gpu=True, PATH=self.fake_python(),
                         stub={"fail": ["--kinds compiled graph"]})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        results = self.stages()["peers_a"]["results"]
        self.assertEqual(results["graph and eager"], {"kinds": "graph,eager"})
        self.assertIn("error", results["compiled graph float16"])
        self.assertEqual(results["reduce-overhead float32"], {"kinds": "reduce-overhead"})


class Records(GpuCheck):
    def record(self, name, commit, device="Some GPU", **statuses):
        path = self.folder / name
        stages = {stage: {"status": status, "commit": commit, "device": device, "results": {"from": name}}
                  for stage, status in statuses.items()}
        path.write_text(json.dumps({"kind": "softmpc gpu_check", "stages": stages}), encoding="utf-8")
        return path

    def test_merge(self):
        a = self.record("a.json", "abc", facts="ok", bench="ok", golden="cut")
        b = self.record("b.json", "abc", facts="ok", bench="skipped", golden="ok", train="failed")
        done = gpu_check("merge", a, b, "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        origins = {name: stage["results"]["from"] for name, stage in self.stages().items()}
        self.assertEqual(origins, {"facts": "b.json", "bench": "a.json", "golden": "b.json", "train": "b.json"})
        self.assertEqual(gpu_check("merge", b, a, "--out", a).returncode, 0, "one of them may be written")
        self.assertEqual(self.stages(a)["golden"]["status"], "cut")

    def test_merge_refuses_other_commits_and_devices(self):
        a, b = self.record("a.json", "abc", golden="ok"), self.record("b.json", "def", bench="ok")
        line = self.refused(1, "only results of one commit and device merge", "merge", a, b, "--out", self.out)
        for part in ("a.json", "b.json", "commit abc", "commit def"):
            self.assertIn(part, line)
        c = self.record("c.json", "abc", "Other GPU", bench="ok")
        line = self.refused(1, "device Other GPU", "merge", a, c, "--out", self.out)
        self.assertIn("device Some GPU", line)
        self.assertFalse(self.out.exists())
        skipped = self.record("d.json", "def", None, bench="skipped")
        self.assertEqual(gpu_check("merge", a, skipped, "--out", self.out).returncode, 0, "it measured nothing")

    def test_merge_refuses_in_one_line(self):
        a = self.record("a.json", "abc", golden="ok")
        self.refused(2, "merge needs two files and --out", "merge", a, "--out", self.out)
        self.refused(2, "merge needs two files and --out", "merge", a, a)
        self.refused(1, "none.json: cannot be read", "merge", a, self.folder / "none.json", "--out", self.out)
        self.out.write_text("[]", encoding="utf-8")
        self.refused(1, "no record of gpu_check", "merge", a, self.out, "--out", a)

    def test_without_a_gpu_everything_is_skipped(self):
        done = gpu_check("all", "--out", self.out)
        self.assertEqual(done.returncode, 77, done.stdout + done.stderr)
        stages = self.stages()
        self.assertEqual(list(stages), list(gpu_stages.STAGES))
        for name, stage in stages.items():
            self.assertEqual(stage["status"], "skipped", name)
            self.assertTrue(stage["reason"].startswith(("no GPU", "needs about")), stage["reason"])
            self.assertEqual(stage["results"], {})
        self.assertEqual(list(self.folder.iterdir()), [self.out], "nothing beside the record")

    def test_refuses_in_one_line(self):
        self.refused(2, "'benhc' is not known", "benhc")
        self.refused(2, "no stage given")
        self.refused(2, "pack needs one folder", "pack")
        self.refused(2, "--limit is 0, must be a positive number of seconds", "bench", "--limit", "0")
        self.refused(2, "--quick needs --out", "bench", "--quick", "--out", SOURCE / "bench" / "results" / "gpu.json")
        self.refused(1, "manifest.json", "bench", "--prebuilt", self.folder, "--out", self.out)
        self.out.write_text('{"stages": ', encoding="utf-8")
        self.refused(1, "no record of gpu_check", "facts", "--out", self.out)
        self.assertEqual(self.out.read_text(encoding="utf-8"), '{"stages": ', "what is there stays")


class Packs(GpuCheck):
    def build(self, *tests):
        """A folder that ctest takes for a build, of stubs."""
        folder = self.folder / "build"
        for name in ("softmpc", *tests):
            self.stub(folder / "bin" / name)
        lines = [f'add_test({name} "bin/{name}")\nset_tests_properties({name} PROPERTIES LABELS "cuda;gpu")\n'
                 for name in tests]
        (folder / "CTestTestfile.cmake").write_text("".join(lines), encoding="utf-8")
        return folder

    def pack(self, build, *arguments, change=None):
        return gpu_check("pack", self.folder / "pack", "--from-build", build, *arguments, change=change)

    def test_what_programs_share_travels_once(self):
        build = self.build("some_test", "device_parity_test")
        for seed, name in enumerate(("softmpc", "some_test", "device_parity_test")):
            with (build / "bin" / name).open("ab") as file:  # kernels that all carry, and code of each one's own
                file.write(b"\n'''" + random.Random(0).randbytes(1_000_000).hex().encode() + b"'''\n#")
                file.write(random.Random(seed + 1).randbytes(100_000).hex().encode())
        done = self.pack(build)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(sum(file.stat().st_size for file in (self.folder / "pack").iterdir()), 1_800_000)
        self.assertEqual(sorted(file.name for file in (self.folder / "pack").iterdir()),
                         ["manifest.json", "programs.tar.xz"])
        done = gpu_check("build", "parity", "--quick", "--prebuilt", self.folder / "pack", "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.stages()["build"]["results"]["tests"], ["some_test", "device_parity_test"])
        self.assertEqual(len(self.stages()["parity"]["results"]), 4)
        self.assertTrue(self.stages()["parity"]["commands"][0]["command"].startswith("BUILD/bin/some_test"))

    def test_a_pack_that_is_too_large_is_refused(self):
        self.assertLessEqual(gpu_pack.PACK_LIMIT, 52e6)
        done = self.pack(self.build("some_test"), change="gpu_pack.PACK_LIMIT = 1e3")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"has \d+\.\d MB, at most 0 MB are to be carried")

    def test_a_damaged_pack_is_refused_in_one_line(self):
        self.assertEqual(self.pack(self.build("some_test")).returncode, 0)
        archive = self.folder / "pack" / "programs.tar.xz"
        archive.write_bytes(archive.read_bytes()[:1000])
        self.refused(1, "programs.tar.xz: cannot be unpacked", "facts", "--prebuilt", self.folder / "pack", "--out",
                     self.out)

    def test_a_trainer_goes_along(self):
        build = self.build("some_test")
        self.stub(self.folder / "trainer")
        self.assertEqual(self.pack(build, "--trainer", self.folder / "trainer").returncode, 0)
        done = self.call("train", prebuilt=self.folder / "pack")
        self.assertEqual(done.returncode, 1, "this stub is no program that trains")
        self.assertTrue(self.stages()["train"]["commands"][0]["command"].startswith("BUILD/bin/softmpc_train"))
        self.refused(1, "nowhere is not there; build it", "pack", self.folder / "pack", "--from-build", build,
                     "--trainer", self.folder / "nowhere")


@unittest.skipUnless(EMULATED, "no build was named")
class Emulated(GpuCheck):
    """What the programs really print."""

    def prebuilt(self):
        """A pack whose device is the emulator and whose one test needs no device."""
        folder = self.folder / "pack"
        (folder / "bin").mkdir(parents=True)
        shutil.copy2(EMULATED, folder / "bin" / "softmpc")
        shutil.copy2(GTEST, folder / "bin" / "some_test")
        (folder / "manifest.json").write_text(json.dumps({"commit": "abc", "tests": ["some_test"]}), encoding="utf-8")
        return folder

    def quick(self, *stages, prebuilt):
        return gpu_check(*stages, "--quick", "--prebuilt", prebuilt, "--out", self.out)

    def test_stages_run_and_their_records_merge(self):
        pack = self.prebuilt()
        done = self.quick("golden", "bench", prebuilt=pack)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        golden, bench = self.stages()["golden"], self.stages()["bench"]
        self.assertEqual(golden["status"], "ok")
        self.assertTrue(golden["quick"])
        self.assertEqual(golden["commit"], "abc")
        self.assertEqual(len(golden["results"]["float16 auto"]["passed"]), 3)
        self.assertEqual(len(golden["results"]["float32 plain"]["passed"]), 3)
        self.assertTrue(golden["results"]["float16 cluster"]["refused"], "narrow nets do not fit that path")
        self.assertGreater(bench["results"]["a float16 auto"]["cases"][0]["device_us"]["median"], 0)
        self.assertIn("refused", bench["results"]["a float16 cluster"])
        for each in bench["commands"]:
            self.assertTrue(each["command"].startswith("BUILD/bin/softmpc bench plan"), each)
            self.assertNotIn(str(self.folder), json.dumps(each))
        # a later call adds, and a skip takes nothing away
        done = self.quick("parity", "startup", "diffdrive", prebuilt=pack)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(self.stages()["diffdrive"]["results"]["cases"][0]["device_us"]["median"], 0)
        self.assertTrue(all(test["passed"] for test in self.stages()["parity"]["results"].values()))
        self.assertGreater(len(self.stages()["parity"]["results"]), 1)
        self.assertEqual(gpu_check("golden", "--prebuilt", pack, "--out", self.out).returncode, 77)
        self.assertEqual(self.stages()["golden"], golden)

    def test_training_is_timed_by_the_program_itself(self):
        done = self.quick("train_short", prebuilt=self.prebuilt())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(self.stages()["train_short"]["results"]["envs 1 float16"]["steps_per_second"], 0)

    def test_packs_what_a_gpu_machine_needs(self):
        done = gpu_check("pack", self.folder / "pack", "--from-build", BUILD)
        if "is not there; build it" in done.stderr:
            self.skipTest("not every test labelled gpu is built")
        self.assertEqual(done.returncode, 0, done.stderr)
        manifest = json.loads((self.folder / "pack" / "manifest.json").read_text(encoding="utf-8"))
        self.assertIn("device_parity_test", manifest["tests"])
        done = gpu_check("build", "--quick", "--prebuilt", self.folder / "pack", "--out", self.out)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertTrue(self.stages()["build"]["results"]["version"].startswith("softmpc "))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[5:], verbosity=2)
