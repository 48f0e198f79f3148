# SPDX-License-Identifier: Apache-2.0
"""The stages of tools/gpu_check: each takes a running Stage, returns what it found as JSON."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
CASES = "abcde"
# what each precision may be forced to run on; auto is the choice that users get
PATHS = {"float16": ["auto", "tile", "cluster", "wgmma"], "bfloat16": ["auto", "tile", "cluster", "wgmma"],
         "float32": ["plain"]}
ENVS = (1, 4, 16, 64)
PRECISION_TEST = "device_precision_test"


class Ended(Exception):
    """Why a stage ended early, and what it had found by then."""

    def __init__(self, reason, results=None):
        super().__init__(reason)
        self.results = results if results is not None else {}


class Skip(Ended):
    pass


class Failed(Ended):
    pass


def last_line(done):
    lines = (done.stderr or done.stdout or "").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def parsed(done):
    """What the program printed as JSON; Failed with its error where it ended badly."""
    if done.returncode != 0:
        raise Failed(last_line(done))
    return json.loads(done.stdout)


# ---- build ----


def labelled_tests(build):
    """(name, path) of the tests labelled gpu."""
    done = subprocess.run(["ctest", "--test-dir", str(build), "-L", "^gpu$", "--show-only=json-v1"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{build} is no configured build: {last_line(done)}")
    return [(test["name"], str(Path(build) / "bin" / test["name"])) for test in json.loads(done.stdout)["tests"]]


def build_here(build, settings, run=None):
    """Configures and builds the program and the gpu tests. `run` takes a command."""
    run = run or (lambda words: subprocess.run(words, capture_output=True, text=True, check=False))

    def step(words):
        try:
            done = run(words)
        except OSError as error:
            raise Failed(f"cannot run {words[0]}: {error.strerror}") from None
        if done.returncode != 0:
            errors = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
            raise Failed(f"{words[0]} failed: {errors[0] if errors else last_line(done)}")

    step(["cmake", "-S", str(ROOT), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release", "-DSOFTMPC_WITH_TRAIN=OFF",
          *settings])
    names = [name for name, _ in labelled_tests(build)]
    step(["cmake", "--build", str(build), "--parallel", str(os.cpu_count()), "--target", "softmpc", *names])


def run_build(stage):
    if stage.options.build_skip:
        raise Skip(stage.options.build_skip)
    if not stage.options.prebuilt:
        build_here(stage.binaries.folder, ["-DSOFTMPC_WITH_CUDA=ON"], stage.run)
    version = stage.run([stage.binaries.program, "--version"])
    if version.returncode != 0:
        raise Failed(last_line(version))
    return {"version": version.stdout.strip(), "prebuilt": bool(stage.options.prebuilt),
            "tests": stage.binaries.tests, "trainer": bool(stage.binaries.trainer)}


# ---- correctness ----


def listed_tests(stage, binary):
    """suite.name of each test that the filter lets through."""
    done = stage.run([binary, "--gtest_list_tests", f"--gtest_filter={stage.options.filter}"])
    if done.returncode != 0:
        raise Failed(last_line(done))
    suite, found = "", []
    for line in done.stdout.splitlines():
        words = line.split("#")[0].split()
        if line.startswith(" ") and words:
            found.append(suite + words[0])
        elif len(words) == 1 and words[0].endswith("."):
            suite = words[0]
    return found


def run_tests(stage, names, kept):
    """Each test of these programs by itself, as far as the stage's time goes; `kept` lines are recorded."""
    device = {} if stage.options.quick else {"SOFTMPC_TEST_DEVICE": "cuda"}
    results, failed, late = {}, [], []
    for name in names:
        binary = stage.binaries.program.parent / name
        for test in listed_tests(stage, binary):
            done = stage.run([binary, f"--gtest_filter={test}", "--gtest_color=no"], device)
            lines = done.stdout.splitlines()
            entry = {"passed": done.returncode == 0, "printed": [line for line in lines if kept in line][:8]}
            if done.returncode is None:
                late.append(f"{name} {test}")
            elif done.returncode != 0:
                failed.append(f"{name} {test}")
                entry["output"] = [*lines, *done.stderr.splitlines()][-40:]
            results[f"{name} {test}"] = entry
    if failed:
        raise Failed(f"{len(failed)} of {len(results)} tests failed, the first: {failed[0]}", results)
    if late:
        raise Failed(f"not finished in time: {', '.join(late)}; run these with --filter", results)
    if not results:
        raise Skip("no test to run", results)
    return results


def run_parity(stage):
    return run_tests(stage, [name for name in stage.binaries.tests if name != PRECISION_TEST], "seed")


def run_precision(stage):
    if PRECISION_TEST not in stage.binaries.tests:
        raise Skip(f"{PRECISION_TEST} is not part of this build or pack")
    return run_tests(stage, [PRECISION_TEST], "total variation")


