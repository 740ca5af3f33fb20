"""`ivg convert`: Hugging Face folders as GGUF files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ivg._cli_common import Failure, reporting, write

if TYPE_CHECKING:
    from ivg.convert import FolderKind


class TypeName(str, Enum):
    """Types of matrices, for typer."""

    auto = "auto"
    f32 = "f32"
    f16 = "f16"
    bf16 = "bf16"


def convert(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A Hugging Face folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The GGUF file to write.", show_default=False)],
    type_name: Annotated[
        TypeName, typer.Option("--type", help="Type of the matrices; auto: the one they have. Vectors are F32.")
    ] = TypeName.auto,
    base: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER_OR_GGUF", help="The model that an adapter is for.", show_default=False),
    ] = None,
    head_out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Where a value model's head goes; else beside OUT.", show_default=False),
    ] = None,
    pre: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="How text is cut into words, if tokenizer.json is not recognised."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Make a GGUF file of a Hugging Face folder: a model, a PEFT LoRA adapter, or a value model.

    A value model becomes two files: its trunk, OUT, and its head, by default OUT with -head before .gguf. Nothing in
    the folder is executed. Needs pip install 'ivg[convert]'.
    """
    with reporting():
        try:
            import ivg.convert as converting
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("ivg"):
                raise
            raise Failure(f"{error.name} is missing: pip install 'ivg[convert]'") from None
        kind = converting.folder_kind(folder)
        _check_options(kind, base, head_out, pre)
        written = [out]
        with _progress(out.name) as progress:
            if kind == "adapter":
                converting.convert_adapter(folder, out, base=base, type=type_name.value, force=force, progress=progress)
            elif kind == "model":
                converting.convert_model(folder, out, type=type_name.value, pre=pre, force=force, progress=progress)
            else:
                written.append(head_out or converting.default_head_path(out))
                converting.convert_value_model(
                    folder, out, head_out, type=type_name.value, pre=pre, force=force, progress=progress
                )
        for path in written:
            write(f"{path}\t{path.stat().st_size:,} bytes\n")


def _check_options(kind: FolderKind, base: Path | None, head_out: Path | None, pre: str | None) -> None:
    """Options that mean nothing for what the folder holds are mistakes."""
    name = kind.replace("_", " ")
    if base is not None and kind != "adapter":
        raise Failure(f"--base is for adapters; the folder holds a {name}")
    if head_out is not None and kind != "value_model":
        raise Failure(f"--head-out is for value models; the folder holds a {name}")
    if pre is not None and kind == "adapter":
        raise Failure("--pre is for models; the folder holds an adapter")


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=None)
        yield lambda name, done, total: bars.update(task, completed=done, total=total)
