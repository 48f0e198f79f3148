# SPDX-License-Identifier: Apache-2.0
"""One call of tools/gpu_check: its clock, its folder, and the commands that its stages run."""
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpu_common import ROOT

LATE = -signal.SIGKILL  # the exit code of a command that its own limit ended
CANNOT_RUN = 127
# a group of their own, so that a late command ends with all that it started; of the same session, so that
# whoever runs this script ends them with it
OWN_GROUP = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Call:
    """What the stages of one call share. A signal to end makes its time be over: what was found is written."""

    def __init__(self, limit):
        self.begin, self.limit, self.over = time.monotonic(), limit, False
        self.folder = Path(tempfile.mkdtemp(prefix="softmpc_gpu_check_"))
        self.at_once = len(os.sched_getaffinity(0))  # commands side by side
        self.device = self.nvrtc = None
        self.nvrtc_facts = {}
        self.live = set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def stop(self, number, _):
        self.over = True
        signal.signal(number, signal.SIG_DFL)
        for process in list(self.live):
            end_group(process)

    def remaining(self):
        return 0 if self.over else self.limit - (time.monotonic() - self.begin)

    def environment(self):
        """What every command gets. A cache of this call's own: no HOME is needed, and no earlier kernel counts."""
        variables = {"SOFTMPC_GOLDEN_DIR": str(ROOT / "tests" / "golden"),
                     "SOFTMPC_CACHE_DIR": os.environ.get("SOFTMPC_CACHE_DIR") or str(self.folder / "cache")}
        if self.nvrtc:
            variables["SOFTMPC_NVRTC"] = self.nvrtc
        return variables

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Stage:
    """One running stage: its time, its commands."""

    def __init__(self, name, binaries, options, call):
        self.name, self.binaries, self.options, self.call = name, binaries, options, call
        self.begin = time.monotonic()
        self.commands = []
        self.lock = threading.Lock()

    def remaining(self):
        return self.call.remaining()

    def shown(self, words):
        """A command line without this machine's folders."""
        places = ((self.binaries.folder, "BUILD/"), (self.call.folder, "TEMPORARY/"), (ROOT, ""))
        words = [str(word) for word in words]
        if not any(words[0].startswith(f"{folder}/") for folder, _ in places):
            words[0] = Path(words[0]).name
        line = shlex.join(words)
        for folder, name in places:
            line = line.replace(f"{folder}/", name)
        return line

    def run(self, words, environment=None, limit=None):
        """What a command printed, and its end: `returncode` is None where the call's time ended it."""
        words = [str(word) for word in words]
        entry = {"command": self.shown(words), **({"environment": environment} if environment else {})}
        with self.lock:
            self.commands.append(entry)
            print(f"{self.name}: {entry['command']}", flush=True)
        if self.remaining() < 1:
            entry["exit_code"] = None
            return self.ended(words, None, "", "the call's time was over", 0)
        begin = time.monotonic()
        code, out, errors = self.finish(words, environment, limit or 1e9)
        seconds = round(time.monotonic() - begin, 3)
        entry.update(exit_code=code, seconds=seconds)
        return self.ended(words, code, out, errors, seconds)

    @staticmethod
    def ended(words, code, out, errors, seconds):
        done = subprocess.CompletedProcess(words, code, out, errors)
        done.seconds = seconds
        return done

    def variables(self, environment):
        variables = {**os.environ, **self.call.environment(), **(environment or {})}
        libraries = [*self.binaries.libraries, variables.get("LD_LIBRARY_PATH", "")]
        if self.binaries.libraries:
            variables["LD_LIBRARY_PATH"] = ":".join(libraries)
        return variables

    def finish(self, words, environment, limit):
        """(code, stdout, stderr) of a command that has at most `limit` seconds, and what the call has left."""
        try:
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                       text=True, errors="replace", env=self.variables(environment), **OWN_GROUP)
        except OSError as error:
            return CANNOT_RUN, "", f"cannot run {self.shown(words[:1])}: {error.strerror}"
        self.call.live.add(process)
        if self.call.over:  # told to end just now
            end_group(process)
        text, reason = ("", ""), ""
        try:
            text = process.communicate(timeout=max(0, min(self.remaining(), limit)))
        except subprocess.TimeoutExpired:
            reason = f"no end within {limit:.0f} s" if self.remaining() > 0 else "the call's time was over"
            end_group(process)
            try:
                text = process.communicate(timeout=5)
            except subprocess.TimeoutExpired:  # something that left the group holds the pipes
                pass
        finally:
            self.call.live.discard(process)
        if self.call.over:
            return None, text[0], f"{text[1]}\nstopped: this call was told to end"
        if reason:
            return LATE if reason.startswith("no end") else None, text[0], f"{text[1]}\nstopped: {reason}"
        return process.returncode, *text

    def run_all(self, jobs):
        """The ends of (words, environment, limit), in their order; side by side where the device allows it."""
        with ThreadPoolExecutor(max(1, self.call.at_once)) as pool:
            return list(pool.map(lambda job: self.run(*job), jobs))