def run_golden(stage):
    """Every recorded plan in every precision on every path that takes it."""
    files = sorted(str(path) for path in (GOLDEN / "plan").glob("*.json"))
    results, failed = {}, []
    for precision, paths in PATHS.items():
        for path in paths:
            done = stage.run([stage.binaries.program, "verify", "--device", "cuda", "--precision", precision,
                              "--path", path, "--json", *files])
            key = f"{precision} {path}"
            try:
                report = json.loads(done.stdout)
            except ValueError:
                results[key] = {"error": last_line(done)}
                failed.append(f"{key}: {last_line(done)}")
                continue
            found = {"passed": [], "refused": {}, "failed": []}
            for one in report["files"]:
                name = Path(one["file"]).stem
                if one["pass"]:
                    found["passed"].append(name)
                elif path != "auto" and f"path {path}" in one.get("error", ""):
                    found["refused"][name] = one["error"].replace(one["file"], name)
                else:
                    found["failed"].append({"name": name, **{k: one.get(k) for k in ("quantities", "error")}})
                    failed.append(f"{key}: {name}")
            # the largest share of a tolerance, over files
            shares = [(quantity["of_tolerance"], name) for one in report["files"]
                      for name, quantity in one.get("quantities", {}).items()]
            found["of_tolerance"] = {name: max(s if s is not None else float("inf") for s, n in shares if n == name)
                                     for name in {n for _, n in shares}}
            results[key] = found
    if failed:
        raise Failed(f"{len(failed)} failures, the first: {failed[0]}", results)
    return results


def find_sanitizer():
    homes = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    places = [f"{home}/{sub}" for home in homes if home for sub in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=":".join(places))


def run_sanitizer(stage):
    tool = find_sanitizer()
    if not tool:
        raise Skip("compute-sanitizer is not found in PATH, CUDA_HOME or /usr/local/cuda")
    program = stage.binaries.program
    files = sorted(str(path) for path in (GOLDEN / "plan").glob("*.json"))
    verify = [program, "verify", "--device", "cuda"]
    plan = [program, "bench", "plan", "--device", "cuda", "--plans", "2"]
    # short runs of each path: small nets of all settings, then one tick at full width
    runs = {"float32 plain": [*verify, "--precision", "float32", *files],
            "float16 tile": [*verify, "--precision", "float16", "--path", "tile", *files],
            "float16 cluster": [*plan, "--case", "a", "--path", "cluster"],
            "float16 wgmma": [*plan, "--case", "b", "--path", "wgmma"]}
    results, failed = {}, []
    for check in ("memcheck", "racecheck"):
        for name, words in runs.items():
            done = stage.run([tool, "--tool", check, "--error-exitcode", "99", *words])
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("=========")]
            entry = {"exit_code": done.returncode, "summary": lines[-1].strip("= ") if lines else last_line(done)}
            results[f"{check}, {name}"] = entry
            if done.returncode != 0:
                entry["output"] = (lines or (done.stdout + done.stderr).splitlines())[:40]
                failed.append(f"{check}, {name}: {entry['summary']}")
    if failed:
        raise Failed(f"{len(failed)} of {len(results)} runs, the first: {failed[0]}", results)
    return results


# ---- times ----


def bench(stage, *arguments, environment=None):
    return stage.run([stage.binaries.program, "bench", *arguments, "--device", "cuda", "--json"], environment)


def run_startup(stage):
    """Creating a planner with an empty cache of kernels, then with what that left there."""
    results = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("empty cache", "from cache"):
            for case, path in (("a", "auto"), ("c", "auto")):
                done = bench(stage, "plan", "--case", case, "--path", path, "--plans", "1",
                             *tiny(stage), environment={"SOFTMPC_CACHE_DIR": cache})
                found = parsed(done)["cases"][0]
                results[f"case {case}, {name}"] = {
                    key: found[key] for key in ("path", "create_seconds", "compile_seconds", "load_seconds")}
    for entry in stage.commands:  # a folder of this machine, gone by now
        entry["environment"] = {"SOFTMPC_CACHE_DIR": "TEMPORARY"}
    return results


def tiny(stage):
    return ["--rollouts", "16", "--horizon", "2", "--width", "32"] if stage.options.quick else []


def run_bench(stage):
    results, failed, late = {}, [], 0

    def measure(key, case, precision, path, plans):
        nonlocal late
        done = bench(stage, "plan", "--case", case, "--precision", precision, "--path", path, *tiny(stage), *plans)
        if done.returncode is None:
            late += 1
        elif done.returncode == 0:
            results[key] = json.loads(done.stdout)
        elif done.returncode == 2 and path != "auto":  # a path that these sizes or this device cannot take
            results[key] = {"refused": last_line(done)}
        else:
            results[key] = {"error": last_line(done)}
            failed.append(f"{key}: {last_line(done)}")

    quick = stage.options.quick
    plans = ["--plans", "2"] if quick else ["--seconds", "2"]
    # the choice that users get first, and twice: what differs by less than the two do is noise
    for turn in ("", " again"):
        for case in "a" if quick else CASES:
            measure(f"{case} float16 auto{turn}", case, "float16", "auto", plans)
    measure("a float16 auto, many ticks", "a", "float16", "auto", ["--plans", "2" if quick else "100000"])
    for case in "a" if quick else CASES:
        for precision, paths in PATHS.items():
            for path in paths:
                if (precision, path) != ("float16", "auto"):
                    measure(f"{case} {precision} {path}", case, precision, path, plans)
    if failed:
        raise Failed(f"{len(failed)} runs failed, the first: {failed[0]}", results)
    if late:
        raise Failed(f"{late} runs did not fit into the stage's time", results)
    return results


