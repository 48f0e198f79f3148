# SPDX-License-Identifier: Apache-2.0
"""Studies (bench/studies.json) and what is recorded of them (bench/results/learning/STUDY.json)."""
import fcntl
import json
import os
import shlex
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from recording import ROOT

STUDIES = ROOT / "bench" / "studies.json"
RESULTS = ROOT / "bench" / "results" / "learning"
WINDOW = 2500  # steps between evaluations, and of a median of training returns
EVALUATION = {"trainer.eval_interval": WINDOW, "trainer.eval_episodes": 10}


class Fault(Exception):
    """What the user can mend, in one line."""


def read_json(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Fault(f"{path}: {error}") from error


@dataclass(frozen=True)
class Study:
    """A protocol: what is trained, how long, and over which seeds."""
    name: str
    task: str
    steps: int
    seeds: tuple
    preset: str = "default"
    settings: dict = field(default_factory=dict)
    shows: str = ""
    program: str = ""  # in the checkout, in place of softmpc: a peer with the same options and metrics.jsonl

    def arguments(self):
        """Of the program, without seed and folder."""
        words = ["train", self.task, "--preset", self.preset, "--steps", str(self.steps)]
        # a study's own settings come first, and may replace those of evaluations
        for key, value in {**self.settings, **EVALUATION, **self.settings}.items():
            text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
            words += ["--set", f"{key}={text}"]
        return words

    def command(self, seeds):
        """What a user would type; seeds with gaps are no range and stand in the record alone."""
        first, last = min(seeds), max(seeds)
        ranged = ["--seeds", f"{first}..{last}"] if last - first + 1 == len(seeds) else []
        return shlex.join([self.program or "softmpc", *self.arguments(), *ranged])

    def protocol(self):
        """What all seeds of a record have in common."""
        return {"task": self.task, "preset": self.preset, "settings": self.settings, "steps": self.steps}


def seeds_of(text):
    """Seeds of "A..B" or "A"."""
    first, _, last = text.partition("..")
    if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first)):
        raise Fault(f"seeds are '{text}', but A..B with A <= B is wanted")
    return tuple(range(int(first), int(last or first) + 1))


def read_studies(path):
    """{name: Study} of a file, in its order."""
    known = [name for name in Study.__dataclass_fields__ if name != "name"]
    studies = {}
    for name, entry in read_json(path).items():
        for key in entry:
            if key not in known:
                raise Fault(f"{path}: study '{name}': '{key}' is not known; known: {', '.join(known)}")
        for key in ("task", "steps", "seeds"):
            if key not in entry:
                raise Fault(f"{path}: study '{name}' needs '{key}'")
        seeds = entry["seeds"]
        seeds = seeds_of(seeds) if isinstance(seeds, str) else tuple(seeds)
        studies[name] = Study(name, **{**entry, "seeds": seeds})
    return studies


def rounded(value):
    return float(f"{value:.6g}")


def summarise(folder, steps):
    """What is recorded of a finished run, from its metrics.jsonl."""
    found = {"eval": [], "episode": [], "train": []}
    with open(Path(folder) / "metrics.jsonl", encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            found.setdefault(entry["kind"], []).append(entry)
    for entry in found["eval"] + found["episode"]:
        returns = entry.get("returns") or [entry.get("return")]
        if None in returns:  # how the run folder writes what is not finite
            raise Fault(f"{folder}: a return at step {entry['step']} is not finite")
    windows = [[] for _ in range(0, steps, WINDOW)]
    for entry in found["episode"]:
        windows[(entry["step"] - 1) // WINDOW].append(entry["return"])
    last = [entry["return"] for entry in found["episode"][-10:]]
    # from what the run itself timed, so that the pauses of a resumed one do not count
    covered = seconds = 0
    for entry in found["train"]:
        seconds += (entry["step"] - covered) / entry["steps_per_second"]
        covered = entry["step"]
    return {
        "evaluations": [[entry["step"], rounded(statistics.fmean(entry["returns"])),
                         [rounded(value) for value in entry["returns"]]] for entry in found["eval"]],
        "training": [rounded(statistics.median(inside)) if inside else None for inside in windows],
        "episodes": len(found["episode"]),
        "last_ten": {"median": rounded(statistics.median(last)), "least": rounded(min(last))} if last else None,
        "seconds": round(seconds * steps / covered) if covered else None,
        "steps_per_second": rounded(covered / seconds) if covered else None,
    }


def commit_label(origin):
    """A name of the sources that fits a folder."""
    return origin["commit"] + ("-changed" if origin.get("changed") else "")


def difference(record, study, origin):
    """Why a run of this study and origin cannot join a record, or an empty text."""
    recorded, present = commit_label(record["origin"]), commit_label(origin)
    if recorded != present:
        return f"are of commit {recorded}, and this is {present}"
    for key in ("cpu", "flags"):
        there, here = record["origin"]["machine"].get(key), origin["machine"].get(key)
        if there != here:
            return f"are of a machine with {key} {there}, and this one has {here}"
    for key, value in study.protocol().items():
        if record[key] != value:
            return f"have {key} {json.dumps(record[key])}, and now it is {json.dumps(value)}"
    return ""


def to_text(record):
    """JSON with one line a seed."""
    head = json.dumps({key: value for key, value in record.items() if key != "seeds"}, indent=1)
    rows = [f'  "{seed}": {json.dumps(run)}' for seed, run in record["seeds"].items()]
    return head[:-2] + ',\n "seeds": {\n' + ",\n".join(rows) + "\n }\n}\n"


class Records:
    """The folder of recorded studies."""

    def __init__(self, folder=RESULTS):
        self.folder = Path(folder)

    def path(self, name):
        return self.folder / f"{name}.json"

    def names(self):
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def read(self, name):
        """The record of a study, or None."""
        return read_json(self.path(name)) if self.path(name).exists() else None

    def matching(self, study, origin, again):
        """The record that runs of this origin join; None if there is none, or `again` gives it up."""
        record = self.read(study.name)
        reason = difference(record, study, origin) if record else ""
        if not reason:
            return record
        if again:
            return None
        raise Fault(f"study '{study.name}': the recorded seeds {reason}; all seeds of a study share these; "
                    "--again lets new ones take their place")

    def add(self, study, seed, run, origin, again):
        """Records a run; atomic, also beside another process that records the same study."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            record = self.matching(study, origin, again)
            seeds = {**(record["seeds"] if record else {}), str(seed): run}
            numbers = sorted(map(int, seeds))
            text = to_text({
                "study": study.name, "shows": study.shows, **study.protocol(),
                "command": study.command(numbers), "origin": origin, "window": WINDOW,
                "seeds": {str(number): seeds[str(number)] for number in numbers}})
            temporary = self.path(study.name).with_suffix(".tmp")
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, self.path(study.name))
        finally:
            os.close(lock)
