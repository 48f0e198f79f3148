# SPDX-License-Identifier: Apache-2.0
"""Stands for every program that tools/gpu_check starts; what it is called says which. gpu_check_test.py copies it.

The environment variable STUB is JSON: `log`, a file that gets a line for each start; `hang`, words of which one
on the command line makes it never end; `wait`, a folder in which the tests named in `meet` wait for each other;
`fail`, as `hang`, for an end with code 1; `says`, what it prints then.
"""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

NAME, WORDS = Path(sys.argv[0]).name, sys.argv[1:]
STUB = json.loads(os.environ.get("STUB", "{}"))
LINE = " ".join([NAME, *WORDS])
TESTS = {"some_test": ["Short.passes", "Short.again"], "device_parity_test": ["Long.passes", "Long.hangs"]}


def option(name):
    return WORDS[WORDS.index(name) + 1]


def log():
    if "log" in STUB:
        kept = {name: os.environ.get(name) for name in ("SOFTMPC_CACHE_DIR", "SOFTMPC_NVRTC", "HOME")}
        with open(STUB["log"], "a", encoding="utf-8") as file:
            file.write(json.dumps({"line": LINE, **kept}) + "\n")


def hang():
    child = subprocess.Popen(["sleep", "60"])  # what it started ends with it
    with open(STUB["log"] + ".child", "a", encoding="utf-8") as file:
        file.write(f"{child.pid}\n")
    child.wait()


def meet(folder):
    """Ends well once all that are to meet are there at the same time."""
    mine = [name for name in STUB["meet"] if name in LINE]
    for name in mine:
        (Path(folder) / name).touch()
    for _ in range(600):
        if not mine or all((Path(folder) / name).exists() for name in STUB["meet"]):
            return
        time.sleep(0.05)
    sys.exit("nobody came")


def test_program():
    if "--gtest_list_tests" in WORDS:
        for test in TESTS.get(NAME, ["Other.passes"]):
            suite, name = test.split(".")
            print(f"{suite}.\n  {name}")
    else:
        print("seed 1")


def verify():
    files = [word for word in WORDS if word.endswith(".json")]
    print(json.dumps({"files": [{"file": file, "pass": True, "quantities": {"cost": {"of_tolerance": 0.5}}}
                                for file in files], "pass": True}))


def bench():
    seconds = {"create_seconds": 1, "compile_seconds": 1, "load_seconds": 1}
    apart = {"largest": STUB.get("apart", 0.01)}
    print(json.dumps({"cases": [{"path": "tile", "device_us": {"median": 1}, "agreement": apart, **seconds}],
                      "steps_per_second": 9}))


def python():
    """A Python with PyTorch; what it runs is gpu_compare."""
    if WORDS[0] == "-c":
        print("2.99" if "torch" in WORDS[1] else "")
    else:
        Path(option("--out")).write_text(json.dumps({"kinds": option("--kinds")}), encoding="utf-8")


def sanitizer():
    print(f"========= {option('--tool')}: 1 finding\n========= ERROR SUMMARY: 1 error")


def main():
    log()
    if "--gtest_list_tests" not in WORDS:
        if any(word in LINE for word in STUB.get("hang", [])):
            hang()
        if "wait" in STUB:
            meet(STUB["wait"])
        if any(word in LINE for word in STUB.get("fail", [])):
            print(STUB.get("says", "it failed"), file=sys.stderr)
            if NAME == "compute-sanitizer":
                sanitizer()
            sys.exit(1)
    if NAME == "softmpc":
        if "--version" in WORDS:
            print("softmpc 0")
        else:
            {"verify": verify, "bench": bench}[WORDS[0]]()
    elif NAME == "python3":
        python()
    elif NAME != "compute-sanitizer":
        test_program()


main()
