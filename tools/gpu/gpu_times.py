# SPDX-License-Identifier: Apache-2.0
"""The stages of tools/gpu_check that measure: plans, first use, training, and PyTorch beside them."""
import json
import tempfile

from gpu_checks import PATHS
from gpu_common import ROOT, Failed, Skip, closing, last_line, parsed
from gpu_machine import torch_libraries, torch_python

CASES = "abcde"
ENVS = (1, 4, 16, 64)
RUN_SECONDS, TRAIN_SECONDS = 60, 120  # the most that one run may take: a kernel that hangs ends alone
# Largest difference of a rollout's S from the CPU's, in temperatures, that rounding may make: at least three times
# what the emulator shows over 32 steps
MOST_APART = {"float32": 0.05, "float16": 1, "bfloat16": 8}
COMPILED = ("compiled graph", "reduce-overhead")  # kinds of bench/peers/gpu_compare that PyTorch compiles first


def bench(stage, *arguments, environment=None, limit=RUN_SECONDS):
    return stage.run([stage.binaries.program, "bench", *arguments, "--device", "cuda", "--json"], environment, limit)


def tiny(stage):
    return ["--rollouts", "16", "--horizon", "2", "--width", "32"] if stage.options.quick else []


# ---- plans ----


def run_startup(stage):
    """Creating a planner with an empty cache of kernels, then with what that left there."""
    results = {}
    with tempfile.TemporaryDirectory(dir=stage.call.folder) as cache:
        for name in ("empty cache", "from cache"):
            for case in "a" if stage.options.quick else "ac":
                done = bench(stage, "plan", "--case", case, "--path", "auto", "--precision", "float16", "--plans", "1",
                             *tiny(stage), environment={"SOFTMPC_CACHE_DIR": cache})
                stage.commands[-1]["environment"] = {"SOFTMPC_CACHE_DIR": "TEMPORARY"}
                found = parsed(done, results)["cases"][0]
                results[f"case {case}, {name}"] = {
                    key: found[key] for key in ("path", "create_seconds", "compile_seconds", "load_seconds")}
    return results


def measure_plans(stage, runs):
    """`runs`: (name, case, precision, path, how long). All kernels are compiled first, side by side."""
    def words(case, precision, path):
        return ["plan", "--case", case, "--precision", precision, "--path", path, *tiny(stage)]

    sizes = list(dict.fromkeys((case, precision, path) for _, case, precision, path, _ in runs))
    stage.run_all([([stage.binaries.program, "bench", *words(*one), "--seconds", "0.01", "--device", "cuda", "--json"],
                    None, RUN_SECONDS) for one in sizes])
    results, failed, late = {}, [], []
    for name, case, precision, path, plans in runs:
        done = bench(stage, *words(case, precision, path), *plans)
        if done.returncode is None:
            late.append(name)
        elif done.returncode == 0:
            results[name] = json.loads(done.stdout)
            apart = results[name]["cases"][0]["agreement"]["largest"]
            if not apart <= MOST_APART[precision]:
                failed.append(f"{name}: S is {apart:.3g} temperatures from the CPU's, "
                              f"at most {MOST_APART[precision]} is right")
        elif done.returncode == 2 and path != "auto":  # a path that these sizes or this device cannot take
            results[name] = {"refused": last_line(done)}
        else:
            results[name] = {"error": last_line(done)}
            failed.append(f"{name}: {last_line(done)}")
    return closing(results, failed, late, "runs")


def chosen_runs(stage):
    """The choice that users get first, and twice: what differs by less than the two do is noise."""
    plans = ["--plans", "2"] if stage.options.quick else ["--seconds", "2"]
    return [(f"{case} float16 auto{turn}", case, "float16", "auto", plans)
            for turn in ("", " again") for case in ("a" if stage.options.quick else CASES)], plans


def run_bench_short(stage):
    return measure_plans(stage, chosen_runs(stage)[0])


def run_bench(stage):
    runs, plans = chosen_runs(stage)
    runs.append(("a float16 auto, many ticks", "a", "float16", "auto",
                 ["--plans", "2" if stage.options.quick else "100000"]))
    for case in "a" if stage.options.quick else CASES:
        runs += [(f"{case} {precision} {path}", case, precision, path, plans)
                 for precision, paths in PATHS.items() for path in paths if (precision, path) != ("float16", "auto")]
    return measure_plans(stage, runs)


def run_diffdrive(stage):
    quick = ["--rollouts", "32", "--plans", "2"] if stage.options.quick else ["--seconds", "4"]
    return parsed(bench(stage, "diff-drive", *quick, limit=240))


