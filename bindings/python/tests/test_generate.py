"""Generating without guidance: text, steps, seeds, stops, callbacks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import fixture_path

import ivg


def log_softmax(logits: list[float]) -> list[float]:
    """Normalised, in double."""
    top = max(logits)
    total = math.log(sum(math.exp(value - top) for value in logits))
    return [value - top - total for value in logits]


def test_streaming_equals_generate(tiny: ivg.Model) -> None:
    completion = tiny.generate("Hello", max_tokens=40, seed=5)
    with tiny.stream("Hello", max_tokens=40, seed=5) as stream:
        steps = list(stream)
        assert stream.completion.candidates == completion.candidates
    assert "".join(step.text for step in steps) == completion.text
    assert [step.token for step in steps] == completion.token_ids
    assert [step.log_probability for step in steps] == completion.candidates[0].log_probabilities
    assert [step.finish_reason for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert steps[-1].finish_reason == completion.finish_reason
    assert completion.log_probability == pytest.approx(sum(completion.candidates[0].log_probabilities))
    assert str(completion) == completion.text
    assert completion.prompt_token_count == len(tiny.tokenize("Hello"))
    assert completion.token_count == len(completion.token_ids)
    assert completion.tokens_per_second > 0
    assert completion.memory_used > 0


@pytest.mark.parametrize("seed", range(12))
def test_characters_are_never_split(tiny: ivg.Model, seed: int) -> None:
    steps = list(tiny.stream("é", max_tokens=60, seed=seed, temperature=1.0, top_k=0, ignore_end=True))
    tokens = [step.token for step in steps if step.token is not None]
    data = tiny.detokenize_bytes(tokens, skip_control=True)
    assert "".join(step.text for step in steps) == data.decode("utf-8", "replace")


def test_a_long_character_comes_whole(tiny: ivg.Model) -> None:
    wanted = tiny.tokenize("é🙂", begin=False)

    def force(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        logits[wanted[len(tokens)]] = 1000.0

    steps = list(tiny.stream("a", max_tokens=len(wanted), logits_processor=force))
    assert "".join(step.text for step in steps) == "é🙂"
    assert all(step.text in ("", "é", "🙂") for step in steps)


def test_the_same_seed_gives_the_same_text(tiny: ivg.Model) -> None:
    texts = {tiny.generate("Hello", max_tokens=20, seed=7, top_k=None).text for _ in range(3)}
    assert len(texts) == 1
    assert tiny.generate("Hello", max_tokens=20, seed=8, top_k=None).text not in texts


def test_a_seed_of_its_own_is_reported(tiny: ivg.Model) -> None:
    first = tiny.generate("Hello", max_tokens=20, top_k=None)
    second = tiny.generate("Hello", max_tokens=20, top_k=None)
    assert first.seed != second.seed
    assert tiny.generate("Hello", max_tokens=20, top_k=None, seed=first.seed).text == first.text


def test_thread_count_changes_nothing(tiny: ivg.Model) -> None:
    search = ivg.Guidance(implicit=ivg.Implicit(tuned_template="x{prompt}"), search=ivg.ChunkBeamSearch(2, 2, 3))
    results = []
    for threads in (1, 2, 3):
        with tiny.session(threads=threads) as session:
            plain = session.generate("Hello", max_tokens=20, seed=1)
            guided = session.generate("Hello", max_tokens=20, seed=1, guidance=search)
            results.append((plain.candidates, guided.candidates))
    assert results[0] == results[1] == results[2]


def test_greedy_takes_the_largest_logit(tiny: ivg.Model) -> None:
    completion = tiny.generate("Hello", max_tokens=8, temperature=0, ignore_end=True)
    sequence = tiny.session().sequence()
    sequence.evaluate(tiny.tokenize("Hello"))
    for token, reported in zip(completion.token_ids, completion.candidates[0].log_probabilities, strict=True):
        logits = sequence.logits()
        assert token == max(range(len(logits)), key=logits.__getitem__)
        assert reported == pytest.approx(log_softmax(logits)[token], abs=1e-4)
        sequence.evaluate([token])


def test_top_log_probabilities(tiny: ivg.Model) -> None:
    step = next(tiny.stream("Hello", top_log_probabilities=5, seed=1))
    expected = sorted(enumerate(log_softmax(tiny.logits("Hello"))), key=lambda item: -item[1])[:5]
    assert [token for token, _ in step.top] == [token for token, _ in expected]
    assert [value for _, value in step.top] == pytest.approx([value for _, value in expected], abs=1e-4)
    assert next(tiny.stream("Hello")).top == ()


@pytest.mark.parametrize(
    "options", [{"top_k": 3}, {"top_p": 0.3, "top_k": 0}, {"min_p": 0.3, "top_k": 0}, {"top_k": 1}]
)
def test_truncation_keeps_the_most_probable(tiny: ivg.Model, options: dict[str, float]) -> None:
    ranked = sorted(enumerate(log_softmax(tiny.logits("Hello"))), key=lambda item: -item[1])
    if "min_p" in options:
        allowed = [token for token, value in ranked if value >= ranked[0][1] + math.log(0.3) - 1e-6]
    elif "top_p" in options:
        total, allowed = 0.0, []
        for token, value in ranked:
            allowed.append(token)
            total += math.exp(value)
            if total >= 0.3:
                break
    else:
        allowed = [token for token, _ in ranked[: int(options["top_k"])]]
    seen = {
        tiny.generate("Hello", max_tokens=1, seed=seed, temperature=1.0, **options).token_ids[0]  # type: ignore[arg-type]
        for seed in range(40)
    }
    assert seen <= set(allowed)
    assert len(allowed) == 1 or len(seen) > 1


def test_stop_strings(tiny: ivg.Model) -> None:
    whole = tiny.generate("Hello", max_tokens=60, seed=3, ignore_end=True)
    stop = whole.text[10:13]
    end = whole.text.index(stop)
    for given in (stop, [stop, "never in the text"]):
        with tiny.stream("Hello", max_tokens=60, seed=3, ignore_end=True, stop=given) as stream:
            text = "".join(step.text for step in stream)
            assert text == whole.text[:end]
            assert stream.completion.text == text
            assert stream.completion.finish_reason == "stop"
            assert stream.completion.token_ids == whole.token_ids[: len(stream.completion.token_ids)]


def test_end_tokens_and_ignoring_them(tiny: ivg.Model) -> None:
    whole = tiny.generate("Hello", max_tokens=20, seed=3, ignore_end=True)
    assert whole.finish_reason == "length"
    assert len(whole.token_ids) == 20
    token = whole.token_ids[8]
    first = whole.token_ids.index(token)
    ended = tiny.generate("Hello", max_tokens=20, seed=3, end_tokens=[token])
    assert ended.finish_reason == "end"
    assert ended.token_ids == whole.token_ids[: first + 1]
    assert ended.text == tiny.detokenize(whole.token_ids[:first])

    def force_end(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        if len(tokens) == 4:
            logits[2] = 1000.0

    ended = tiny.generate("Hello", max_tokens=20, seed=3, logits_processor=force_end)
    assert ended.finish_reason == "end"
    assert (ended.token_ids[:4], ended.token_ids[4]) == (whole.token_ids[:4], 2)
    assert "<|im_end|>" not in ended.text


def test_banned_tokens(tiny: ivg.Model) -> None:
    greedy = tiny.generate("Hello", max_tokens=1, temperature=0).token_ids[0]
    completion = tiny.generate("Hello", max_tokens=20, temperature=0, banned_tokens=[greedy])
    assert greedy not in completion.token_ids


def test_repetition_penalty(tiny: ivg.Model) -> None:
    completion = tiny.generate("Hello", max_tokens=60, temperature=0, repetition_penalty=100.0, ignore_end=True)
    assert len(set(completion.token_ids)) > 50


def test_templates(tiny: ivg.Model) -> None:
    wrapped = tiny.generate("Hello", template="<|im_start|>{prompt}: ", max_tokens=10, seed=1)
    assert wrapped.text == tiny.generate("<|im_start|>Hello: ", max_tokens=10, seed=1).text
    assert wrapped.prompt_token_count == len(tiny.tokenize("<|im_start|>Hello: "))


def test_sampling_options(tiny: ivg.Model) -> None:
    sampling = ivg.SamplingOptions(max_tokens=12, seed=4, temperature=1.0)
    expected = tiny.generate("Hello", max_tokens=12, seed=4, temperature=1.0)
    assert tiny.generate("Hello", sampling=sampling).text == expected.text
    assert len(tiny.generate("Hello", sampling=sampling, max_tokens=3, ignore_end=True).token_ids) == 3
    with pytest.raises(AttributeError):
        sampling.seed = 5  # type: ignore[misc]


def test_prompts(tiny: ivg.Model) -> None:
    assert tiny.generate(b"Hello", seed=1, max_tokens=5).text == tiny.generate("Hello", seed=1, max_tokens=5).text
    assert tiny.generate("", seed=1, max_tokens=5).token_ids
    assert tiny.generate(b"\xff\xc3\x00 a", seed=1, max_tokens=5).token_ids
    assert tiny.generate("a\0b", seed=1, max_tokens=5).prompt_token_count == len(tiny.tokenize("a\0b"))


def test_a_prompt_is_read_once(tiny: ivg.Model) -> None:
    with tiny.session() as session:
        first = session.generate("Hello world, this is long", max_tokens=4, seed=1)
        second = session.generate("Hello world, this is long", max_tokens=4, seed=1)
    assert first.reused_token_count == 0
    assert second.reused_token_count > 0
    assert first.candidates == second.candidates


def test_logits_processor_sees_views_that_end(tiny: ivg.Model) -> None:
    kept = []

    def look(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        assert row == 0
        assert len(logits) == 320
        array = np.asarray(logits)
        assert array.dtype == np.float32
        array[:] = -100.0
        array[65 + len(tokens)] = 0.0
        del array
        kept.append((list(tokens), logits, tokens))

    completion = tiny.generate("Hello", max_tokens=3, logits_processor=look)
    assert completion.token_ids == [65, 66, 67]
    assert [tokens for tokens, _, _ in kept] == [[], [65], [65, 66]]
    with pytest.raises(ValueError, match="released"):
        kept[0][1][0]
    with pytest.raises(ValueError, match="released"):
        kept[2][2][0]


class Boom(Exception):
    """Raised inside callbacks."""


@pytest.mark.parametrize("fault", [Boom("inside"), SystemExit(3), KeyboardInterrupt()])
def test_exceptions_in_a_processor_come_out(tiny: ivg.Model, fault: BaseException) -> None:
    def fail(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        if len(tokens) == 2:
            raise fault

    stream = tiny.stream("Hello", max_tokens=5, logits_processor=fail)
    next(stream)
    next(stream)
    with pytest.raises(type(fault)) as caught:
        next(stream)
    assert caught.value is fault
    assert tiny.generate("Hello", max_tokens=3).token_ids


def test_unusable_logits_are_an_error(tiny: ivg.Model) -> None:
    def spoil(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        for i in range(len(logits)):
            logits[i] = math.nan

    with pytest.raises(ivg.Error):
        tiny.generate("Hello", max_tokens=5, logits_processor=spoil)


def test_a_callback_cannot_use_its_own_session(tiny: ivg.Model) -> None:
    with tiny.session() as session:

        def again(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
            session.generate("nested", max_tokens=1)

        with pytest.raises(ivg.Error, match="must not use the session that called it"):
            session.generate("Hello", max_tokens=5, logits_processor=again)
        assert session.generate("Hello", max_tokens=2).token_ids


def test_a_callback_may_use_another_session(tiny: ivg.Model) -> None:
    seen: list[str] = []
    with tiny.session() as session:

        def other(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
            seen.append(session.generate("nested", max_tokens=2, seed=1).text)

        tiny.generate("Hello", max_tokens=3, ignore_end=True, logits_processor=other)
    assert len(seen) == 3
    assert len(set(seen)) == 1


class Hosted:
    """A hosted model's callback that asks a real model."""

    def __init__(self, model: ivg.Model) -> None:
        self.session = model.session(threads=1)
        self.calls = 0
        self.rows = 0

    def __call__(self, rows: list[list[int]]) -> Iterator[memoryview[float]]:
        self.calls += 1
        self.rows += len(rows)
        for tokens in rows:
            with self.session.sequence() as sequence:
                sequence.evaluate(tokens)
                yield sequence.logits_view()


