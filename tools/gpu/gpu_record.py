# SPDX-License-Identifier: Apache-2.0
"""The file that tools/gpu_check writes: an entry a stage, with its commit and device."""
import json
import os
from pathlib import Path

from gpu_common import fail

KIND = "softmpc gpu_check"


def read_record(path):
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] != KIND:
            raise ValueError("its kind is another")
        for entry in record["stages"].values():
            entry["status"], entry["commit"]
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fail(f"{path}: no record of gpu_check ({error}); name another file")
    return record


def read_or_new(path):
    return read_record(path) if path.exists() else {"kind": KIND, "stages": {}}


def write_record(path, record):
    """At once or not at all: a call that dies leaves what the stages before had written."""
    aside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(record, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")


def put(stages, name, entry):
    """A skip says nothing against what was measured; else the later one counts."""
    if entry["status"] != "skipped" or stages.get(name, {"status": "skipped"})["status"] == "skipped":
        stages[name] = entry


def merge(paths, out):
    """Several calls' records as one; later files win."""
    stages, first = {}, None
    for path in map(Path, paths):
        for name, entry in read_record(path)["stages"].items():
            if entry["status"] != "skipped":
                origin = f"commit {entry['commit']}, device {entry.get('device')}"
                first = first or (path, name, origin)
                if origin != first[2]:
                    fail(f"{path}, stage {name}, is of {origin}; {first[0]}, stage {first[1]}, of {first[2]}: only "
                         "results of one commit and device merge")
            put(stages, name, entry)
    write_record(Path(out), {"kind": KIND, "stages": stages})
    print(f"written: {out}, {len(stages)} stages of {len(paths)} files")
    return 0
