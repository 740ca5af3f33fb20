"""How to train."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from .. import _bindings as c
from .._errors import InvalidArgumentError
from .._library import encode_string
from .._model import PathLike, _path
from .._sampling import unsigned
from ._data import Data, DataFiles

_PROJECTIONS = {
    "q": c.IVG_PROJECTION_QUERY,
    "k": c.IVG_PROJECTION_KEY,
    "v": c.IVG_PROJECTION_VALUE,
    "o": c.IVG_PROJECTION_OUTPUT,
    "gate": c.IVG_PROJECTION_GATE,
    "up": c.IVG_PROJECTION_UP,
    "down": c.IVG_PROJECTION_DOWN,
}
_LONG_NAMES = {"query": "q", "key": "k", "value": "v", "output": "o"}


class TrainingKeywords(TypedDict, total=False):
    """The keyword arguments of all trainers: the fields of `TrainingOptions`."""

    evaluation: Data | float | None
    start: PathLike | None
    checkpoint: PathLike | None
    prompt_template: str | None
    epochs: float
    max_steps: int | None
    batch_size: int
    max_tokens: int | None
    max_prompt_tokens: int | None
    end_token: bool
    strict: bool
    rank: int
    alpha: float | None
    dropout: float
    projections: Iterable[str] | None
    learning_rate: float | None
    constant_rate: bool
    warmup_fraction: float
    weight_decay: float
    beta1: float
    beta2: float
    clip_norm: float | None
    evaluate_every: int | None
    patience: int | None
    checkpoint_every: int
    seed: int
    threads: int | None
    memory_budget: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What all trainers have in common."""

    #: What is not trained on but measured: a file, records, or a share of the data, such as 0.1.
    evaluation: Data | float | None = None
    #: An adapter, or a value head, to begin with; None: the model itself.
    start: PathLike | None = None
    #: Written while training, and resumed from if it is there.
    checkpoint: PathLike | None = None
    #: Text with "{prompt}" in it, as at inference; None: the bare prompt.
    prompt_template: str | None = None
    #: Passes over the data.
    epochs: float = 1.0
    #: End earlier.
    max_steps: int | None = None
    #: Lines a step.
    batch_size: int = 16
    #: Of prompt and completion, which loses its end; None: 512, or the model's context if that is less.
    max_tokens: int | None = None
    #: Longer prompts lose their beginning; None: half of `max_tokens`.
    max_prompt_tokens: int | None = None
    #: Whether completions are followed by the end token; False: they may have gone on.
    end_token: bool = True
    #: A line that cannot be used is an error, instead of one of `Trainer.problems`.
    strict: bool = False
    #: Of a new adapter.
    rank: int = 8
    #: The adapter's scale is `alpha / rank`; None: twice the rank.
    alpha: float | None = None
    #: Share of the adapter's inputs that are dropped while training.
    dropout: float = 0.0
    #: Which products a new adapter changes: names among q, k, v, o, gate, up, down; None: all.
    projections: Iterable[str] | None = None
    #: None: 5e-4 with an adapter, 1e-3 for a head alone.
    learning_rate: float | None = None
    #: The rate stays after its warm-up, instead of falling to 0 as a cosine.
    constant_rate: bool = False
    #: Share of all steps in which the rate rises; 0: none.
    warmup_fraction: float = 0.1
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    #: Longer gradients are shortened to this; None: none are.
    clip_norm: float | None = 1.0
    #: Steps between evaluations; None: at the end of each epoch.
    evaluate_every: int | None = None
    #: End after so many evaluations without a better loss, and save the best; None: never.
    patience: int | None = None
    #: Steps between checkpoints.
    checkpoint_every: int = 50
    #: The same seed gives the same file.
    seed: int = 0
    #: Processors to use; None: those this process may use.
    threads: int | None = None
    #: Bytes beside the mapped file; None: 1 GiB.
    memory_budget: int | None = None

    def replace(self, changes: TrainingKeywords) -> TrainingOptions:
        """The same options with some changed; `changes` has the new values by name."""
        return dataclasses.replace(self, **changes) if changes else self