# ---- training ----


def measure_training(stage, runs, steps):
    """`runs`: (environments, precision). A program without a trainer is no fault: the others count."""
    program = stage.binaries.trainer or stage.binaries.program
    libraries = torch_libraries() if stage.binaries.trainer else None
    environment = {"LD_LIBRARY_PATH": f"{libraries}"} if libraries else None
    words = [program, "bench", "train", "Hopper", "--preset", "paper-gaussian", "--device", "cuda", "--json"]
    length = ["--steps", "20", "--warmup", "5"] if stage.options.quick else ["--steps", steps]
    results, failed, late = {}, [], []
    for envs, precision in runs:
        name = f"envs {envs} {precision}"
        done = stage.run([*words, "--envs", envs, "--precision", precision, *length], environment, TRAIN_SECONDS)
        if libraries:
            stage.commands[-1]["environment"] = {"LD_LIBRARY_PATH": "TORCH"}
        if done.returncode is None:
            late.append(name)
        elif done.returncode == 0:
            results[name] = json.loads(done.stdout)
        elif "has no trainer" in last_line(done) or "libtorch" in last_line(done):
            raise Skip(f"pack --trainer brings a program that trains here; this one says: {last_line(done)}", results)
        else:
            results[name] = {"error": last_line(done)}
            failed.append(f"{name}: {last_line(done)}")
    return closing(results, failed, late, "runs")


def run_train_short(stage):
    runs = [(1, "float16"), (1, "float32")]
    return measure_training(stage, runs[:1] if stage.options.quick else runs, 10000)


def run_train(stage):
    runs = [(envs, "float16") for envs in ENVS] + [(1, "float32")]
    return measure_training(stage, runs[:1] if stage.options.quick else runs, 20000)


# ---- beside PyTorch ----


def compare(stage, python, cases, kinds, precisions, limit, *arguments):
    """One run of bench/peers/gpu_compare: (its record so far, an error, whether the call's time ended it)."""
    limit = min(limit, stage.remaining())
    out = stage.call.folder / "peers.json"
    out.unlink(missing_ok=True)
    words = [python, ROOT / "bench" / "peers" / "gpu_compare", *cases, "--program", stage.binaries.program,
             "--out", out, "--kinds", ",".join(kinds), "--precisions", ",".join(precisions),
             "--deadline", int(max(1, limit - 15))]
    done = stage.run([*words, *arguments, *(["--quick", "--device", "cpu"] if stage.options.quick else [])],
                     None, limit)
    results = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    return results, "" if done.returncode == 0 else last_line(done), done.returncode is None


def peer_parts():
    """(name, kinds, precisions): what takes seconds first, then each that is compiled in a process of its own."""
    parts = [("graph and eager", ["graph", "eager"], ["float16", "tf32", "float32"])]
    return parts + [(f"{kind} {precision}", [kind], [precision])
                    for precision in ("float16", "tf32", "float32") for kind in COMPILED]


def peers(case):
    def run(stage):
        python, _ = torch_python(cuda=not stage.options.quick)
        parts = [("eager", ["eager"], ["float16", "float32"])] if stage.options.quick else peer_parts()
        results, failed, late = {}, [], []
        for i, (name, kinds, precisions) in enumerate(parts):
            if stage.remaining() < 20:
                late.append(name)
                continue
            # of what is left a fair share, so that one that compiles for minutes leaves time for the others
            limit = max(20, stage.remaining() / (1 if i == 0 else min(3, len(parts) - i)))
            found, error, cut = compare(stage, python, [case], kinds, precisions, limit)
            results[name] = {**found, **({"error": error} if error else {})}
            if i == 0 and error and not cut:  # a kind that PyTorch cannot compile in time is a result, not a fault
                failed.append(f"{name}: {error}")
            elif cut:
                late.append(name)
        return closing(results, failed, late, "comparisons")
    return run


def run_peers_short(stage):
    """The recorded graph of PyTorch alone: nothing is compiled."""
    python, _ = torch_python(cuda=not stage.options.quick)
    kinds, cases = (["eager"], "a") if stage.options.quick else (["graph"], CASES)
    results, error, cut = compare(stage, python, cases, kinds, ["float16"] if stage.options.quick
                                  else ["float16", "tf32"], stage.remaining(), "--rounds", "2")
    if error and not cut:
        raise Failed(error, results)
    return closing(results, [], [error] if cut else [], "comparisons")
