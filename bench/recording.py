# SPDX-License-Identifier: Apache-2.0
"""What every recorded result says of its origin: machine, commit, date; and the program that is built for it. For
bench/run, bench/learning and bench/peers/compare; bench/table reads it."""
import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build" / "release" / "bin" / "softmpc"
FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")


def machine():
    info = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        info[key.strip()] = value.strip()
    flags = info.get("flags", "").split()
    return {"cpu": info.get("model name", platform.machine()), "family": info.get("cpu family"),
            "model": info.get("model"), "flags": [flag for flag in FLAGS if flag in flags],
            "cores": len(os.sched_getaffinity(0)), "system": platform.system()}


def build(tool):
    """The program of this commit: a stale one would be recorded as it."""
    folder = PROGRAM.parent.parent
    if subprocess.run(["cmake", "--build", str(folder), "--target", "softmpc"], check=False).returncode != 0:
        sys.exit(f"{tool}: error: {folder} does not build; cmake --preset release, or name a program with --program")


def git(checkout, *arguments):
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def checkout_of(program):
    """The checkout that a program was built in; where there is none, the program's folder, which is no commit."""
    folder = Path(program).resolve().parent
    return git(folder, "rev-parse", "--show-toplevel") or folder


def commit(checkout):
    return git(checkout, "rev-parse", "--short=10", "HEAD") or "unknown"


def changed(checkout):
    """Whether the sources differ from the commit; what is recorded here, or is to be, is no change of the program."""
    return bool(git(checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results",
                    ":!bench/studies.json", ":!README.md"))


def date():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


def origin(checkout=ROOT):
    return {"machine": machine(), "commit": commit(checkout), "changed": changed(checkout), "date": date()}
