"""The real model against llama.cpp's figures for the same file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import ivg


def test_continuations_and_logits(real: ivg.Model, golden: Path) -> None:
    """Activations are rounded to 8 bits differently here and there; near-ties may fall to either side."""
    for entry in json.loads((golden / "q4_1.json").read_text())["prompts"]:
        assert real.tokenize(entry["prompt"]) == entry["prompt_ids"]
        logits = real.logits(entry["prompt"])
        assert max(abs(logits[token] - value) for token, value in entry["top10"]) < 1.0
        completion = real.generate(entry["prompt"], max_tokens=64, temperature=0, ignore_end=True)
        gaps = entry["top1_gap_per_step"]
        near_tie = next((step for step, gap in enumerate(gaps) if gap < 0.15), len(gaps))
        assert completion.token_ids[:near_tie] == entry["gen_ids"][:near_tie]


def test_the_distribution_as_a_whole(real: ivg.Model, golden: Path) -> None:
    for entry in json.loads((golden / "q4_1.json").read_text())["prompts"]:
        logits = real.logits(entry["prompt"])
        top = max(logits)
        total = top + math.log(sum(math.exp(value - top) for value in logits))
        assert total == pytest.approx(entry["lse"], abs=0.7)


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2"])
def test_vocabularies(golden: Path, name: str) -> None:
    file = golden / "tokenizers" / f"ggml-vocab-{name}.gguf"
    if not file.exists():
        pytest.skip(f"{file} is missing")
    texts = Path(f"{file}.inp").read_bytes().split(b"\n__ggml_vocab_test__\n")
    lines = Path(f"{file}.out").read_text().splitlines()
    with ivg.Model(file) as model:
        for text, line in zip(texts, lines, strict=False):
            ids = [int(number) for number in line.split()]
            assert model.tokenize(text, special=False, begin=False) == ids
