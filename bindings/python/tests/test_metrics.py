"""The figures of an evaluation, against numpy and by hand."""

from __future__ import annotations

import itertools
import math
import random

import numpy
import pytest

import ivg
from ivg._evaluate.methods import METHODS
from ivg._evaluate.metrics import bootstrap, differences, distinct, perplexity, selection_bound, win_rate


def test_the_bootstrap_is_numpy_s() -> None:
    """The same draws with numpy's quantiles, and numpy's own draws."""
    drawn = random.Random(1)
    values = [drawn.gauss(2, 3) for _ in range(60)]
    found = bootstrap(values, seed=7, resamples=2000)
    assert found.mean == pytest.approx(numpy.mean(values))
    again = random.Random(7)
    means = [numpy.mean(again.choices(values, k=60)) for _ in range(2000)]
    assert (found.low, found.high) == pytest.approx(tuple(numpy.quantile(means, [0.025, 0.975])))
    rows = numpy.random.default_rng(3).choice(values, size=(20_000, 60)).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(tuple(numpy.quantile(rows, [0.025, 0.975])), abs=0.08)
    assert found == bootstrap(values, seed=7, resamples=2000)
    assert bootstrap([3.0]) == (3, 3, 3)
    with pytest.raises(ivg.InvalidArgumentError):
        bootstrap([])


def test_the_bootstrap_covers() -> None:
    """Of 95 % intervals about 95 % hold the truth: fewer with 40 values, but neither 85 % nor all."""
    drawn = random.Random(3)
    intervals = [bootstrap([drawn.gauss(1, 1) for _ in range(40)], i, 200) for i in range(300)]
    assert 0.88 < sum(some.low <= 1 <= some.high for some in intervals) / 300 < 0.99


def test_distinct() -> None:
    texts = ["a b a b", "a c"]
    assert distinct(texts, 1) == 3 / 6
    assert distinct(texts, 2) == 3 / 4  # ab ba ab, ac
    assert distinct(["a"], 2) == 0
    assert distinct(["a b", "b c"], 2) == 1  # none across texts


def test_win_rate_and_differences() -> None:
    assert win_rate([1.0, -1.0, 0.0, 2.0]) == 2.5 / 4
    assert differences({"a": 3.0, "b": 1.0, "c": 9.0}, {"a": 1.0, "b": 2.0, "d": 0.0}) == [2.0, -1.0]


def test_perplexity() -> None:
    half, quarter = math.log(1 / 2), math.log(1 / 4)
    assert perplexity([4 * half, 2 * quarter], [4, 2]) == pytest.approx(
        math.exp((4 * math.log(2) + 2 * math.log(4)) / 6)
    )
    assert math.isnan(perplexity([], []))


def divergence(width: int, successors: int, chunks: int, chance: float) -> float:
    """KL of chunk-level beam search to sampling, exactly: chunks of one bit, every draw of every row gone through.

    The scorer prefers more ones, and among them earlier ones; of equals the first row stays.
    """
    rows = width * successors
    beams: dict[tuple[str, ...], float] = {("",) * rows: 1.0}
    for _ in range(chunks):
        following: dict[tuple[str, ...], float] = {}
        for beam, weight in beams.items():
            for bits in itertools.product("01", repeat=rows):
                ones = bits.count("1")
                drawn = [text + bit for text, bit in zip(beam, bits, strict=True)]
                best = sorted(drawn, key=lambda text: (text.count("1"), text), reverse=True)[:width]
                kept = tuple(text for text in best for _ in range(successors))
                chances = weight * chance**ones * (1 - chance) ** (rows - ones)
                following[kept] = following.get(kept, 0.0) + chances
        beams = following
    texts: dict[str, float] = {}
    for beam, weight in beams.items():
        texts[beam[0]] = texts.get(beam[0], 0.0) + weight
    assert sum(texts.values()) == pytest.approx(1)
    plain = {text: math.prod(chance if bit == "1" else 1 - chance for bit in text) for text in texts}
    return sum(weight * math.log(weight / plain[text]) for text, weight in texts.items() if weight > 0)


@pytest.mark.parametrize(
    ("width", "successors", "chunks"), [(1, 2, 1), (1, 4, 3), (2, 2, 1), (2, 2, 3), (4, 1, 2), (3, 2, 2), (1, 1, 3)]
)
def test_the_bounds_hold(width: int, successors: int, chunks: int) -> None:
    search = ivg.SearchOptions(width=width, successors=successors, chunk=5)
    bound = selection_bound(METHODS["CBSe"], search, 5 * chunks)
    exact = [divergence(width, successors, chunks, chance) for chance in (0.5, 0.1, 0.01, 0.001)]
    assert all(value <= bound + 1e-9 for value in exact)
    assert max(exact) >= 0.1 * bound


def test_bounds_by_hand() -> None:
    search = ivg.SearchOptions(width=4, successors=4, chunk=5, best_of=16)
    assert selection_bound(METHODS["Base"], search, 50) == 0
    assert selection_bound(METHODS["EFTi"], search, 50) == 0
    assert selection_bound(METHODS["BoNe"], search, 50) == pytest.approx(math.log(16) - 15 / 16)
    assert selection_bound(METHODS["IVG"], search, 46) == pytest.approx(math.log(4) + 10 * math.log(4))
    once = ivg.SearchOptions(width=4, successors=4, chunk=0)
    assert selection_bound(METHODS["CBSi"], once, 50) == pytest.approx(math.log(16) - 15 / 16)
