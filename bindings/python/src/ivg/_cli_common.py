"""What the commands of `ivg` share: their options, their errors, their output."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

import ivg


class RoleName(str, Enum):
    """Roles, for typer."""

    tilt = "tilt"
    score = "score"
    both = "both"


# Types of options that several commands share. typer needs Optional where it runs on Python 3.10.
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A GGUF model file.", show_default=False)]
Prompt = Annotated[
    str, typer.Option("--prompt", "-p", help="Raw text; special tokens in it are parsed.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Threads = Annotated[int, typer.Option(min=0, help="Processors to use; 0: those this process may use.")]
Budget = Annotated[int, typer.Option(min=0, help="Bytes beside the mapped file; 0: three quarters of the memory.")]
ContextLength = Annotated[int, typer.Option(min=0, help="Tokens a text may hold; 0: the model's.")]
Tuned = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="The tuned guide: a model, or an adapter for MODEL."),
]
TunedPrompt = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="TEXT", help="What the tuned guide reads; {prompt} in it, or else the prompt follows it."),
]
Untuned = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="The untuned guide; without one, MODEL's own row."),
]
UntunedPrompt = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="TEXT", help="What the untuned guide reads."),
]
Weight = Annotated[float, typer.Option(help="Strength of the implicit value, or of --value if it is alone.")]
Value = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="A value head for MODEL."),
]
GuideTemplate = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="T", help="Prompt template of the guides, with {prompt}; without one, the bare prompt."),
]
TunedRole = Annotated[
    Optional[RoleName],  # noqa: UP045
    typer.Option(help="What --tuned does, if not the usual."),
]
Nudger = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Nudging: a small tuned model, or an adapter for MODEL."),
]
Threshold = Annotated[float, typer.Option(min=0, help="MODEL is nudged where its best token is less probable.")]
Burst = Annotated[int, typer.Option(min=1, help="Tokens that MODEL or its nudger draws at a time.")]
NudgerTemplate = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="T", help="Prompt template of --nudger; without one, its chat template."),
]
NudgerSystem = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="TEXT", help="System text in the chat template of --nudger."),
]
BaseSystem = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="TEXT", help="With --nudger: text that MODEL reads on a line before the prompt."),
]
ValueRole = Annotated[
    Optional[RoleName],  # noqa: UP045
    typer.Option(help="What --value does, if not the usual."),
]


class Failure(Exception):
    """A mistake of the user that only shows when files are looked into."""


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Errors become one line and exit status 1, Ctrl-C exit status 130."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed at exit
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (ivg.Error, Failure, OSError, MemoryError, ValueError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"ivg: {message}", file=sys.stderr)
        raise typer.Exit(1) from None


def write(data: str | bytes) -> None:
    """Writes to standard output: text as UTF-8, whatever the locale says."""
    sys.stdout.buffer.write(data.encode("utf-8", "replace") if isinstance(data, str) else data)
    sys.stdout.buffer.flush()


def write_json(value: Any) -> None:
    """Writes one JSON value."""
    write(json.dumps(_plain(value), ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def guide_of(model: ivg.Model, path: Path, option: str) -> ivg.Model | ivg.Adapter:
    """A guide from a file: a model, or an adapter for MODEL."""
    with ivg.File(path) as file:
        kind = file.kind
    if kind == "value_head":
        raise Failure(f"{option}: {path} is a value head; pass it as --value")
    return model.adapter(path) if kind == "adapter" else ivg.Model(path)


def head_of(model: ivg.Model, path: Path, option: str) -> ivg.ValueHead:
    """A value head from a file."""
    with ivg.File(path) as file:
        kind = file.kind
    if kind == "adapter":
        raise Failure(f"{option}: {path} is an adapter; pass it as --tuned")
    return model.value_head(path)


def following(text: str | None) -> str | None:
    """A template from TEXT: the prompt follows it, if {prompt} is not in it."""
    return text if text is None or "{prompt}" in text else text + "{prompt}"


def implicit_value(
    model: ivg.Model,
    tuned: Path | None,
    tuned_prompt: str | None,
    untuned: Path | None,
    untuned_prompt: str | None,
    guide_template: str | None,
    weight: float,
    role: RoleName | None,
) -> ivg.Implicit | None:
    if tuned is None and tuned_prompt is None and untuned is None and untuned_prompt is None:
        return None
    return ivg.Implicit(
        tuned=None if tuned is None else guide_of(model, tuned, "--tuned"),
        untuned=None if untuned is None else guide_of(model, untuned, "--untuned"),
        weight=weight,
        role=role.value if role is not None else None,
        template=guide_template,
        tuned_template=following(tuned_prompt),
        untuned_template=following(untuned_prompt),
    )


def nudging_by(
    model: ivg.Model,
    nudger: Path | None,
    threshold: float,
    burst: int,
    nudger_template: str | None,
    nudger_system: str | None,
    base_system: str | None,
) -> ivg.Nudging | None:
    if nudger is None:
        if nudger_template is not None or nudger_system is not None or base_system is not None:
            raise Failure("--nudger-template, --nudger-system and --base-system belong to --nudger")
        return None
    return ivg.Nudging(
        guide_of(model, nudger, "--nudger"),
        threshold=threshold,
        burst=burst,
        nudger_template=nudger_template,
        nudger_system=nudger_system,
        base_system=base_system,
    )


def colored(step: ivg.Step, is_terminal: bool) -> str:
    """A step's text, on a terminal in colour where a nudger wrote it."""
    return f"\x1b[36m{step.text}\x1b[39m" if is_terminal and step.nudged and step.text else step.text


def explicit_value(
    model: ivg.Model, value: Path | None, guide_template: str | None, weight: float, role: RoleName | None
) -> ivg.Explicit | None:
    if value is None:
        return None
    return ivg.Explicit(
        head_of(model, value, "--value"),
        weight=weight,
        role=role.value if role is not None else None,
        template=guide_template,
    )
