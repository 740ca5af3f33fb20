"""Nudging: a small model writes the next words where the base is not sure."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import FIXTURES, fixture_path
from test_cli import TINY, run, run_json

import ivg

PROMPT = "The film was"


@pytest.fixture(scope="module")
def foreign() -> ivg.Model:
    """A model with another vocabulary."""
    return ivg.Model(fixture_path("tiny-other-vocabulary.gguf"), threads=1)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3, 1.5])
@pytest.mark.parametrize("kind", ["same", "foreign", "adapter"])
def test_steps_and_completion_agree(
    tiny: ivg.Model, other: ivg.Model, foreign: ivg.Model, adapter: ivg.Adapter, kind: str, threshold: float
) -> None:
    nudger = {"same": other, "foreign": foreign, "adapter": adapter}[kind]
    assert isinstance(nudger, ivg.Model | ivg.Adapter)
    guidance = ivg.Guidance(nudging=ivg.Nudging(nudger, threshold=threshold))
    stream = tiny.stream(PROMPT, guidance=guidance, max_tokens=40)
    steps = list(stream)
    completion = stream.completion
    whole = "".join(step.text for step in steps)
    assert whole.startswith(completion.text)
    marks = "".join(("n" if step.nudged else "b") * len(step.text) for step in steps)
    assert completion.nudges is not None
    assert completion.nudged_share is not None
    expected = ["b"] * len(completion.text)
    for start, end in completion.nudges:
        assert 0 <= start < end <= len(completion.text)
        expected[start:end] = "n" * (end - start)
    assert marks[: len(completion.text)] == "".join(expected)
    assert 0 <= completion.nudged_share <= 1
    assert completion.token_count == len(completion.token_ids) <= 40
    assert [step.finish_reason for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert steps[-1].finish_reason == completion.finish_reason is not None
    assert tiny.generate(PROMPT, guidance=guidance, max_tokens=40).text == completion.text


def test_without_nudging_there_is_none(tiny: ivg.Model) -> None:
    completion = tiny.generate(PROMPT, max_tokens=4)
    assert completion.nudges is None
    assert completion.nudged_share is None


def test_a_threshold_that_is_none_in_c(tiny: ivg.Model, other: ivg.Model) -> None:
    def completion(threshold: float) -> ivg.Completion:
        guidance = ivg.Guidance(nudging=ivg.Nudging(other, threshold=threshold))
        return tiny.generate(PROMPT, guidance=guidance, max_tokens=40)

    never = completion(0)
    assert completion(1e-50).nudges == never.nudges != completion(0.3).nudges
    assert completion(-0.0).text == never.text


def test_templates_and_systems(tiny: ivg.Model, other: ivg.Model) -> None:
    def text(nudging: ivg.Nudging, template: str | None = None) -> str:
        return tiny.generate(PROMPT, guidance=ivg.Guidance(nudging=nudging), template=template, max_tokens=24).text

    by_system = text(ivg.Nudging(other, base_system="Be kind.", nudger_template="Q {prompt} A", threshold=0.02))
    by_template = text(
        ivg.Nudging(other, base_template="Be kind.\n{prompt}\n", nudger_template="Q {prompt} A", threshold=0.02)
    )
    named = text(ivg.Nudging(other, nudger_template="Q {prompt} A", threshold=0.02), "Be kind.\n{prompt}\n")
    assert by_system == by_template == named
    with pytest.raises(ivg.InvalidArgumentError, match="exclude each other"):
        ivg.Nudging(other, base_system="x", base_template="{prompt}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"top_k": 3}, "top_k"),
        ({"repetition_penalty": 2.0}, "repetition_penalty"),
        ({"attribution": True}, "ATTRIBUTION"),
        ({"top_log_probabilities": 1}, "top_log_probabilities"),
    ],
)
def test_other_ways_of_drawing_are_refused(
    tiny: ivg.Model, other: ivg.Model, changes: dict[str, float], message: str
) -> None:
    options = ivg.SamplingOptions(**changes)  # type: ignore[arg-type]
    with pytest.raises(ivg.InvalidArgumentError, match=message):
        tiny.generate(PROMPT, guidance=ivg.Guidance(nudging=ivg.Nudging(other)), sampling=options)


def test_nudging_stands_alone(tiny: ivg.Model, other: ivg.Model, foreign: ivg.Model) -> None:
    with pytest.raises(ivg.InvalidArgumentError, match="parts"):
        ivg.Guidance(nudging=ivg.Nudging(other), implicit=ivg.Implicit(tuned=other))
    with pytest.raises(ivg.InvalidArgumentError, match="width"):
        ivg.Guidance(nudging=ivg.Nudging(other), search=ivg.ChunkBeamSearch(2, 2, 2))
    with pytest.raises(ivg.InvalidArgumentError, match="threshold"):
        ivg.Nudging(other, threshold=math.nan)
    with pytest.raises(TypeError, match="nudger"):
        ivg.Nudging("small.gguf")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nudging"):
        ivg.Guidance(nudging=other)  # type: ignore[arg-type]
    with pytest.raises(ivg.UnsupportedError, match="banned_tokens"):
        tiny.generate(PROMPT, guidance=ivg.Guidance(nudging=ivg.Nudging(foreign)), banned_tokens=[3])
    with pytest.raises(ivg.InvalidArgumentError, match="nothing to score by"):
        tiny.score(ivg.Guidance(nudging=ivg.Nudging(other)), PROMPT, ["x"])


def test_a_hosted_base(tiny: ivg.Model, other: ivg.Model) -> None:
    sequence = tiny.session().sequence()

    def logits(rows: Sequence[Sequence[int]]) -> list[list[float]]:
        found = []
        for tokens in rows:
            sequence.truncate(0)
            sequence.evaluate(list(tokens))
            found.append(sequence.logits())
        return found

    hosted = ivg.HostedModel(tiny, logits=logits)
    guidance = ivg.Guidance(nudging=ivg.Nudging(other, threshold=0.05))
    own = tiny.generate(PROMPT, guidance=guidance, max_tokens=20)
    through = hosted.generate(PROMPT, guidance=guidance, max_tokens=20)
    assert (through.text, through.nudges, through.finish_reason) == (own.text, own.nudges, own.finish_reason)


def test_asynchronously(tiny: ivg.Model, other: ivg.Model) -> None:
    guidance = ivg.Guidance(nudging=ivg.Nudging(other))
    completion = asyncio.run(tiny.agenerate(PROMPT, guidance=guidance, max_tokens=12))
    assert completion.text == tiny.generate(PROMPT, guidance=guidance, max_tokens=12).text


def test_command_line(tiny: ivg.Model, other: ivg.Model) -> None:
    small = fixture_path("tiny-llama-untuned.gguf")
    arguments = ["generate", TINY, "-p", PROMPT, "--max-tokens", "24", "--nudger", str(small), "--threshold", "0.05"]
    found = run_json(*arguments)
    expected = tiny.generate(PROMPT, guidance=ivg.Guidance(nudging=ivg.Nudging(other, threshold=0.05)), max_tokens=24)
    assert found["text"] == expected.text
    assert [tuple(span) for span in found["nudges"]] == expected.nudges
    assert found["nudged_share"] == expected.nudged_share
    plain = run(*arguments)
    assert b"\x1b" not in plain.stdout
    assert plain.stdout.decode().startswith(expected.text)
    assert b"--nudger" in run("generate", TINY, "-p", PROMPT, "--base-system", "x").stderr


# Against the record of `Tests/Fixtures/make_nudging_reference.py`.

RECORD = json.loads((FIXTURES / "nudging-reference.json").read_text())


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: str(case["name"]))
def test_recorded_reference(case: dict[str, object]) -> None:
    def opened(name: object) -> ivg.Model:
        return ivg.Model(Path(fixture_path(str(name))), threads=1)

    nudging = ivg.Nudging(
        opened(case["nudger"]),
        threshold=float(str(case["threshold"])),
        burst=int(str(case["burst"])),
        max_rounds=int(str(case["max_rounds"])),
        nudger_template=str(case["nudger_template"]),
        base_template=str(case["base_template"]),
    )
    stream = opened(case["base"]).stream(
        str(case["prompt"]), guidance=ivg.Guidance(nudging=nudging), max_tokens=int(str(case["max_tokens"]))
    )
    pieces: list[list[object]] = []
    for step in stream:
        if not step.text:
            continue
        if pieces and pieces[-1][0] == step.nudged:
            pieces[-1][1] = str(pieces[-1][1]) + step.text
        else:
            pieces.append([step.nudged, step.text])
    completion = stream.completion
    assert pieces == case["pieces"]
    assert completion.text == case["text"]
    assert completion.finish_reason == case["finish_reason"]
    assert completion.token_count == case["token_count"]
    assert completion.nudged_share == pytest.approx(case["nudged_share"])


def test_the_record_says_what_it_must() -> None:
    """One vocabulary and two, either way; several ends; hand-overs for each reason, and none."""
    cases = RECORD["cases"]
    pairs = {(case["base"], case["nudger"]) for case in cases}
    assert len(pairs) == 3
    assert {case["finish_reason"] for case in cases} >= {"end", "length", "rounds"}
    rounds = [entry for case in cases for entry in case["rounds"]]
    assert len(rounds) > 100
    assert any(entry["run"] for entry in rounds)
    assert any(entry["checks"] and not entry["run"] for entry in rounds)
