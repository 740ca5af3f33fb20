#!/usr/bin/env python3
"""Measures memory per model: the file, what ivg_memory_required says, and the kernel's peak of the process.

    python memory.py MODEL.gguf... [--guides TUNED UNTUNED HEAD] --json results/....json

Methods: one row; sixteen rows; chunk-level beam search (W 4, K 4, L 5) by two prompts; IVG (4, 4, 5) by two adapters
and a value head for the models that --guides are for. Each in a process of its own, with all pages of mapped files
read before, so that growth beside the file is what libivg takes: "open" for the vocabulary when the model is opened,
"took" at the peak of the request; "together" adds the file, all of whose pages are then in memory. MB are 10^6 bytes.
`LIBIVG` names another library than this tree's.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import processor_name

PROMPT = "Once upon a time, in a small town by the sea, there lived a"
METHODS = {
    "one row": (1, 1, 0),
    "16 rows": (16, 1, 0),
    "two prompts (4, 4, 5)": (4, 4, 5),
    "IVG (4, 4, 5)": (4, 4, 5),
}
THP_DISABLE = 41  # prctl


def status_bytes(field: str) -> int:
    """A size in /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}")


def read_mapped_files() -> None:
    """Brings in every page of every mapped file, so that none counts as growth later."""
    import ctypes

    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if fields[1].startswith("r") and len(fields) == 6 and fields[5].startswith("/"):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            for page in range(start, end, 4096):
                ctypes.c_char.from_address(page).value  # noqa: B018


def start_peak() -> int:
    """From here on the peak counts anew; what the process holds now."""
    read_mapped_files()
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def make_guidance(method: str, model: Any, guides: list[Path]) -> Any:
    import libivg as ivg

    guidance = ivg.Guidance(*METHODS[method])
    if method.startswith("IVG"):
        tuned, untuned = (
            ivg.Handle("adapter", "ivg_adapter_open", model.pointer, str(path).encode()) for path in guides[:2]
        )
        head = ivg.Handle("value_head", "ivg_value_head_open", model.pointer, str(guides[2]).encode())
        guidance.add("implicit", ivg.ImplicitOptions, tuned_adapter=tuned.pointer, untuned_adapter=untuned.pointer)
        guidance.add("explicit", ivg.ExplicitOptions, head=head.pointer)
    elif method.startswith("two prompts"):
        guidance.add(
            "implicit",
            ivg.ImplicitOptions,
            role=2,
            tuned_template=b"A joyful story. {prompt}",
            untuned_template=b"A story. {prompt}",
        )
    return guidance


def measure(path: Path, method: str, guides: list[Path], chosen: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own."""
    import ctypes

    import libivg as ivg

    ctypes.CDLL(None).prctl(THP_DISABLE, 1, 0, 0, 0)
    anonymous = status_bytes("RssAnon")
    model = ivg.Model(str(path))
    opened = status_bytes("RssAnon") - anonymous
    guidance = make_guidance(method, model, guides)
    count = len(model.tokenize(PROMPT))
    before = start_peak()
    make: Any = ivg.make
    limits = make(ivg.SessionOptions, thread_count=chosen.threads, context_length=chosen.context)
    options = make(ivg.GenerateOptions, max_tokens=chosen.tokens, flags=ivg.IGNORE_END)
    required = ctypes.c_uint64()
    ivg.call("ivg_memory_required", model.pointer, ctypes.byref(limits), ctypes.byref(options), guidance.pointer,
             ctypes.c_size_t(count), ctypes.byref(required))  # fmt: skip
    session = ivg.Session(model, chosen.threads, chosen.context)
    session.begin(PROMPT, guidance, max_tokens=chosen.tokens, flags=ivg.IGNORE_END)
    while session.next():
        pass
    return {
        "model": path.name,
        "method": method,
        "file_bytes": path.stat().st_size,
        "opened_bytes": opened,
        "required_bytes": required.value,
        "planned_bytes": session.result().memory_used,
        "request_peak_bytes": status_bytes("VmHWM") - before,
    }


def in_a_process(path: Path, method: str, chosen: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, str(path), "--only", method, "--tokens", str(chosen.tokens),
               "--threads", str(chosen.threads), "--context", str(chosen.context)]  # fmt: skip
    if chosen.guides:
        command += ["--guides", *map(str, chosen.guides)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--guides", type=Path, nargs=3, help="two adapters and a value head, for files named alike")
    parser.add_argument("--guides-for", default="SmolLM2-135M", help="beginning of those files' names")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.only:
        print(json.dumps(measure(chosen.models[0], chosen.only, chosen.guides or [], chosen)))
        return
    results: list[dict[str, Any]] = []
    about = {
        "date": datetime.date.today().isoformat(),
        "processor": processor_name(),
        "threads": chosen.threads,
        "context": chosen.context,
        "tokens": chosen.tokens,
        "guides": [path.name for path in chosen.guides or []],
    }
    print("| model | method | file | open | said | took | together, MB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for path in chosen.models:
        for method in METHODS:
            if method.startswith("IVG") and not (chosen.guides and path.name.startswith(chosen.guides_for)):
                continue
            row = in_a_process(path, method, chosen)
            results.append(row)
            names = ("file", "opened", "required", "request_peak")
            sizes = [row[f"{name}_bytes"] for name in names]
            sizes.append(sizes[0] + sizes[1] + sizes[3])
            print(f"| {path.stem} | {method} | {' | '.join(f'{size / 1e6:.1f}' for size in sizes)} |", flush=True)
            if chosen.json:
                chosen.json.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
