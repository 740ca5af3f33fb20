#!/usr/bin/env python3
"""Measures the cold start: from dlopen to the first token of a prompt of sixteen, in processes of their own.

    python cold_start.py MODEL.gguf... --json results/....json

cold_start.c runs --repeat times with library and model in the system's page cache ("warm"), and as often after both
were thrown out of it ("cold"), on copies that no other process maps; how much of them stayed is measured and said.
Medians and quartiles. The machine's load is recorded beside them. `LIBIVG` names another library than this tree's.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import mmap
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from machine import HERE, processor_name

PHASES = ("dlopen", "open", "session", "first_token")


def find_library() -> Path:
    path = Path(os.environ.get("LIBIVG", HERE.parents[1] / ".build/release/libivg.so"))
    if not path.exists():
        raise SystemExit(f"{path} is missing; run `make lib` or set LIBIVG")
    return path


def compile_program(folder: Path) -> Path:
    program = folder / "cold_start"
    subprocess.run(
        ["cc", "-std=c11", "-O1", "-D_GNU_SOURCE", f"-I{HERE.parents[1] / 'include'}", str(HERE / "cold_start.c"),
         "-o", str(program), "-ldl", "-lm"],
        check=True,
    )  # fmt: skip
    return program


def cached_share(path: Path) -> float:
    """How much of a file is in the page cache."""
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE) as mapped:
        pages = (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        found = ctypes.create_string_buffer(pages)
        address = ctypes.addressof(view := ctypes.c_char.from_buffer(mapped))
        failed = mincore(address, size, found)
        del view
        if failed:
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(byte & 1 for byte in found.raw) / pages


def throw_out(path: Path) -> float:
    """Lets the system forget a file's pages; the share that stayed."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return cached_share(path)


def run_once(program: Path, library: Path, model: Path, threads: int) -> dict[str, float]:
    output = subprocess.run(
        [str(program), str(library), str(model), str(threads)], check=True, capture_output=True, text=True
    ).stdout
    return {name: float(value) for name, value in (line.split(" ", 1) for line in output.splitlines())}


def summary(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Medians; of the total also the quartiles."""
    found: dict[str, Any] = {}
    for phase in PHASES:
        for figure in ("ms", "processor_ms", "faults", "disk_faults", "own_bytes"):
            found[f"{phase}_{figure}"] = statistics.median(run[f"{phase}_{figure}"] for run in runs)
    totals = [run["total_ms"] for run in runs]
    found["total_ms"] = statistics.median(totals)
    found["total_quartiles_ms"] = statistics.quantiles(totals, n=4)[::2]
    return found


def measure(program: Path, library: Path, model: Path, threads: int, repeat: int) -> dict[str, Any]:
    """One model, warm and cold in turn, so that a change of the machine's speed meets both."""
    warm, cold, stayed = [], [], []
    run_once(program, library, model, threads)
    for _ in range(repeat):
        warm.append(run_once(program, library, model, threads))
        stayed.append(max(throw_out(library), throw_out(model)))
        cold.append(run_once(program, library, model, threads))
    return {"warm": summary(warm), "cold": summary(cold), "cold_share_that_stayed_cached": max(stayed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--scratch", help="folder for copies of library and model, on a disk")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    results: list[dict[str, Any]] = []
    about: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "processor": processor_name(),
        "threads": chosen.threads,
        "repeat": chosen.repeat,
        "load_before": os.getloadavg(),
    }
    print("| model | cache | dlopen | open | session | first token | all, ms | quartiles |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as name:
        folder = Path(name)
        program = compile_program(folder)
        library = Path(shutil.copy(find_library(), folder / "libivg.so.0"))
        about["library_bytes"] = library.stat().st_size
        for source in chosen.models:
            model = Path(shutil.copy(source, folder / "model.gguf"))
            found = measure(program, library, model, chosen.threads, chosen.repeat)
            results.append({"model": source.name, "file_bytes": model.stat().st_size} | found)
            for kind in ("warm", "cold"):
                row = found[kind]
                times = " | ".join(f"{row[f'{phase}_ms']:.1f}" for phase in PHASES)
                quartiles = " to ".join(f"{x:.1f}" for x in row["total_quartiles_ms"])
                print(f"| {source.stem} | {kind} | {times} | {row['total_ms']:.1f} | {quartiles} |", flush=True)
    about["load_after"] = os.getloadavg()
    if chosen.json:
        chosen.json.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
