# SPDX-License-Identifier: Apache-2.0
"""The stages of tools/gpu_check that say whether results are right."""
import json
import os
import shutil
from pathlib import Path

from gpu_call import LATE
from gpu_common import GOLDEN, Skip, closing, last_line

# what each precision may be forced to run on; auto is the choice that users get
PATHS = {"float16": ["auto", "tile", "cluster", "wgmma"], "bfloat16": ["auto", "tile", "cluster", "wgmma"],
         "float32": ["plain"]}
PRECISION_TEST = "device_precision_test"
# every path once at small sizes, and the algorithms: seconds
SHORT_TESTS = ("algorithms_cuda_test", "device_planner_test")
# the others first, then these in this order: what is cut by the call's time is little
LONG_TESTS = ("analytic_test", "device_agent_test", "device_trainer_test", "device_parity_test", PRECISION_TEST)
TEST_SECONDS, GOLDEN_SECONDS = 240, 120  # the most that one of them may take: a kernel that hangs ends alone


# ---- tests ----


def listed_tests(stage, name, pattern):
    """(suite.name of each test that the filter lets through, an error)."""
    done = stage.run([stage.binaries.program.parent / name, "--gtest_list_tests", f"--gtest_filter={pattern}"],
                     limit=60)
    if done.returncode != 0:
        return [], last_line(done)
    suite, found = "", []
    for line in done.stdout.splitlines():
        words = line.split("#")[0].split()
        if line.startswith(" ") and words:
            found.append(suite + words[0])
        elif len(words) == 1 and words[0].endswith("."):
            suite = words[0]
    return found, ""


def test_entry(done, kept):
    lines = done.stdout.splitlines()
    entry = {"passed": done.returncode == 0, "seconds": done.seconds,
             "printed": [line for line in lines if kept in line][:8]}
    if any("[  SKIPPED ]" in line for line in lines):
        entry["skipped"] = True
    if done.returncode != 0:
        entry["output"] = [*lines, *done.stderr.splitlines()][-40:]
    return entry


def run_tests(stage, names, kept, seconds=None):
    """Each test of these programs by itself, short programs first; `kept` lines are recorded."""
    device = {} if stage.options.quick else {"SOFTMPC_TEST_DEVICE": "cuda"}
    results, failed, late, found = {}, [], [], []
    for name in sorted(names, key=lambda name: LONG_TESTS.index(name) if name in LONG_TESTS else -1):
        tests, error = listed_tests(stage, name, stage.options.filter)
        found += [(name, test) for test in tests]
        if error:
            (late if stage.remaining() < 1 else failed).append(name)
            results[name] = {"passed": False, "output": [error]}
    dones = stage.run_all([([stage.binaries.program.parent / name, f"--gtest_filter={test}", "--gtest_color=no"],
                            device, seconds or TEST_SECONDS) for name, test in found])
    for (name, test), done in zip(found, dones):
        key = f"{name} {test}"
        if done.returncode is None:
            late.append(key)
            continue
        results[key] = test_entry(done, kept)
        if done.returncode != 0:
            failed.append(key)
    closing(results, failed, late, "tests")
    if not results:
        raise Skip("no test to run", results)
    return results


def run_parity(stage):
    return run_tests(stage, [name for name in stage.binaries.tests if name != PRECISION_TEST], "seed")


def run_parity_short(stage):
    return run_tests(stage, [name for name in stage.binaries.tests if name in SHORT_TESTS], "seed", 60)


def run_precision(stage):
    if PRECISION_TEST not in stage.binaries.tests:
        raise Skip(f"{PRECISION_TEST} is not part of this build or pack")
    return run_tests(stage, [PRECISION_TEST], "total variation")


# ---- recorded plans ----


def golden_files():
    return sorted(str(path) for path in (GOLDEN / "plan").glob("*.json"))


def judged(done, file):
    """(report on one recorded plan, error): what verify printed, or why it printed nothing."""
    try:
        return json.loads(done.stdout)["files"][0], ""
    except (ValueError, KeyError, IndexError):
        return {"file": file, "pass": False}, last_line(done)


