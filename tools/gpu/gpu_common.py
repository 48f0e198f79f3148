# SPDX-License-Identifier: Apache-2.0
"""What all parts of tools/gpu_check share: places, how a stage ends, how a command's end is read."""
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"


class Ended(Exception):
    """Why a stage ended early, and what it had found by then."""

    def __init__(self, reason, results=None):
        super().__init__(reason)
        self.results = results if results is not None else {}


class Skip(Ended):
    pass


class Failed(Ended):
    pass


class Cut(Ended):
    """The call's time was over. What is in the results holds."""


def fail(message, code=1):
    print(f"gpu_check: error: {message}", file=sys.stderr)
    sys.exit(code)


def last_line(done):
    lines = (done.stderr or done.stdout or "").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def parsed(done, results=None):
    """What the program printed as JSON; where it ended badly, its error with what was found before."""
    if done.returncode != 0:
        raise (Cut if done.returncode is None else Failed)(last_line(done), results)
    return json.loads(done.stdout)


def closing(results, failed, late, what):
    """The end of a stage of many commands: a failure counts more than what time did not allow."""
    if failed:
        raise Failed(f"{len(failed)} {what} failed, the first: {failed[0]}", results)
    if late:
        raise Cut(f"the call's time ended before {len(late)} {what}, the first: {late[0]}", results)
    return results
