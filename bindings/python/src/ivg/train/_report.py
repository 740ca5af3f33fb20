"""What training reports."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from .. import _bindings as c

ReportKind = Literal["prepare", "train", "evaluate"]

_KINDS: dict[int, ReportKind] = {
    c.IVG_REPORT_PREPARE: "prepare",
    c.IVG_REPORT_TRAIN: "train",
    c.IVG_REPORT_EVALUATE: "evaluate",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One piece of work. None stands for figures that the objective, or the piece, does not have."""

    #: "prepare": reference log-probabilities or hidden states of some lines; "train": one step of the optimiser;
    #: "evaluate": the whole evaluation split.
    kind: ReportKind
    #: Steps so far, and of the whole run.
    step: int
    step_count: int
    #: Passes over the data so far.
    epoch: float
    loss: float | None
    learning_rate: float | None
    #: Before clipping.
    gradient_norm: float | None
    #: Share of pairs in which chosen is above rejected; of a `ValueModel`, of evaluated lines whose values are
    #: ordered as their rewards.
    accuracy: float | None
    #: Mean distance of chosen above rejected: beta times the log-ratio, or the reward.
    margin: float | None
    #: Means of the same for chosen and rejected alone.
    chosen: float | None
    rejected: float | None
    #: Of an evaluation with an adapter: KL divergence of a token from the model that it starts from.
    kl: float | None
    #: Of a `ValueModel`'s evaluation: between the last value and the reward.
    correlation: float | None
    #: Tokens that went through the model.
    token_count: int
    tokens_per_second: float
    seconds: float
    #: Of the phase at hand: lines prepared, or steps made.
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A line of data that cannot be used and was left out."""

    #: 1 is the first.
    line: int
    reason: str
    #: Whether it is a line of the evaluation file.
    evaluation: bool


@dataclass(frozen=True, slots=True)
class TrainerInfo:
    """What a trainer trains with."""

    #: Usable lines that are trained on, and that are evaluated.
    example_count: int
    evaluation_count: int
    #: Lines that were left out; `Trainer.problems` describes the first thousand of each file.
    problem_count: int
    #: Trained numbers.
    parameter_count: int
    #: Steps of the whole run, and those that the checkpoint brought along.
    step_count: int
    resumed_step: int
    #: Layers whose activations stay in memory; those of the others are computed twice.
    kept_layers: int
    #: Bytes beside the mapped file.
    memory: int


_NAMES = tuple(field.name for field in dataclasses.fields(Report) if field.name != "kind")


def read_report(raw: c.ivg_trainer_report) -> Report:
    """The report of a successful call."""
    figures: dict[str, Any] = {}
    for name in _NAMES:
        value = getattr(raw, name)
        figures[name] = None if isinstance(value, float) and math.isnan(value) else value
    return Report(kind=_KINDS[raw.kind], **figures)
