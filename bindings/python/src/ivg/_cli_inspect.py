"""`ivg inspect`: what is in a file."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import ivg
from ivg._cli_common import Json, reporting, write, write_json


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any GGUF file.", show_default=False)],
    elements: Annotated[int, typer.Option(min=0, help="How many elements of each metadata array to show.")] = 8,
    as_json: Json = False,
) -> None:
    """Show what is in a file: architecture, tensors, types, metadata."""
    with reporting(), ivg.File(file) as opened:
        metadata = opened.metadata(max_elements=elements)
        tensors = [dataclasses.asdict(tensor) for tensor in opened.tensors()]
        types: dict[str, int] = {}
        for tensor in tensors:
            types[tensor["type"]] = types.get(tensor["type"], 0) + 1
        found = {
            "path": str(file),
            "kind": opened.kind,
            "architecture": opened.architecture,
            "size": file.stat().st_size,
            "parameter_count": sum(math.prod(tensor["shape"]) for tensor in tensors),
            "types": types,
            "metadata": metadata,
            "tensors": tensors,
        }
        if as_json:
            write_json(found)
        elif sys.stdout.isatty():
            _print_tables(found)
        else:
            for key in ("kind", "architecture", "size", "parameter_count"):
                write(f"{key}\t{found[key]}\n")
            for key, item in metadata.items():
                write(f"{key}\t{json.dumps(item, ensure_ascii=False)}\n")
            for tensor in tensors:
                write(f"{tensor['name']}\t{tensor['type']}\t{'x'.join(map(str, tensor['shape']))}\n")


def _print_tables(found: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"{found['kind']} · {found['architecture']} · {found['parameter_count']:,} parameters"
        f" · {found['size']:,} bytes",
        highlight=False,
    )
    table = Table("metadata", "value", box=None, header_style="bold")
    for key, value in found["metadata"].items():
        text = json.dumps(value, ensure_ascii=False)
        table.add_row(key, text if len(text) < 200 else text[:200] + "…")
    console.print(table)
    table = Table("tensor", "type", "shape", "bytes", box=None, header_style="bold")
    for tensor in found["tensors"]:
        table.add_row(tensor["name"], tensor["type"], " x ".join(map(str, tensor["shape"])), f"{tensor['size']:,}")
    console.print(table)
