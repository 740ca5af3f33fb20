"""What the commands on many prompts share: options for prompts and scorers, and their progress bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ivg._records import file_identity

PromptsFile = Annotated[
    Path,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help='JSON Lines with "prompt" and perhaps "id", or one prompt a line.',
        show_default=False,
    ),
]
Limit = Annotated[Optional[int], typer.Option(min=1, help="Use only the first prompts.", show_default=False)]  # noqa: UP045
ScorerOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--scorer",
        metavar="CMD",
        help="A shell command that reads one JSON string a line and prints one number a line; it is kept running.",
    ),
]
ScorerTemplate = Annotated[
    str, typer.Option(metavar="T", help="What CMD sees of a completion, with {prompt} and {text}.")
]
ScorerTimeout = Annotated[float, typer.Option(help="Seconds that CMD may take for one batch.")]
ScorerReadsAll = Annotated[
    bool,
    typer.Option(
        "--scorer-reads-all", help="CMD reads all its input before it answers: start it anew for every batch."
    ),
]
PromptsPerBatch = Annotated[
    int, typer.Option(min=0, help="Prompts that are scored together; 0: 1, with --scorer-reads-all 32.")
]
Force = Annotated[bool, typer.Option("--force", help="Start anew, whatever the output holds.")]


def batch_size(prompts_per_batch: int, reads_all: bool) -> int:
    """How many prompts are scored together."""
    return prompts_per_batch or (32 if reads_all else 1)


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on standard error, if that is a terminal: what comes out is called with done, total and a note."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=None, note="")
        yield lambda done, total, note: progress.update(task, completed=done, total=total, note=note)


def settings_of(options: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """A command's options as they are noted beside its output: files by what is in them, and none of `without`."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name in without:
            continue
        if isinstance(value, Path):
            value = file_identity(value)
        elif isinstance(value, list | tuple):
            value = [file_identity(item) if isinstance(item, Path) else item for item in value]
        found[name] = value.value if isinstance(value, Enum) else value
    return found
