"""What bench.py asks of the machine itself."""

import ctypes
import functools
import os
import platform
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / ".build/bench"


def machine_seconds() -> float:
    """Processor time that all processes of the machine have used."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields[:3]) + sum(fields[5:7])) / os.sysconf("SC_CLK_TCK")


@functools.cache
def compile_library(source: str) -> Path | None:
    """A C file of this folder as a library for this CPU; None without a compiler."""
    library = BUILD / f"{source}.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    for compiler in ("clang", "cc"):
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-o", str(library)]
        try:
            subprocess.run([*command, str(HERE / f"{source}.c")], check=True)
            return library
        except (OSError, subprocess.CalledProcessError):
            continue
    return None


def bandwidth(threads: int) -> float | None:
    """Bytes per second that so many threads can read now; None without a compiler."""
    library = compile_library("ceilings")
    if not library:
        return None
    read = ctypes.CDLL(str(library)).read_bandwidth
    read.restype = ctypes.c_double
    return read(ctypes.c_size_t(1 << 30), threads, 7)


def processor_name() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = dict(tuple(part.strip() for part in line.split(":", 1)) for line in info if ":" in line)
    name = fields.get("model name", platform.processor())
    return f"{name} (family {fields.get('cpu family')}, model {fields.get('model')}), {os.cpu_count()} processors"
