# SPDX-License-Identifier: Apache-2.0
"""The table of the stages of tools/gpu_check, with what each takes, and the groups that fit one call."""
import os
import platform
import shutil
from types import SimpleNamespace

import gpu_checks as checks
import gpu_times as times
from gpu_common import Failed, Skip, last_line
from gpu_machine import driver_facts
from gpu_pack import build_here

CALL_SECONDS = 540  # of one call, if --limit does not say otherwise
BUILD_SECONDS = 300  # where no pack is given
SMI_FIELDS = ["name", "driver_version", "memory.total", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit",
              "temperature.gpu", "mig.mode.current"]


def run_facts(stage):
    found = {} if stage.options.quick else driver_facts()
    if shutil.which("nvidia-smi") and not stage.options.quick:
        done = stage.run(["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader", "--id=0"],
                         limit=30)
        if done.returncode == 0:
            found["nvidia_smi"] = dict(zip(SMI_FIELDS, (value.strip() for value in done.stdout.strip().split(","))))
    found.update(cores=len(os.sched_getaffinity(0)), python=platform.python_version(), system=platform.system(),
                 nvrtc=stage.call.nvrtc_facts)
    return found


def run_build(stage):
    if stage.options.build_skip:
        raise Skip(stage.options.build_skip)
    if not stage.options.prebuilt:
        build_here(stage.binaries.folder, stage.run)
    version = stage.run([stage.binaries.program, "--version"], limit=60)
    if version.returncode != 0:
        raise Failed(last_line(version))
    return {"version": version.stdout.strip(), "prebuilt": bool(stage.options.prebuilt),
            "tests": stage.binaries.tests, "trainer": bool(stage.binaries.trainer)}


def stage_of(seconds, summary, run):
    return SimpleNamespace(seconds=seconds, summary=summary, run=run)


# Seconds are estimates for one H100 and 16 cores with a pack, to be replaced by what the first runs record.
STAGES = {
    "facts": stage_of(10, "what the machine has: device, driver, clocks, processors, NVRTC", run_facts),
    "build": stage_of(10, "builds the program and the tests labelled gpu, or looks at --prebuilt", run_build),
    "golden_short": stage_of(40, "recorded plans, each precision, the path that is chosen", checks.run_golden_short),
    "parity_short": stage_of(60, "the shortest of the tests labelled gpu", checks.run_parity_short),
    "bench_short": stage_of(100, "softmpc bench plan, cases a to e, float16, twice", times.run_bench_short),
    "train_short": stage_of(70, "softmpc bench train Hopper, 1 environment, float16 and float32",
                            times.run_train_short),
    "peers_short": stage_of(170, "PyTorch's graph in turn with softmpc, cases a to e", times.run_peers_short),
    "parity": stage_of(240, "tests labelled gpu on the device: random problems against the CPU, seeds printed",
                       checks.run_parity),
    "golden": stage_of(100, "softmpc verify --device cuda: recorded plans, each precision and path",
                       checks.run_golden),
    "precision": stage_of(120, "16 bit on recorded states and trained nets against float64", checks.run_precision),
    "startup": stage_of(40, "creating a planner: kernels compiled, and from the cache", times.run_startup),
    "bench": stage_of(370, "softmpc bench plan, cases a to e, each precision and path", times.run_bench),
    "diffdrive": stage_of(90, "softmpc bench diff-drive --device cuda", times.run_diffdrive),
    "train": stage_of(240, "softmpc bench train Hopper --device cuda: 1, 4, 16, 64 environments", times.run_train),
    "sanitizer": stage_of(240, "compute-sanitizer over short runs: memcheck decides, racecheck informs",
                          checks.run_sanitizer),
    **{f"peers_{case}": stage_of(seconds, f"bench/peers/gpu_compare {case}: PyTorch of all kinds, in turn",
                                 times.peers(case))
       for case, seconds in zip(times.CASES, (240, 240, 450, 500, 500))},
}

# each fits one call
GROUPS = {
    "first": ["facts", "build", "golden_short", "parity_short", "bench_short", "train_short", "peers_short"],
    "checks": ["facts", "build", "golden", "parity", "precision"],
    "times": ["facts", "build", "startup", "bench", "diffdrive"],
    "rest": ["facts", "build", "train", "sanitizer"],
    "peers_ab": ["facts", "build", "peers_a", "peers_b"],
}
# what a command line may name beside a stage
WORDS = {**GROUPS, "all": list(STAGES)}


def estimate(name, prebuilt=True):
    return BUILD_SECONDS if name == "build" and not prebuilt else STAGES[name].seconds


def listing():
    lines = [f"{name:13} {stage.seconds:4} s  {stage.summary}" for name, stage in STAGES.items()]
    lines[1] += f" (a build: about {BUILD_SECONDS} s)"
    for name, members in WORDS.items():
        lines.append(f"{name:13} {sum(map(estimate, members)):4} s  "
                     + ("every stage; give it a --limit to match" if name == "all" else " ".join(members)))
    return lines
