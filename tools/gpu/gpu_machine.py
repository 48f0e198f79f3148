# SPDX-License-Identifier: Apache-2.0
"""What the machine has: the CUDA driver's first device, NVRTC, a Python with PyTorch."""
import ctypes
import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gpu_common import Skip

# of cuDeviceGetAttribute
ATTRIBUTES = {"processors": 16, "capability_major": 75, "capability_minor": 76, "clock_khz": 13, "compute_mode": 20,
              "memory_clock_khz": 36, "l2_bytes": 38, "shared_bytes_per_block": 97}
NEWEST_CUDA, OLDEST_CUDA = 13, 12  # as cuda/runtime/compiler.cpp takes them


def version_text(number):
    return f"{number // 1000}.{number % 1000 // 10}"


def driver_facts():
    """What the CUDA driver says of its first device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise Skip(f"no GPU: no CUDA driver ({error})") from None
    count, version, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code != 0 or count.value == 0:
        raise Skip(f"no GPU: the CUDA driver finds none (code {code})")
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGet(ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, 256, device)
    facts = {"device": name.value.decode(), "cuda_of_driver": version_text(version.value)}
    for key, attribute in ATTRIBUTES.items():
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) == 0:
            facts[key] = value.value
    return facts


# ---- NVRTC ----


def pythons(code, seconds):
    """(python, its output) of each python3 that runs `code` without an error."""
    for python in dict.fromkeys([shutil.which("python3") or "", sys.executable]):
        if not python:
            continue
        try:
            done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=seconds)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            yield python, done.stdout


@functools.cache
def python_packages():
    """Where python3 looks for packages: NVIDIA's wheels lie there."""
    found = [line for _, out in pythons("import sys; print('\\n'.join(sys.path))", 30) for line in out.splitlines()]
    return [Path(folder) for folder in dict.fromkeys(found) if folder]


def nvrtc_places(major):
    """(where, file, whether the program looks there by itself), in the program's order."""
    name = f"libnvrtc.so.{major}"
    yield "the loader's search", name, True
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            for below in ("lib64", "lib"):
                yield variable, f"{os.environ[variable]}/{below}/{name}", True
    yield "the toolkit", f"/usr/local/cuda/lib64/{name}", True
    for folder in sorted(Path("/usr/local").glob("cuda-*"), reverse=True):
        yield "a toolkit", f"{folder}/lib64/{name}", True
    for packages in python_packages():
        for below in (f"cu{major}", "cuda_nvrtc"):
            yield "a Python package", f"{packages}/nvidia/{below}/lib/{name}", False


def loaded_nvrtc(file):
    """The version of this library as text, None where it cannot be loaded."""
    try:
        library = ctypes.CDLL(file)
        major, minor = ctypes.c_int(), ctypes.c_int()
        code = library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    except (OSError, AttributeError):
        return None
    return f"{major.value}.{minor.value}" if code == 0 else None


def find_nvrtc(newest=NEWEST_CUDA):
    """(facts, SOFTMPC_NVRTC that the program needs to find it, or None). What the user has set stays."""
    if os.environ.get("SOFTMPC_NVRTC"):
        file = os.environ["SOFTMPC_NVRTC"]
        return {"file": Path(file).name, "found": "SOFTMPC_NVRTC", "version": loaded_nvrtc(file)}, None
    for major in range(newest, OLDEST_CUDA - 1, -1):
        for where, file, known in nvrtc_places(major):
            if "/" in file and not Path(file).exists():
                continue
            version = loaded_nvrtc(file)
            if version:
                return {"file": Path(file).name, "found": where, "version": version}, None if known else file
    return {"found": "nowhere: kernels that the library does not carry cannot be compiled"}, None


# ---- PyTorch ----


def torch_python(cuda):
    """A Python with PyTorch, and that one's version."""
    test = "import torch; " + ("assert torch.cuda.is_available(); " if cuda else "")
    for python, out in pythons(test + "print(torch.__version__)", 90):
        return python, out.strip().splitlines()[-1]
    raise Skip("python3 has no PyTorch" + (" that sees a GPU" if cuda else ""))


def torch_libraries():
    """The folder of LibTorch in python3's PyTorch, or None; without importing it, which takes seconds."""
    for packages in python_packages():
        if (packages / "torch" / "lib" / "libtorch_cpu.so").exists():
            return packages / "torch" / "lib"
    return None
