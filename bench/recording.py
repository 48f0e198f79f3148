# SPDX-License-Identifier: Apache-2.0
"""What every recorded result says of its origin: machine, commit, date. For bench/run and bench/peers/compare;
bench/table reads it."""
import datetime
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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


def git(*arguments):
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit():
    return git("rev-parse", "--short=10", "HEAD") or "unknown"


def changed():
    """Whether the sources differ from the commit; what is recorded here is no change of the program."""
    return bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results", ":!README.md"))


def date():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


def origin():
    return {"machine": machine(), "commit": commit(), "changed": changed(), "date": date()}
