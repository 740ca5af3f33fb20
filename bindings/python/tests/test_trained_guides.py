"""The guides that examples/sentiment has trained, on texts of the half of the reviews that they have not seen."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import REAL_MODEL, ROOT, fixture_path

import ivg

GUIDES = ROOT / "examples" / "sentiment" / "models"
PAIRS = [json.loads(line) for line in fixture_path("sentiment-pairs.jsonl").read_text().splitlines()]


def variant(name: str) -> Path:
    """SmolLM2's weights in another type; F16 holds the numbers of Q4_1 exactly."""
    path = REAL_MODEL.with_name(REAL_MODEL.name.replace("Q4_1", name))
    if not path.exists():
        pytest.skip("make variants")
    return path


def implicit(model: ivg.Model) -> ivg.Implicit:
    tuned, untuned = (model.adapter(GUIDES / name) for name in ("tuned-dpo.gguf", "untuned-sft.gguf"))
    return ivg.Implicit(tuned=tuned, untuned=untuned, role="score")


def values(model: ivg.Model, value: ivg.Implicit | ivg.Explicit) -> list[float]:
    """Of all texts: chosen, rejected, chosen, ..."""
    with model.session() as session:
        return [
            number
            for pair in PAIRS
            for number in session.score(value, pair["prompt"], [pair["chosen"], pair["rejected"]], ended=False)
        ]


def correlation(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))


def ordered(found: list[float]) -> float:
    """The share of pairs whose chosen text has the higher value."""
    return sum(a > b for a, b in zip(found[::2], found[1::2], strict=True)) / len(PAIRS)


def test_guides_order_unseen_texts(real: ivg.Model) -> None:
    assert ordered(values(real, implicit(real))) >= 0.7
    assert ordered(values(real, ivg.Explicit(real.value_head(GUIDES / "value-fudge.gguf"), role="score"))) >= 0.75


def test_guides_survive_quantisation() -> None:
    """Int8 and int4 trunks say what the exact one says; less so one that is rounded from int4 to int4 once more."""
    with ivg.Model(variant("F16")) as exact:
        expected = values(exact, implicit(exact))
    for name, least in (("Q4_1", 0.99), ("Q8_0", 0.99), ("Q4_0", 0.9)):
        with ivg.Model(variant(name)) as model:
            found = correlation(expected, values(model, implicit(model)))
        print(f"{name}: correlation of the log-ratio with F16 {found:.5f}")
        assert found >= least, name


def test_llama_cpp_reads_the_adapter(real: ivg.Model) -> None:
    """The same log-probabilities, but for rounding; and others than without the adapter."""
    llama_cpp = pytest.importorskip("llama_cpp")
    text = PAIRS[0]["prompt"] + PAIRS[0]["chosen"]
    tokens = real.tokenize(text)
    adapter = GUIDES / "tuned-dpo.gguf"
    sums = {}
    for path in (None, str(adapter)):
        peer = llama_cpp.Llama(str(REAL_MODEL), lora_path=path, n_ctx=256, logits_all=True, verbose=False)
        peer.eval(tokens)
        total = 0.0
        for index, token in enumerate(tokens[1:]):
            row = [float(value) for value in peer.scores[index]]
            most = max(row)
            total += row[token] - most - math.log(sum(math.exp(value - most) for value in row))
        sums[path] = total
        peer.close()
    with real.session() as session:
        tuned = ivg.Implicit(tuned=real.adapter(adapter), role="score")
        first = real.detokenize(tokens[:1])
        difference = session.score(tuned, first, [text[len(first) :]], ended=False)[0]
    assert abs(difference) > 1
    assert abs(difference - (sums[str(adapter)] - sums[None])) < 0.05 * abs(difference) + 0.3
