#!/usr/bin/env python3
"""Measures what quantising costs: libivg's quantiser beside llama.cpp's, their files run by the same engine, libivg.

    python quantize.py MODEL.F16.gguf --text PROSE.txt --json results/....json

For each type the model is quantised by both with as many threads. Compared are the tensors' types, the root mean
square error of the weights relative to themselves (over all tensors of a type, decoded by gguf-py), the KL divergence
of the next token's distribution from the unquantised model's after every --stride tokens of the text, and the time.
Needs `pip install -r requirements.txt`, and the package `ivg` with libivg.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import datetime
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import gguf
import ivg
import llama_cpp
import numpy as np
from machine import processor_name
from rich.console import Console
from rich.table import Table

# llama.cpp's numbers for the types of files.
FILE_TYPES = {
    "Q8_0": 7,
    "Q6_K": 18,
    "Q5_K_M": 17,
    "Q5_K_S": 16,
    "Q5_1": 9,
    "Q5_0": 8,
    "Q4_K_M": 15,
    "Q4_K_S": 14,
    "Q4_1": 3,
    "Q4_0": 2,
    "Q3_K_L": 13,
    "Q3_K_M": 12,
    "Q3_K_S": 11,
    "Q2_K": 10,
}


def quantize_by_llama(source: Path, target: Path, kind: str, threads: int) -> float:
    """Seconds."""
    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread = threads
    options.ftype = FILE_TYPES[kind]
    options.allow_requantize = True
    began = time.perf_counter()
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(options)):
        raise SystemExit(f"llama.cpp could not make {kind}")
    return time.perf_counter() - began


def quantize_by_libivg(source: Path, target: Path, kind: str, threads: int) -> tuple[float, float]:
    """Seconds; and those before the disk had it all, which llama.cpp does not wait for."""
    began = time.perf_counter()
    end = began

    def note(_: ivg.QuantizeReport) -> None:
        nonlocal end
        end = time.perf_counter()

    ivg.quantize(source, target, kind, threads=threads, on_report=note)
    return time.perf_counter() - began, end - began


def log_probabilities(path: Path, ids: list[int], stride: int, segment: int, threads: int) -> np.ndarray:
    """The logarithms of the next token's distribution after every `stride` tokens; the text is cut into segments."""
    rows = []
    with ivg.Model(path) as model, model.session(threads=threads, context_length=segment + 1) as session:
        for first in range(0, len(ids) - segment + 1, segment):
            with session.sequence() as sequence:
                for start in range(first, first + segment, stride):
                    sequence.evaluate(ids[start : start + stride])
                    logits = np.array(sequence.logits_view(), np.float64)
                    logits -= logits.max()
                    rows.append((logits - np.log(np.exp(logits).sum())).astype(np.float32))
    return np.array(rows)


def divergences(base: np.ndarray, other: np.ndarray) -> np.ndarray:
    """KL divergence at each position."""
    return (np.exp(base) * (base - other)).sum(-1)


