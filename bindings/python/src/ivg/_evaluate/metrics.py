"""The figures of the table, from generations."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .._errors import InvalidArgumentError
from .methods import Method, SearchOptions


class Interval(NamedTuple):
    """A mean and where it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> Interval:
    """The mean with its 95 % percentile bootstrap interval (Efron 1979): values are drawn again with replacement."""
    if not values:
        raise InvalidArgumentError("no values to take a mean of")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean, mean, mean)
    drawn = random.Random(seed)
    count = len(values)
    means = [sum(drawn.choices(values, k=count)) / count for _ in range(resamples)]
    cuts = statistics.quantiles(means, n=40, method="inclusive")
    return Interval(mean, cuts[0], cuts[-1])


def differences(values: Mapping[str, float], others: Mapping[str, float]) -> list[float]:
    """`values` minus `others` on the prompts that both have."""
    return [value - others[key] for key, value in values.items() if key in others]


def win_rate(gaps: Sequence[float]) -> float:
    """How often a gap is positive; ties count half."""
    return sum(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in gaps) / len(gaps)


def distinct(texts: Iterable[str], length: int) -> float:
    """Distinct-n (Li et al. 2016): different n-grams of words over all n-grams, of all texts together."""
    grams = []
    for text in texts:
        words = text.split()
        grams += [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def perplexity(log_probabilities: Iterable[float], token_counts: Iterable[int]) -> float:
    """exp of the mean negative log-probability of all tokens under the base at temperature 1."""
    count = sum(token_counts)
    return math.exp(-sum(log_probabilities) / count) if count else math.nan


def selection_bound(method: Method, search: SearchOptions, token_count: int) -> float:
    """An upper bound of the KL divergence that selecting adds to the distribution that rows are drawn from.

    Best of N: log N - (N - 1) / N (Beirami et al. 2401.01879). Chunk-level beam search with W = 1 is best
    of K on each of its C chunks, so that C times that bounds it by the chain rule; with one chunk it is best of W * K.
    In general the text that is kept came by one of at most W * K ** C lineages of rows, each of which brings it
    with the probability of plain sampling, so that log W + C log K bounds the log-ratio of every text.
    """
    if method.search is None:
        return 0.0
    if method.search == "best of":
        return _best_of(search.best_of)
    chunks = max(1, math.ceil(token_count / search.chunk)) if search.chunk else 1
    if chunks == 1:
        return _best_of(search.width * search.successors)
    if search.width == 1:
        return chunks * _best_of(search.successors)
    return math.log(search.width) + chunks * math.log(search.successors)


def _best_of(count: int) -> float:
    return math.log(count) - (count - 1) / count
