# SPDX-License-Identifier: Apache-2.0
"""What travels to a machine with a GPU: the program, the tests labelled gpu, MuJoCo's library, in one archive.

The programs share most of their code, kernels and all: compressed one after another, with a window that is
wider than one of them, each further one costs little, at the lowest level already (27 MB of program, two tests and
MuJoCo: 5.3 MB in 3 seconds of a core; at level 6 4.5 MB in a minute).
"""
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from gpu_common import ROOT, Cut, Failed, fail, last_line
from gpu_machine import torch_libraries

KIND = "softmpc gpu_check pack"
PACK_LIMIT = 52e6  # bytes of a pack: with the tracked files it stays below 64 MiB
ARCHIVE = "programs.tar.xz"
FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 25}]
# a trainer without LibTorch trains on a device, and needs nothing there
SETTINGS = ["-DCMAKE_BUILD_TYPE=Release", "-DSOFTMPC_WITH_CUDA=ON", "-DSOFTMPC_WITH_TRAIN=ON",
            "-DSOFTMPC_WITH_TORCH=OFF"]


def run_here(words, **_):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)


def commit(prebuilt):
    if prebuilt:
        return prebuilt.manifest["commit"]

    def git(*arguments):
        done = run_here(["git", "-C", ROOT, *arguments])
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results", ":!README.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+changes" if changed else "")


# ---- a build ----


def labelled_tests(build):
    """(name, path) of the tests labelled gpu."""
    done = run_here(["ctest", "--test-dir", build, "-L", "^gpu$", "--show-only=json-v1"])
    if done.returncode != 0:
        raise Failed(f"{build} is no configured build: {last_line(done)}")
    return [(test["name"], str(Path(build) / "bin" / test["name"])) for test in json.loads(done.stdout)["tests"]]


def build_here(build, run=run_here):
    """Configures and builds the program and the gpu tests. `run` takes a command."""
    def step(words):
        try:
            done = run(words)
        except OSError as error:
            raise Failed(f"cannot run {words[0]}: {error.strerror}") from None
        if done.returncode is None:
            raise Cut(f"the call's time ended {words[0]}; the next call goes on from there")
        if done.returncode != 0:
            errors = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
            raise Failed(f"{words[0]} failed: {errors[0] if errors else last_line(done)}")

    step(["cmake", "-S", ROOT, "-B", build, *SETTINGS])
    names = [name for name, _ in labelled_tests(build)]
    step(["cmake", "--build", build, "--parallel", os.cpu_count(), "--target", "softmpc", *names])


class Built:
    """A build of this checkout; stage `build` makes it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.program = self.folder / "bin" / "softmpc"
        self.libraries, self.trainer = [], None

    @property
    def tests(self):
        return [name for name, _ in labelled_tests(self.folder)]


# ---- a pack ----


class Prebuilt:
    """A folder that `pack` wrote: manifest.json, and the archive or, unpacked by hand, bin/ and lib/."""

    def __init__(self, folder, work):
        folder = Path(folder).resolve()
        try:
            self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            self.tests = list(self.manifest["tests"])
            self.manifest["commit"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            fail(f"{folder}: no folder of gpu_check pack: manifest.json: {error}")
        self.folder = self.unpacked(folder, work / "pack") if (folder / ARCHIVE).exists() else folder
        self.program = self.folder / "bin" / "softmpc"
        self.libraries = [str(self.folder / "lib")]
        if self.manifest.get("torch") and torch_libraries():  # programs that were built with LibTorch
            self.libraries.append(str(torch_libraries()))
        trainer = self.folder / "bin" / "softmpc_train"
        self.trainer = trainer if trainer.exists() else None

    @staticmethod
    def unpacked(folder, target):
        try:
            with tarfile.open(folder / ARCHIVE, "r:xz") as archive:
                archive.extractall(target, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        except (OSError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
            fail(f"{folder / ARCHIVE}: cannot be unpacked: {error}; make it again: tools/gpu_check pack {folder}")
        return target


def libraries_of(path):
    """(name, file) of the shared libraries that a program asks for."""
    for line in run_here(["ldd", path]).stdout.splitlines():
        library, _, found = line.strip().partition(" => ")
        yield library, found.split(" (")[0]


def gather(files, folder):
    """Copies programs, stripped, and MuJoCo's library to bin/ and lib/; whether one needs LibTorch."""
    torch = False
    for part in ("bin", "lib"):
        (folder / part).mkdir(parents=True)
    for name, path in files.items():
        copied = folder / "bin" / name
        shutil.copy2(path, copied)
        run_here(["strip", "--strip-unneeded", copied])
        for library, found in libraries_of(path):
            torch = torch or (library.startswith("libtorch") and name != "softmpc_train")
            if library.startswith("libmujoco") and "/" in found:
                shutil.copy2(found, folder / "lib" / library)
    return torch


def write_archive(path, folder):
    """bin/ and lib/ of `folder`, programs in the order of their names: like beside like."""
    with lzma.open(path, "w", format=lzma.FORMAT_XZ, filters=FILTERS) as file, \
            tarfile.open(fileobj=file, mode="w") as archive:
        for part in ("bin", "lib"):
            archive.add(folder / part, part)


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def pack(options):
    """The archive and its manifest in DIR."""
    build, target = Path(options.from_build or ROOT / "build" / "gpu"), Path(options.pack)
    try:
        if not options.from_build:
            build_here(build)
        tests = labelled_tests(build)
    except Failed as error:
        fail(error)
    files = {"softmpc": build / "bin" / "softmpc", **{name: Path(path) for name, path in tests}}
    if options.trainer:
        files["softmpc_train"] = Path(options.trainer)
    for path in files.values():
        if not path.exists():
            fail(f"{path} is not there; build it: cmake --build {build}")
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        torch = gather(files, Path(work))
        bare = size_of(Path(work))
        write_archive(target / ARCHIVE, Path(work))
    manifest = {"kind": KIND, "commit": commit(None), "tests": [name for name, _ in tests], "torch": torch}
    (target / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    size = size_of(target)
    print(f"{target}: softmpc{' with a trainer' if options.trainer else ''}, {', '.join(manifest['tests'])}: "
          f"{size / 1e6:.1f} MB of {bare / 1e6:.1f} MB")
    if size > PACK_LIMIT:
        fail(f"{target} has {size / 1e6:.1f} MB, at most {PACK_LIMIT / 1e6:.0f} MB are to be carried")
    return 0
