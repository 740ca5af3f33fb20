"""The options that the commands of `ivg train` share."""
# ruff: noqa: UP045  typer needs Optional where it runs on Python 3.10

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional, get_type_hints

import typer

import ivg
from ivg._cli_common import Json, Threads

DataFile = Annotated[Path, typer.Argument(metavar="DATA", help="JSON Lines.", show_default=False)]
HeadOnly = Annotated[
    bool, typer.Option("--head-only", help="Train no adapter beside the head: hidden states are computed once.")
]


def _file(text: str) -> Any:
    return typer.Option(metavar="FILE", help=text, show_default=False)


def _number(text: str, least: float | None = None) -> Any:
    return typer.Option(min=least, help=text)


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What typer finds in every command of `ivg train`."""

    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.", show_default=False)
    ]
    evaluation: Annotated[
        Optional[str], typer.Option(metavar="FILE|SHARE", help="Measure on this file, or on a share of DATA like 0.1.")
    ] = None
    start: Annotated[Optional[Path], _file("An adapter or value head to begin with.")] = None
    template: Annotated[
        Optional[str], typer.Option(metavar="T", help="Prompt template, with {prompt}; without one, the bare prompt.")
    ] = None
    epochs: Annotated[float, _number("Passes over the data.")] = 1.0
    max_steps: Annotated[int, _number("End earlier; 0: as --epochs says.", 0)] = 0
    batch_size: Annotated[int, _number("Lines a step.", 1)] = 16
    max_tokens: Annotated[
        int, _number("Of prompt and completion, which loses its end; 0: 512, or the context if that is less.", 0)
    ] = 0
    max_prompt_tokens: Annotated[int, _number("Longer prompts lose their beginning; 0: half of --max-tokens.", 0)] = 0
    no_end_token: Annotated[
        bool, typer.Option("--no-end-token", help="Completions may have gone on: no end token after them.")
    ] = False
    strict: Annotated[bool, typer.Option("--strict", help="A line that cannot be used is an error.")] = False
    rank: Annotated[int, _number("Of a new adapter.", 1)] = 8
    alpha: Annotated[float, _number("The adapter's scale is alpha / rank; 0: twice the rank.", 0)] = 0.0
    dropout: Annotated[float, _number("Share of the adapter's inputs that are dropped while training.")] = 0.0
    projections: Annotated[str, typer.Option(metavar="LIST", help="What a new adapter changes.")] = (
        "q,k,v,o,gate,up,down"
    )
    learning_rate: Annotated[float, _number("0: 5e-4 with an adapter, 1e-3 for a head alone.", 0)] = 0.0
    constant_rate: Annotated[
        bool, typer.Option("--constant-rate", help="The rate stays after its warm-up, instead of falling to 0.")
    ] = False
    warmup: Annotated[float, _number("Share of all steps in which the rate rises.", 0)] = 0.1
    weight_decay: Annotated[float, _number("Of AdamW.")] = 0.0
    clip_norm: Annotated[float, _number("Longer gradients are shortened to this; 0: none are.", 0)] = 1.0
    evaluate_every: Annotated[int, _number("Steps between evaluations; 0: at the end of each epoch.", 0)] = 0
    patience: Annotated[
        int, _number("End after so many evaluations without a better loss, and keep the best; 0: never.", 0)
    ] = 0
    seed: Annotated[int, _number("The same seed gives the same file.", 0)] = 0
    threads: Threads = 0
    memory_budget: Annotated[int, _number("Bytes beside the mapped file; 0: 1 GiB.", 0)] = 0
    checkpoint: Annotated[Optional[Path], _file("Goes on from here if it is there; else OUT.checkpoint.")] = None
    checkpoint_every: Annotated[int, _number("Steps between checkpoints.", 1)] = 50
    keep_checkpoint: Annotated[
        bool, typer.Option("--keep-checkpoint", help="Leave the checkpoint when the result is written.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Start anew, even if there is a checkpoint.")] = False
    log: Annotated[Optional[Path], _file("A log as JSON Lines, for ivg plot.")] = None
    report_every: Annotated[int, _number("Steps between lines, where the output is no terminal.", 1)] = 10
    as_json: Json = False

    @property
    def checkpoint_path(self) -> Path:
        """Where the checkpoint is."""
        return self.checkpoint or self.output.with_suffix(".checkpoint")

    def training_options(self) -> ivg.train.TrainingOptions:
        """The same for `ivg.train`."""
        return ivg.train.TrainingOptions(
            evaluation=_share(self.evaluation),
            start=self.start,
            checkpoint=self.checkpoint_path,
            prompt_template=self.template,
            epochs=self.epochs,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
            max_tokens=self.max_tokens,
            max_prompt_tokens=self.max_prompt_tokens,
            end_token=not self.no_end_token,
            strict=self.strict,
            rank=self.rank,
            alpha=self.alpha or None,
            dropout=self.dropout,
            projections=[name.strip() for name in self.projections.split(",") if name.strip()],
            learning_rate=self.learning_rate or None,
            constant_rate=self.constant_rate,
            warmup_fraction=self.warmup,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm or None,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
            checkpoint_every=self.checkpoint_every,
            seed=self.seed,
            threads=self.threads,
            memory_budget=self.memory_budget,
        )


def _share(text: str | None) -> str | float | None:
    """A share of the data, or a path."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the common options: typer sees them in its signature, the command gets them as `common`."""
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "common"]
    hints = get_type_hints(CommonOptions, include_extras=True)
    common = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(CommonOptions)
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + common

    def command(**values: Any) -> None:
        shared = CommonOptions(**{parameter.name: values.pop(parameter.name) for parameter in common})
        function(common=shared, **values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command
