"""Rewards of texts: by a function, by a value head, or by a command that is kept running."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ._errors import CallbackError
from ._guidance import Explicit, Guidance, Implicit, Scorer
from ._model import Model, ValueHead
from ._scorer_command import CommandScorer
from ._session import Session

#: What can say how good texts are. A function gets `(prompt, texts)` and returns one number for each text.
RewardSource = (
    Callable[[str, list[str]], Iterable[float]] | CommandScorer | Guidance | ValueHead | Explicit | Implicit | Scorer
)


class Answer(NamedTuple):
    """A text that is to be rewarded."""

    prompt: str
    text: str
    #: It came to its end, and was not cut off at its greatest length.
    ended: bool


def rewards(source: RewardSource, answers: Sequence[Answer], model: Model | Session | None = None) -> list[float]:
    """The reward of each answer.

    model: for guidances that name no model of their own, the one whose session does the work.
    """
    if not answers:
        return []
    if isinstance(source, CommandScorer):
        return source.rewards([(answer.prompt, answer.text) for answer in answers])
    found = [0.0] * len(answers)
    order = sorted(range(len(answers)), key=lambda i: (answers[i].prompt, answers[i].ended))
    for (prompt, ended), group in itertools.groupby(order, key=lambda i: (answers[i].prompt, answers[i].ended)):
        rows = list(group)
        texts = [answers[i].text for i in rows]
        for i, value in zip(rows, _of_one_prompt(source, prompt, texts, ended, model), strict=True):
            found[i] = value
    return found


def _of_one_prompt(
    source: RewardSource, prompt: str, texts: list[str], ended: bool, model: Model | Session | None
) -> list[float]:
    """Rewards of several answers to one prompt. A head sees its end token only after answers that ended."""
    if isinstance(source, ValueHead):
        values = source.model.score(source, prompt, texts, ended=ended)
    elif isinstance(source, Explicit):
        values = source.head.model.score(source, prompt, texts, ended=ended)
    elif isinstance(source, Guidance | Implicit):
        if model is None:
            raise TypeError(f"an ivg.{type(source).__name__} needs a model to score with")
        values = model.score(source, prompt, texts, ended=ended)
    elif isinstance(source, Scorer):
        extra = ([ended] * len(texts),) if source.with_finished else ()
        values = [source.weight * float(value) for value in source.function(prompt, texts, *extra)]
    elif callable(source):
        values = [float(value) for value in source(prompt, texts)]
    else:
        raise TypeError(f"cannot reward by {type(source).__name__}: pass a function or an ivg.ValueHead")
    if len(values) != len(texts):
        raise CallbackError(f"the scorer returned {len(values)} numbers for {len(texts)} texts")
    for value in values:
        if not math.isfinite(value):
            raise CallbackError(f"the scorer returned {value}, which is not a finite number")
    return values
