"""`ivg quantize`: fewer bits for a model's weights."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

import ivg
from ivg._cli_common import Json, Threads, reporting, write, write_json

_TensorType = Optional[str]  # noqa: UP045 - typer on Python 3.10


def quantize(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A GGUF model file.", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.", show_default=False)],
    type: Annotated[
        str,
        typer.Option(
            "--type",
            "-t",
            metavar="TYPE",
            help="F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, "
            "Q5_K_M, Q6_K or F32.",
            show_default=False,
        ),
    ],
    importance: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Importance weights as llama.cpp writes them (imatrix)."),
    ] = None,
    pure: Annotated[bool, typer.Option("--pure", help="The same type for all matrices, where rows allow it.")] = False,
    output_type: Annotated[_TensorType, typer.Option(metavar="T", help="Type of the output matrix.")] = None,
    embedding_type: Annotated[_TensorType, typer.Option(metavar="T", help="Type of the token embedding.")] = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Write a model anew with fewer bits for its weights.

    OUT appears when it is complete; Ctrl-C leaves what was there.
    """
    with reporting():
        with _progress(source) as show:
            reports = ivg.quantize(
                source,
                target,
                type,
                pure=pure,
                output_type=output_type,
                embedding_type=embedding_type,
                importance=importance,
                threads=threads or None,
                on_report=show,
            )
        if as_json:
            write_json({"path": str(target), "size": target.stat().st_size, "tensors": list(map(_plain, reports))})
        else:
            write(_summary(target, reports))


def _plain(report: ivg.QuantizeReport) -> dict[str, object]:
    wanted = ("tensor", "source_type", "target_type", "error")
    found = dataclasses.asdict(report)
    return {name: found[name] for name in wanted}


def _summary(target: Path, reports: list[ivg.QuantizeReport]) -> str:
    """How many tensors have which type now, and the sizes."""
    counts: dict[str, int] = {}
    for report in reports:
        counts[report.target_type] = counts.get(report.target_type, 0) + 1
    types = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    sizes = f"{reports[-1].size_in:,} -> {reports[-1].size_out:,} bytes of weights" if reports else "no tensors"
    return f"{target}\t{sizes}\t{types}\n"


@contextlib.contextmanager
def _progress(source: Path) -> Iterator[Callable[[ivg.QuantizeReport], None]]:
    """A bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda report: None
        return
    columns = (
        TextColumn(source.name),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[tensor]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("quantize", total=None, tensor="")

        def show(report: ivg.QuantizeReport) -> None:
            text = f"{report.tensor} {report.source_type} -> {report.target_type}"
            bars.update(task, completed=report.done, total=report.total, tensor=text)

        yield show