def test_a_hosted_model_equals_the_real_one(tiny: ivg.Model) -> None:
    callback = Hosted(tiny)
    with ivg.Model(fixture_path("tiny-vocabulary-only.gguf")) as vocabulary:
        hosted = ivg.HostedModel(vocabulary, logits=callback, context_length=200)
    expected = tiny.generate("Hello", max_tokens=12, seed=2)
    assert hosted.generate("Hello", max_tokens=12, seed=2).candidates == expected.candidates
    assert callback.calls == len(expected.token_ids)


def test_a_hosted_model_is_steered_like_any_other(tiny: ivg.Model, other: ivg.Model) -> None:
    hosted = ivg.HostedModel(tiny, logits=Hosted(tiny))
    for search in (None, ivg.ChunkBeamSearch(2, 2, 3)):
        guidance = ivg.Guidance(implicit=ivg.Implicit(tuned=tiny, untuned=other), search=search)
        expected = tiny.generate("Hello", max_tokens=9, seed=2, guidance=guidance)
        result = hosted.generate("Hello", max_tokens=9, seed=2, guidance=guidance)
        assert [row.token_ids for row in result.candidates] == [row.token_ids for row in expected.candidates]
        assert result.score == pytest.approx(expected.score, abs=1e-4)


@pytest.mark.parametrize("kind", ["list", "numpy float64", "numpy row", "generator"])
def test_what_a_hosted_model_may_return(tiny: ivg.Model, kind: str) -> None:
    def logits(rows: list[list[int]]) -> object:
        values = [[float(token == 70) for token in range(320)] for _ in rows]
        if kind == "numpy float64":
            return np.array(values)
        if kind == "numpy row":
            return [np.array(row, dtype=np.float32) for row in values]
        return values if kind == "list" else (tuple(row) for row in values)

    hosted = ivg.HostedModel(tiny, logits=logits)  # type: ignore[arg-type]
    assert hosted.generate("a", max_tokens=3, temperature=0).token_ids == [70] * 3


def test_what_a_hosted_model_may_not_return(tiny: ivg.Model) -> None:
    with pytest.raises(ValueError, match="returned 3 logits; the vocabulary has 320"):
        ivg.HostedModel(tiny, logits=lambda rows: [[0.0] * 3 for _ in rows]).generate("a")
    with pytest.raises(ValueError, match="0 rows of logits for 1 rows"):
        ivg.HostedModel(tiny, logits=lambda rows: []).generate("a")
    with pytest.raises(Boom):
        ivg.HostedModel(tiny, logits=fail_hosted).generate("a")


def fail_hosted(rows: list[list[int]]) -> list[list[float]]:
    """A hosted model that fails."""
    raise Boom


@pytest.mark.parametrize("options", [ivg.SamplingOptions(temperature=1e-50), ivg.SamplingOptions(top_p=1e-50)])
def test_what_is_nothing_as_a_c_float_is_greedy(tiny: ivg.Model, options: ivg.SamplingOptions) -> None:
    """And not the default, which 0 means in C."""
    greedy = tiny.generate("a", temperature=0, max_tokens=8).text
    assert tiny.generate("a", seed=3, max_tokens=8).text != greedy
    assert tiny.generate("a", sampling=options, seed=3, max_tokens=8).text == greedy
