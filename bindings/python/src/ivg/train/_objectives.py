"""What is minimised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .. import _bindings as c
from .._errors import InvalidArgumentError
from .._model import Model
from ._data import Data
from ._options import TrainingOptions, _given
from ._trainer import Trainer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import TrainingKeywords

PreferenceLoss = Literal["sigmoid", "robust", "ipo"]
ValueLoss = Literal["regression", "classify", "cdq"]
HeadKind = Literal["scalar", "vocabulary"]

_PREFERENCE_LOSSES = {"sigmoid": c.IVG_LOSS_SIGMOID, "robust": c.IVG_LOSS_ROBUST, "ipo": c.IVG_LOSS_IPO}
_VALUE_LOSSES = {"regression": c.IVG_LOSS_REGRESSION, "classify": c.IVG_LOSS_CLASSIFY, "cdq": c.IVG_LOSS_CDQ}
_HEADS = {"scalar": 0, "vocabulary": c.IVG_TRAINER_VOCABULARY_HEAD}


def _named(table: dict[str, int], name: str, what: str) -> int:
    if name not in table:
        raise InvalidArgumentError(f"there is no {what} {name!r}; there are {', '.join(table)}")
    return table[name]


def _chosen(options: TrainingOptions | None, keywords: TrainingKeywords) -> TrainingOptions:
    return (options or TrainingOptions()).replace(keywords)


class SFT(Trainer):
    """Supervised tuning: an adapter that makes the completions of the data more probable.

        ivg.train.SFT(model, "reviews.jsonl", epochs=1, learning_rate=2e-4)

    It is what the untuned guide of a preference should be: tuned on both answers alike. Further keywords are the
    fields of `TrainingOptions`, which `options=` gives many at once.
    """

    def __init__(
        self, model: Model, data: Data, *, options: TrainingOptions | None = None, **keywords: Unpack[TrainingKeywords]
    ) -> None:
        super().__init__(model, data, _chosen(options, keywords), objective=c.IVG_OBJECTIVE_SUPERVISED)


class DPO(Trainer):
    """Preference tuning: an adapter that prefers chosen over rejected, compared with where it starts.

        ivg.train.DPO(model, "pairs.jsonl", start="untuned-sft.gguf", evaluation=0.1, beta=0.1)

    loss: "sigmoid" is DPO, with `label_smoothing` its conservative variant; "robust" is unbiased when that share of
    the labels is wrong; "ipo" aims at a log-ratio a token of 1 / (2 beta).
    beta: how dear it is to leave the start.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        *,
        loss: PreferenceLoss = "sigmoid",
        beta: float = 0.1,
        label_smoothing: float = 0.0,
        options: TrainingOptions | None = None,
        **keywords: Unpack[TrainingKeywords],
    ) -> None:
        super().__init__(
            model,
            data,
            _chosen(options, keywords),
            objective=c.IVG_OBJECTIVE_PREFERENCE,
            loss=_named(_PREFERENCE_LOSSES, loss, "loss"),
            beta=_given(beta, "beta"),
            label_smoothing=label_smoothing,
        )


class RewardModel(Trainer):
    """A scalar head on the last token that scores chosen above rejected (Bradley-Terry).

        ivg.train.RewardModel(model, "pairs.jsonl", head_only=True)

    head_only: no adapter beside the head. Then hidden states are computed once, which takes minutes.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        *,
        head_only: bool = False,
        options: TrainingOptions | None = None,
        **keywords: Unpack[TrainingKeywords],
    ) -> None:
        super().__init__(
            model,
            data,
            _chosen(options, keywords),
            objective=c.IVG_OBJECTIVE_REWARD,
            flags=c.IVG_TRAINER_HEAD_ONLY if head_only else 0,
        )


class ValueModel(Trainer):
    """A head that values every beginning of an answer by the reward of the whole.

        ivg.train.ValueModel(model, "scored.jsonl", loss="regression", head="vocabulary")

    loss: "regression" of every prefix to the reward, "classify" with rewards within 0 ... 1 (both FUDGE), or "cdq",
    which learns the expected value of the next token.
    head: one output ("scalar"), or one for every token that may follow ("vocabulary"): then a token is valued before
    it is drawn.
    head_only: no adapter beside the head. Then hidden states are computed once, which takes minutes.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        *,
        loss: ValueLoss = "regression",
        head: HeadKind = "scalar",
        head_only: bool = False,
        options: TrainingOptions | None = None,
        **keywords: Unpack[TrainingKeywords],
    ) -> None:
        super().__init__(
            model,
            data,
            _chosen(options, keywords),
            objective=c.IVG_OBJECTIVE_VALUE,
            loss=_named(_VALUE_LOSSES, loss, "loss"),
            flags=_named(_HEADS, head, "head") | (c.IVG_TRAINER_HEAD_ONLY if head_only else 0),
        )