def _given(value: float | None, name: str) -> float:
    """`value` for a field whose zero would be its default, which nobody means who writes 0."""
    if value is None:
        return 0
    if value == 0:
        raise InvalidArgumentError(f"{name} is 0; it must be greater")
    return value


def _flags(options: TrainingOptions) -> int:
    flags = 0 if options.end_token else c.IVG_TRAINER_NO_END_TOKEN
    flags |= c.IVG_TRAINER_STRICT if options.strict else 0
    return flags | (c.IVG_TRAINER_CONSTANT_RATE if options.constant_rate else 0)


def _projections(names: Iterable[str] | None) -> int:
    if names is None:
        return 0
    bits = 0
    for name in [names] if isinstance(names, str) else names:
        short = _LONG_NAMES.get(name, name)
        if short not in _PROJECTIONS:
            raise InvalidArgumentError(f"there is no projection {name!r}; they are {', '.join(_PROJECTIONS)}")
        bits |= _PROJECTIONS[short]
    if not bits:
        raise InvalidArgumentError("projections names none")
    return bits


def _optional_path(path: PathLike | None) -> bytes | None:
    return None if path is None else _path(path)


def native_options(options: TrainingOptions, data: Data, files: DataFiles, **own: Any) -> c.ivg_trainer_options:
    """The C form of the options; `own` are the fields of one objective. Records are written to `files`."""
    fraction, evaluation = 0.0, None
    if isinstance(options.evaluation, int | float):
        fraction = options.evaluation
    elif options.evaluation is not None:
        evaluation = files.path(options.evaluation)
    return c.ivg_trainer_options(
        struct_size=ctypes.sizeof(c.ivg_trainer_options),
        flags=own.pop("flags", 0) | _flags(options),
        evaluation_path=evaluation,
        evaluation_fraction=fraction,
        start_path=_optional_path(options.start),
        checkpoint_path=_optional_path(options.checkpoint),
        prompt_template=encode_string(options.prompt_template, "prompt_template"),
        **_sizes(options),
        **_numbers(options),
        projections=_projections(options.projections),
        **own,
        data_path=files.path(data),
    )


def _sizes(options: TrainingOptions) -> dict[str, int]:
    """Whole numbers. None is zero, the library's default."""
    fields = {
        "batch_size": unsigned(options.batch_size, 32, "batch_size", least=1),
        "rank": unsigned(options.rank, 32, "rank", least=1),
        "checkpoint_every": unsigned(options.checkpoint_every, 32, "checkpoint_every", least=1),
        "thread_count": unsigned(options.threads or 0, 32, "threads"),
        "max_steps": unsigned(options.max_steps or 0, 64, "max_steps"),
        "seed": unsigned(options.seed, 64, "seed"),
        "memory_budget": unsigned(options.memory_budget or 0, 64, "memory_budget"),
    }
    for name in ("max_tokens", "max_prompt_tokens", "evaluate_every", "patience"):
        fields[name] = unsigned(getattr(options, name) or 0, 32, name)
    return fields


def _numbers(options: TrainingOptions) -> dict[str, float]:
    """Other numbers: where the library's zero is its default, its "none" is negative."""
    return {
        "epochs": _given(options.epochs, "epochs"),
        "alpha": _given(options.alpha, "alpha"),
        "dropout": options.dropout,
        "learning_rate": _given(options.learning_rate, "learning_rate"),
        "warmup_fraction": -1 if options.warmup_fraction == 0 else options.warmup_fraction,
        "weight_decay": options.weight_decay,
        "beta1": _given(options.beta1, "beta1"),
        "beta2": _given(options.beta2, "beta2"),
        "clip_norm": options.clip_norm or -1,
    }