def compare(base: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """The mean divergence with its standard error, its median, and how often both agree on the most probable token."""
    divergence = divergences(base, other)
    return {
        "kl": float(divergence.mean()),
        "kl_error": float(divergence.std() / len(divergence) ** 0.5),
        "kl_median": float(np.median(divergence)),
        "same_top": float((base.argmax(-1) == other.argmax(-1)).mean()),
    }


def weight_errors(source: Path, target: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Root mean square errors by type, and the type of each tensor."""
    wanted = {tensor.name: tensor for tensor in gguf.GGUFReader(source).tensors}
    sums: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    types = {}
    for tensor in gguf.GGUFReader(target).tensors:
        types[tensor.name] = tensor.tensor_type.name
        old = wanted[tensor.name]
        if old.tensor_type == tensor.tensor_type:
            continue
        x = gguf.quants.dequantize(old.data, old.tensor_type).astype(np.float64)
        y = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        sums[tensor.tensor_type.name][0] += ((x - y) ** 2).sum()
        sums[tensor.tensor_type.name][1] += (x**2).sum()
    return {name: (a / b) ** 0.5 for name, (a, b) in sums.items()}, types


def measure(source: Path, kind: str, base: np.ndarray, ids: list[int], chosen: argparse.Namespace) -> dict[str, Any]:
    """One type, both quantisers."""
    found: dict[str, Any] = {"type": kind}
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        ours, theirs = Path(folder) / "ours.gguf", Path(folder) / "theirs.gguf"
        times: list[tuple[float, float, float]] = []
        for _ in range(chosen.repeat):
            seconds = quantize_by_llama(source, theirs, kind, chosen.threads)
            times.append((*quantize_by_libivg(source, ours, kind, chosen.threads), seconds))
        found["ours"] = {"seconds": min(x[0] for x in times), "seconds_before_sync": min(x[1] for x in times)}
        found["theirs"] = {"seconds": min(x[2] for x in times)}
        kinds, found_rows = [], []
        for name, path in (("ours", ours), ("theirs", theirs)):
            errors, types = weight_errors(source, path)
            kinds.append(types)
            rows = log_probabilities(path, ids, chosen.stride, chosen.segment, chosen.threads)
            found_rows.append(divergences(base, rows))
            found[name] |= {"size": path.stat().st_size, "errors": errors} | compare(base, rows)
        # Both saw the same positions: the error of the difference is that of the pairs.
        pairs = found_rows[0] - found_rows[1]
        found["kl_difference"] = float(pairs.mean())
        found["kl_difference_error"] = float(pairs.std() / len(pairs) ** 0.5)
        found["same_types"] = kinds[0] == kinds[1]
    return found


def table_of(results: list[dict[str, Any]]) -> Table:
    """For people."""
    table = Table("type", "KL ours", "theirs", "ratio", "same top", "theirs", "errors, ours / theirs", "s", "theirs")
    for row in results:
        ours, theirs = row["ours"], row["theirs"]
        errors = ", ".join(f"{name} {ours['errors'][name] / theirs['errors'][name]:.3f}" for name in ours["errors"])
        table.add_row(
            row["type"] + ("" if row["same_types"] else " (other types)"),
            f"{ours['kl']:.5f}",
            f"{theirs['kl']:.5f}",
            f"{ours['kl'] / theirs['kl']:.3f}",
            f"{ours['same_top']:.4f}",
            f"{theirs['same_top']:.4f}",
            errors,
            f"{ours['seconds_before_sync']:.2f}",
            f"{theirs['seconds']:.2f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="prose that is not in the model's own words")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--segment", type=int, default=512)
    parser.add_argument("--stride", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--types", nargs="*", choices=FILE_TYPES, default=list(FILE_TYPES))
    parser.add_argument("--scratch", help="folder for the files, twice the source's size")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, None)
    with ivg.Model(chosen.source) as model:
        ids = model.tokenize(chosen.text.read_text())[: chosen.tokens]
    base = log_probabilities(chosen.source, ids, chosen.stride, chosen.segment, chosen.threads)
    about = {
        "date": datetime.date.today().isoformat(),
        "processor": processor_name(),
        "kernels": ivg.kernels_name(),
        "llama_cpp_python": llama_cpp.__version__,
        "source": chosen.source.name,
        "text": chosen.text.name,
        "positions": len(base),
        "threads": chosen.threads,
    }
    results: list[dict[str, Any]] = []
    for kind in chosen.types:
        results.append(measure(chosen.source, kind, base, ids, chosen))
        row = results[-1]
        print(f"{kind}: KL {row['ours']['kl']:.5f}, theirs {row['theirs']['kl']:.5f}", flush=True)
        if chosen.json:
            chosen.json.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    Console(width=160).print(table_of(results))


if __name__ == "__main__":
    main()
