# SPDX-License-Identifier: Apache-2.0
"""Trains runs side by side, each a process of its own on one thread, and records what each gave."""
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from learning_records import Fault, Study, commit_label, summarise
from recording import ROOT

POLL_SECONDS = 0.02
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Run:
    study: Study
    seed: int
    out: Path
    process: Optional[subprocess.Popen] = None
    begun: float = 0

    @property
    def log(self):
        return Path(f"{self.out}.log")

    def __str__(self):
        return f"{self.study.name} seed {self.seed}"


def plan(studies, records, folder, origin, again):
    """What is to be trained, and how many runs are recorded already. Seed by seed through all studies, so that
    early results come from all of them. A run folder is of one commit, as a record is."""
    waiting, recorded = [], 0
    for study in studies:
        record = records.matching(study, origin, again)
        done = set(record["seeds"]) if record else set()
        home = Path(folder) / study.name / commit_label(origin)
        others = [path.name for path in home.parent.glob("*/") if path.is_dir()]
        if others and not home.exists() and not record and not again:
            raise Fault(f"study '{study.name}': {home.parent} has runs of {', '.join(sorted(others))}, and this is "
                        f"commit {home.name}; go back to that commit, or begin anew with --again")
        recorded += sum(str(seed) in done for seed in study.seeds)
        waiting += [(index, Run(study, seed, home / f"seed-{seed}"))
                    for index, seed in enumerate(study.seeds) if str(seed) not in done]
    return [run for _, run in sorted(waiting, key=lambda entry: entry[0])], recorded


def last_line(path):
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return error.strerror
    return next((line.strip() for line in reversed(lines) if line.strip()), "no word of why")


def duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


class Runner:
    """Runs of one program, at most `jobs` at a time."""

    def __init__(self, program, records, origin, jobs, again):
        self.program, self.records, self.origin = Path(program), records, origin
        self.jobs, self.again = jobs, again
        self.running, self.failed, self.stopped, self.ended = [], 0, 0, 0
        self.stops = []  # signals as they come
        self.refusal = ""

    def train(self, runs):
        """Exit code: 0, 1 if a run failed, 128 + signal if one stopped them."""
        self.total, self.waiting = len(runs), list(runs)
        self.built = self.identity()
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # nohup
                signal.signal(number, lambda number, _: self.stops.append(number))
        try:
            self.loop()
        finally:
            self.signal_running(signal.SIGTERM)  # none is left but after a fault of this program
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stops:
            self.say(f"stopped: {self.stopped + len(self.waiting)} runs are not finished; the same command goes on")
            return 128 + self.stops[0]
        if self.refusal:
            raise Fault(self.refusal)
        return 1 if self.failed else 0

    def loop(self):
        forwarded = 0
        while self.running or (self.waiting and not self.stops and not self.refusal):
            while self.waiting and len(self.running) < self.jobs and not self.stops and not self.refusal:
                self.start(self.waiting.pop(0))
            # the first Ctrl-C lets runs write their checkpoints, the second kills
            for _ in range(forwarded, min(len(self.stops), 2)):
                self.signal_running(signal.SIGTERM if forwarded == 0 else signal.SIGKILL)
                forwarded += 1
            for run in [run for run in self.running if run.process.poll() is not None]:
                self.running.remove(run)
                self.end(run)
            time.sleep(POLL_SECONDS)

    def identity(self):
        """Changes when the program is built again."""
        try:
            facts = self.program.stat()
        except OSError as error:
            raise Fault(f"{self.program}: {error.strerror}; build it: cmake --build build/release") from error
        return facts.st_ino, facts.st_size, facts.st_mtime_ns

    def start(self, run):
        if self.identity() != self.built:
            self.waiting.insert(0, run)
            self.refusal = (f"{self.program} was built again meanwhile: {len(self.waiting)} runs were not started, "
                            "since seeds of a study share a program; the same command goes on")
            return
        program = ROOT / run.study.program if run.study.program else self.program
        words = [str(program), *run.study.arguments(), "--seed", str(run.seed), "--threads", "1",
                 "--out", str(run.out), "--quiet"]
        if run.out.exists():
            words.append("--resume")
        run.out.parent.mkdir(parents=True, exist_ok=True)
        run.begun = time.monotonic()
        with open(run.log, "wb") as log:
            # a session of its own: the terminal's Ctrl-C comes to it once, through this program
            run.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           env=dict(os.environ, OMP_NUM_THREADS="1"), start_new_session=True)
        self.running.append(run)

    def signal_running(self, number):
        for run in self.running:
            run.process.send_signal(number)

    def end(self, run):
        code = run.process.returncode
        if self.stops and code in (128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL):
            self.stopped += 1
            return
        self.ended += 1
        took = duration(time.monotonic() - run.begun)
        try:
            if code != 0:
                raise Fault(f"killed by signal {-code}" if code < 0 else f"{last_line(run.log)} (exit code {code})")
            result = summarise(run.out, run.study.steps)
            self.records.add(run.study, run.seed, result, self.origin, self.again)
        except (Fault, OSError, ValueError, KeyError) as fault:
            self.failed += 1
            self.say(f"[{self.ended}/{self.total}] {run}: failed after {took}: {fault}; its log is {run.log}")
            return
        evaluations = result["evaluations"]
        last = f"last evaluation {evaluations[-1][1]:.1f}" if evaluations else "no evaluation"
        self.say(f"[{self.ended}/{self.total}] {run}: done after {took}, {last}")

    @staticmethod
    def say(line):
        try:
            print(line, flush=True)
        except OSError:
            pass  # a closed terminal ends no run