def add_report(found, report, error, path):
    """One recorded plan among those of its precision and path; False if it failed."""
    name, error = Path(report["file"]).stem, report.get("error", error)
    for quantity, measured in report.get("quantities", {}).items():
        share = measured["of_tolerance"]
        worst = found["of_tolerance"].get(quantity, 0)
        found["of_tolerance"][quantity] = None if share is None or worst is None else max(share, worst)
    if report["pass"]:
        found["passed"].append(name)
    elif path != "auto" and f"path {path}" in error:
        found["refused"][name] = error.replace(report["file"], name)
    else:
        found["failed"].append({"name": name, "quantities": report.get("quantities"), "error": error or None})
        return False
    return True


def verify_plans(stage, paths):
    """Every recorded plan on each (precision, path), a program each: a run that hangs takes no other along."""
    files = golden_files()[::4] if stage.options.quick else golden_files()
    runs = [(precision, path, file) for precision, path in paths for file in files]
    dones = stage.run_all([([stage.binaries.program, "verify", "--device", "cuda", "--precision", precision, "--path",
                             path, "--json", file], None, GOLDEN_SECONDS) for precision, path, file in runs])
    results, failed, late = {}, [], []
    for (precision, path, file), done in zip(runs, dones):
        key = f"{precision} {path}"
        found = results.setdefault(key, {"passed": [], "refused": {}, "failed": [], "of_tolerance": {}})
        if done.returncode is None:
            late.append(f"{key}: {Path(file).stem}")
        elif not add_report(found, *judged(done, file), path):
            failed.append(f"{key}: {Path(file).stem}")
    return closing(results, failed, late, "recorded plans")


def run_golden(stage):
    return verify_plans(stage, [(precision, path) for precision, paths in PATHS.items() for path in paths])


def run_golden_short(stage):
    return verify_plans(stage, [(precision, paths[0]) for precision, paths in PATHS.items()])


# ---- memory and races ----


def find_sanitizer():
    homes = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    places = [f"{home}/{sub}" for home in homes if home for sub in ("bin", "compute-sanitizer")]
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=":".join(places))


def sanitized_runs(stage):
    """Short runs of each path: small nets of all settings, then one tick at full width; and a few steps of training."""
    program = stage.binaries.program
    verify = [program, "verify", "--device", "cuda"]
    plan = [program, "bench", "plan", "--device", "cuda", "--precision", "float16", "--seconds", "0.01"]
    return {"float32 plain": [*verify, "--precision", "float32", *golden_files()],
            "float16 tile": [*verify, "--precision", "float16", "--path", "tile", *golden_files()],
            "float16 cluster": [*plan, "--case", "a", "--path", "cluster"],
            "float16 wgmma": [*plan, "--case", "b", "--path", "wgmma"],
            "training": [stage.binaries.trainer or program, "bench", "train", "Hopper", "--preset", "paper-gaussian",
                         "--device", "cuda", "--steps", "20", "--warmup", "5"]}


def sanitizer_entry(done):
    text = (done.stdout + done.stderr).splitlines()
    lines = [line for line in text if line.startswith("=========")]
    entry = {"exit_code": done.returncode, "summary": lines[-1].strip("= ") if lines else last_line(done)}
    if done.returncode != 0:
        entry["output"] = (lines or text)[:40]
    return entry


def run_sanitizer(stage):
    """memcheck decides. racecheck knows the barriers of bulk copies, wgmma and clusters in part: it informs."""
    tool = find_sanitizer()
    if not tool:
        raise Skip("compute-sanitizer is not found in PATH, CUDA_HOME or /usr/local/cuda")
    runs = sanitized_runs(stage)
    results, failed, late = {"notes": []}, [], []
    for check in ("memcheck", "racecheck"):
        limit = max(1, stage.remaining() * (0.6 if check == "memcheck" else 1))
        dones = stage.run_all([([tool, "--tool", check, "--error-exitcode", "99", *words], None, limit)
                               for words in runs.values()])
        for name, done in zip(runs, dones):
            key = f"{check}, {name}"
            results[key] = entry = sanitizer_entry(done)
            said = "\n".join(entry.get("output", []))
            if done.returncode in (None, LATE):  # slow when instrumented, which says nothing of a fault
                late.append(key)
            elif "has no trainer" in said:
                results["notes"].append(f"{key}: not checked, this program has no trainer")
            elif done.returncode != 0 and (check == "racecheck" or "OUT_OF_RESOURCES" in said):
                # instrumented, a kernel may need more registers than a block can have
                results["notes"].append(f"{key}: {entry['summary']}")
            elif done.returncode != 0:
                failed.append(f"{key}: {entry['summary']}")
    return closing(results, failed, late, "checks")
