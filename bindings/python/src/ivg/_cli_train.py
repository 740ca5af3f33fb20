"""`ivg train`: adapters and value heads from data."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

import ivg
from ivg._cli_common import ModelFile
from ivg._cli_train_options import CommonOptions, DataFile, HeadOnly, with_common_options
from ivg._cli_train_run import run_training

train = typer.Typer(
    name="train",
    help="Train adapters and value heads for MODEL, on the CPU.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class PreferenceLossName(str, Enum):
    """Losses of `ivg train dpo`, for typer."""

    sigmoid = "sigmoid"
    robust = "robust"
    ipo = "ipo"


class ValueLossName(str, Enum):
    """Losses of `ivg train value`, for typer."""

    regression = "regression"
    classify = "classify"
    cdq = "cdq"


class HeadName(str, Enum):
    """Kinds of value heads, for typer."""

    scalar = "scalar"
    vocabulary = "vocabulary"


@train.command()
@with_common_options
def sft(model: ModelFile, data: DataFile, *, common: CommonOptions) -> None:
    """Train an adapter that makes completions more probable.

    DATA has lines of {"prompt", "completion"}, {"messages"}, {"text"}, or {"prompt", "chosen", "rejected"}, of which
    both answers are learned. Interrupted, the same command goes on where it was.
    """
    run_training(lambda opened, options: ivg.train.SFT(opened, data, options=options), model, data, common)


@train.command()
@with_common_options
def dpo(
    model: ModelFile,
    data: DataFile,
    *,
    loss: Annotated[PreferenceLossName, typer.Option(help="What is minimised.")] = PreferenceLossName.sigmoid,
    beta: Annotated[float, typer.Option(help="How dear it is to leave the start.")] = 0.1,
    label_smoothing: Annotated[float, typer.Option(help="Share of labels that are thought to be wrong.")] = 0.0,
    common: CommonOptions,
) -> None:
    """Train an adapter that prefers the chosen answers (DPO).

    DATA has lines of {"prompt", "chosen", "rejected"}. Interrupted, the same command goes on where it was.
    """
    run_training(
        lambda opened, options: ivg.train.DPO(
            opened, data, loss=loss.value, beta=beta, label_smoothing=label_smoothing, options=options
        ),
        model,
        data,
        common,
    )


@train.command()
@with_common_options
def reward(model: ModelFile, data: DataFile, *, head_only: HeadOnly = False, common: CommonOptions) -> None:
    """Train a value head that scores whole answers (Bradley-Terry).

    DATA has lines of {"prompt", "chosen", "rejected"}. Interrupted, the same command goes on where it was.
    """
    run_training(
        lambda opened, options: ivg.train.RewardModel(opened, data, head_only=head_only, options=options),
        model,
        data,
        common,
    )


@train.command()
@with_common_options
def value(
    model: ModelFile,
    data: DataFile,
    *,
    loss: Annotated[ValueLossName, typer.Option(help="What is minimised.")] = ValueLossName.regression,
    head: Annotated[HeadName, typer.Option(help="One output, or one for every token.")] = HeadName.scalar,
    head_only: HeadOnly = False,
    common: CommonOptions,
) -> None:
    """Train a value head that scores every beginning of an answer (FUDGE, CD-Q).

    DATA has lines of {"prompt", "completion", "reward"}. Interrupted, the same command goes on where it was.
    """
    run_training(
        lambda opened, options: ivg.train.ValueModel(
            opened, data, loss=loss.value, head=head.value, head_only=head_only, options=options
        ),
        model,
        data,
        common,
    )