def run_diffdrive(stage):
    quick = ["--rollouts", "32", "--plans", "2"] if stage.options.quick else ["--seconds", "4"]
    return parsed(bench(stage, "diff-drive", *quick))


# ---- with PyTorch ----


def torch_python(cuda):
    """A Python with PyTorch, and the folder of that."""
    test = "import torch, pathlib; " + ("assert torch.cuda.is_available(); " if cuda else "")
    for python in dict.fromkeys([shutil.which("python3") or "", sys.executable]):
        done = subprocess.run([python, "-c", test + "print(torch.__version__, pathlib.Path(torch.__file__).parent)"],
                              capture_output=True, text=True, check=False) if python else None
        if done and done.returncode == 0:
            version, folder = done.stdout.strip().splitlines()[-1].split(" ", 1)
            return python, version, Path(folder)
    raise Skip("python3 has no PyTorch" + (" that sees a GPU" if cuda else ""))


def peers(case):
    def run(stage):
        python, _, _ = torch_python(cuda=not stage.options.quick)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "peers.json"
            words = [python, ROOT / "bench" / "peers" / "gpu_compare", case, "--program", stage.binaries.program,
                     "--out", out, "--deadline", str(int(stage.remaining() - 20))]
            done = stage.run(words + (["--quick", "--device", "cpu"] if stage.options.quick else []))
            stage.commands[-1]["command"] = stage.commands[-1]["command"].replace(str(out), "FILE")
            results = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        if done.returncode != 0:
            raise Failed(last_line(done), results)
        return results
    return run


def trainer(stage):
    """A softmpc with the trainer, and the environment it needs: LibTorch is that of Python's torch."""
    _, version, folder = torch_python(cuda=False)
    libraries = [*stage.binaries.libraries, str(folder / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    if stage.binaries.trainer:
        stage.binaries.libraries = libraries
        return stage.binaries.trainer, version
    build = ROOT / "build" / "gpu-train"
    words = ["cmake", "-S", ROOT, "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DSOFTMPC_BUILD_TESTS=OFF",
             "-DSOFTMPC_WITH_CUDA=ON", f"-DTorch_DIR={folder}"]
    for step in (words, ["cmake", "--build", build, "--parallel", os.cpu_count(), "--target", "softmpc"]):
        done = stage.run(step)
        stage.commands[-1]["command"] = stage.commands[-1]["command"].replace(str(folder), "TORCH")
        if done.returncode != 0:
            raise Skip(f"no softmpc with a trainer: {last_line(done)}; pack --trainer brings one")
    return build / "bin" / "softmpc", version


def run_train(stage):
    program, version = trainer(stage)
    results, failed = {"torch": version}, []
    for envs in ENVS[:1] if stage.options.quick else ENVS:
        steps = ["--steps", "20", "--warmup", "5"] if stage.options.quick else ["--steps", "20000"]
        done = stage.run([program, "bench", "train", "Hopper", "--preset", "paper-gaussian", "--device", "cuda",
                          "--envs", envs, *steps, "--json"], limit=stage.options.limit / 4)
        if done.returncode == 0:
            results[f"envs {envs}"] = json.loads(done.stdout)
        else:
            results[f"envs {envs}"] = {"error": last_line(done)}
            failed.append(f"envs {envs}: {last_line(done)}")
    if failed:
        raise Failed(failed[0], results)
    return results


def stage_of(summary, run):
    return SimpleNamespace(summary=summary, run=run)


STAGES = {
    "build": stage_of("builds the program and the tests labelled gpu, or looks at --prebuilt", run_build),
    "parity": stage_of("those tests on the device: random problems against the CPU, seeds printed", run_parity),
    "golden": stage_of("softmpc verify --device cuda: recorded plans, each precision and path", run_golden),
    "sanitizer": stage_of("compute-sanitizer memcheck and racecheck over short runs", run_sanitizer),
    "precision": stage_of("16 bit on recorded states and trained nets against float64", run_precision),
    "startup": stage_of("creating a planner: kernels compiled, and from the cache", run_startup),
    "bench": stage_of("softmpc bench plan, cases a to e, each precision and path", run_bench),
    "diffdrive": stage_of("softmpc bench diff-drive --device cuda", run_diffdrive),
    **{f"peers_{case}": stage_of(f"bench/peers/gpu_compare {case}: PyTorch on the same nets, in turn", peers(case))
       for case in CASES},
    "train": stage_of("softmpc bench train Hopper --device cuda: 1, 4, 16, 64 environments", run_train),
}
