"""Guided generation: the exact relations that every method must satisfy."""

from __future__ import annotations

import gc
import itertools
import math

import pytest
from conftest import fixture_path
from test_generate import Boom, log_softmax

import ivg
from ivg import _callbacks

PROMPT = "Hello"
OPTIONS = ivg.SamplingOptions(max_tokens=16, seed=11, top_k=None, ignore_end=True)


def constant(prompt: str, texts: list[str]) -> list[float]:
    """A scorer to which all texts are equal."""
    return [1.0] * len(texts)


def by_letters(prompt: str, texts: list[str]) -> list[float]:
    """A scorer with few ties."""
    return [sum(ord(letter) * (i + 1) for i, letter in enumerate(text)) % 1009 for text in texts]


def tokens(model: ivg.Model, guidance: ivg.Guidance | None = None, seed: int = 11) -> list[int]:
    """What a guidance makes of the usual prompt."""
    return model.generate(PROMPT, sampling=OPTIONS, guidance=guidance, seed=seed).token_ids


def all_but_digits(model: ivg.Model) -> list[int]:
    """To ban: what is left are tokens whose text has these very tokens, so that it can be scored from its text."""
    digits = {model.tokenize(digit, begin=False)[0] for digit in "0123456789"}
    return [token for token in range(model.info.vocabulary_size) if token not in digits]


# Token by token


def test_weight_zero_is_the_base(tiny: ivg.Model, other: ivg.Model, vocabulary_head: ivg.ValueHead) -> None:
    implicit = ivg.Implicit(tuned=other, untuned=tiny, weight=0.0)
    assert tokens(tiny, ivg.Guidance(implicit=implicit)) == tokens(tiny)
    explicit = ivg.Explicit(vocabulary_head, weight=0.0)
    assert tokens(tiny, ivg.Guidance(explicit=explicit)) == tokens(tiny)


@pytest.mark.parametrize("untuned", ["named", "own row"])
def test_base_as_untuned_gives_the_tuned_distribution(tiny: ivg.Model, adapter: ivg.Adapter, untuned: str) -> None:
    implicit = ivg.Implicit(tuned=adapter, untuned=tiny if untuned == "named" else None)
    stream = tiny.stream(PROMPT, sampling=OPTIONS, guidance=ivg.Guidance(implicit=implicit), top_log_probabilities=20)
    sequence = tiny.session().sequence(adapter)
    sequence.evaluate(tiny.tokenize(PROMPT))
    for step in stream:
        expected = log_softmax(sequence.logits())
        assert [value for _, value in step.top] == pytest.approx([expected[t] for t, _ in step.top], abs=2e-4)
        assert step.token is not None
        sequence.evaluate([step.token])


def test_tuned_as_untuned_is_the_base(tiny: ivg.Model, other: ivg.Model, adapter: ivg.Adapter) -> None:
    assert tokens(tiny, ivg.Guidance(implicit=ivg.Implicit(tuned=other, untuned=other))) == tokens(tiny)
    assert tokens(tiny, ivg.Guidance(implicit=ivg.Implicit(tuned=adapter, untuned=adapter))) == tokens(tiny)
    same = ivg.Implicit(tuned_template="x {prompt}", untuned_template="x {prompt}", weight=3.0)
    assert tokens(tiny, ivg.Guidance(implicit=same)) == tokens(tiny)


def test_weights_add_up(tiny: ivg.Model, other: ivg.Model) -> None:
    def parts(*weights: float) -> ivg.Guidance:
        return ivg.Guidance(implicit=[ivg.Implicit(tuned=other, untuned=tiny, weight=w) for w in weights])

    assert tokens(tiny, parts(0.7, -0.7)) == tokens(tiny)
    one = tiny.generate(PROMPT, sampling=OPTIONS, guidance=parts(0.75))
    two = tiny.generate(PROMPT, sampling=OPTIONS, guidance=parts(0.5, 0.25))
    assert one.token_ids == two.token_ids != tokens(tiny)
    assert one.log_probability == pytest.approx(two.log_probability, abs=1e-3)


def test_the_tilt_is_the_formula(tiny: ivg.Model, other: ivg.Model) -> None:
    guidance = ivg.Guidance(implicit=ivg.Implicit(tuned=other, untuned=tiny, weight=0.5, tuned_template="Ab{prompt}"))
    step = next(tiny.stream(PROMPT, guidance=guidance, seed=1, top_log_probabilities=64))
    base, tuned = tiny.logits(PROMPT), other.logits("Ab" + PROMPT)
    expected = log_softmax([b + 0.5 * (t - b) for b, t in zip(base, tuned, strict=True)])
    assert [value for _, value in step.top] == pytest.approx([expected[t] for t, _ in step.top], abs=5e-3)


def test_templates_of_guides(tiny: ivg.Model, other: ivg.Model) -> None:
    def with_templates(**templates: str) -> list[int]:
        return tokens(tiny, ivg.Guidance(implicit=ivg.Implicit(tuned=other, untuned=tiny, **templates)))  # type: ignore[arg-type]

    both = with_templates(template="A: {prompt}")
    assert both == with_templates(tuned_template="A: {prompt}", untuned_template="A: {prompt}")
    assert with_templates(template="B", untuned_template="A: {prompt}") == with_templates(
        tuned_template="B", untuned_template="A: {prompt}"
    )
    assert both != with_templates()


def test_an_explicit_value_tilts_by_its_head(tiny: ivg.Model, vocabulary_head: ivg.ValueHead) -> None:
    guidance = ivg.Guidance(explicit=ivg.Explicit(vocabulary_head, weight=2.0))
    plain = next(tiny.stream(PROMPT, seed=1, top_log_probabilities=64))
    guided = tiny.generate(PROMPT, guidance=guidance, sampling=OPTIONS, attribution=True)
    assert guided.token_ids != tokens(tiny)
    row = guided.candidates[0]
    assert row.guide_values is not None
    assert row.base_log_probabilities is not None
    assert all(len(values) == 1 and math.isfinite(values[0]) for values in row.guide_values)
    assert plain.top


def test_a_scalar_head_tilts_the_top_k(tiny: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    guidance = ivg.Guidance(explicit=ivg.Explicit(scalar_head, weight=5.0), candidates="base")
    completion = tiny.generate(PROMPT, guidance=guidance, max_tokens=5, seed=1, top_k=8)
    assert completion.token_ids
    logits = tiny.logits(PROMPT)
    best = sorted(range(320), key=lambda token: -logits[token])[:8]
    assert completion.token_ids[0] in best


def test_padded_vocabularies(tiny: ivg.Model) -> None:
    with ivg.Model(fixture_path("tiny-qwen2.gguf")) as qwen:
        assert qwen.info.vocabulary_size == 336
        tilted = tokens(tiny, ivg.Guidance(implicit=ivg.Implicit(tuned=qwen, untuned=tiny)))
        other_way = tokens(qwen, ivg.Guidance(implicit=ivg.Implicit(tuned=tiny, untuned=qwen)))
        alone = qwen.generate(PROMPT, temperature=5.0, top_k=None, max_tokens=100, ignore_end=True).token_ids
    assert max(tilted + other_way + alone) < 320


# Chunk by chunk


def test_one_row_is_the_base_whatever_scores(tiny: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    one = ivg.ChunkBeamSearch(width=1, successors=1, chunk=3)
    for guidance in (
        ivg.Guidance(scorer=by_letters, search=one),
        ivg.Guidance(explicit=ivg.Explicit(scalar_head), search=one),
        ivg.Guidance(implicit=ivg.Implicit(tuned_template="x{prompt}"), search=one),
    ):
        assert tokens(tiny, guidance) == tokens(tiny)


def test_a_constant_scorer_keeps_row_zero(tiny: ivg.Model) -> None:
    for search in (ivg.BestOf(4), ivg.ChunkBeamSearch(2, 3, 4), ivg.ChunkBeamSearch(1, 4, 1)):
        assert tokens(tiny, ivg.Guidance(scorer=constant, search=search)) == tokens(tiny)


def test_best_of_n_is_the_argmax_over_rows(tiny: ivg.Model) -> None:
    seen: list[tuple[list[str], list[float]]] = []

    def scorer(prompt: str, texts: list[str]) -> list[float]:
        assert prompt == PROMPT
        seen.append((texts, by_letters(prompt, texts)))
        return seen[-1][1]

    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=ivg.Guidance(scorer=scorer, search=ivg.BestOf(6)))
    assert len(seen) == 1
    texts, scores = seen[0]
    assert len(texts) == 6
    assert len(set(texts)) == 6
    assert texts[0] == tiny.generate(PROMPT, sampling=OPTIONS).text
    best = scores.index(max(scores))
    assert (result.text, result.score) == (texts[best], scores[best])
    assert result.token_count == 6 * 16


def test_best_of_n_by_log_ratio(tiny: ivg.Model, other: ivg.Model) -> None:
    """The same rows as by a scorer, ranked by the implicit value."""
    rows: list[str] = []

    def scorer(prompt: str, texts: list[str]) -> list[float]:
        rows.extend(texts)
        return [0.0] * len(texts)

    tiny.generate(PROMPT, sampling=OPTIONS, guidance=ivg.Guidance(scorer=scorer, search=ivg.BestOf(5)))
    implicit = ivg.Implicit(tuned=other, untuned=tiny)
    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=ivg.Guidance(implicit=implicit, search=ivg.BestOf(5)))
    assert result.text in rows


def test_shifting_a_score_changes_nothing(tiny: ivg.Model) -> None:
    def shifted(prompt: str, texts: list[str]) -> list[float]:
        return [value + 1000.0 for value in by_letters(prompt, texts)]

    search = ivg.ChunkBeamSearch(2, 3, 4)
    plain = tiny.generate(PROMPT, sampling=OPTIONS, guidance=ivg.Guidance(scorer=by_letters, search=search))
    moved = tiny.generate(PROMPT, sampling=OPTIONS, guidance=ivg.Guidance(scorer=shifted, search=search))
    assert [row.text for row in plain.candidates] == [row.text for row in moved.candidates]
    assert [row.score + 1000.0 for row in plain.candidates] == [row.score for row in moved.candidates]


def test_candidates_come_best_first_with_their_own_scores(tiny: ivg.Model) -> None:
    guidance = ivg.Guidance(scorer=by_letters, search=ivg.ChunkBeamSearch(4, 2, 4))
    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance)
    assert len(result.candidates) == 4
    assert [row.score for row in result.candidates] == sorted((row.score for row in result.candidates), reverse=True)
    for row in result.candidates:
        assert row.score == by_letters(PROMPT, [row.text])[0]
        assert row.text == tiny.detokenize(row.token_ids, skip_control=True)
        assert row.log_probability == pytest.approx(sum(row.log_probabilities), abs=1e-4)
    assert (result.text, result.score) == (result.candidates[0].text, result.candidates[0].score)


def test_a_search_streams_what_it_generates(tiny: ivg.Model) -> None:
    guidance = ivg.Guidance(scorer=by_letters, search=ivg.ChunkBeamSearch(2, 2, 3))
    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance)
    steps = list(tiny.stream(PROMPT, sampling=OPTIONS, guidance=guidance))
    assert "".join(step.text for step in steps) == result.text
    assert all(step.token is None for step in steps)
    assert steps[-1].value == result.score
    assert steps[-1].finish_reason == "length"


def test_a_log_ratio_score_is_the_sum_of_what_is_reported(tiny: ivg.Model, other: ivg.Model) -> None:
    implicit = ivg.Implicit(tuned=other, untuned=tiny, weight=1.0)
    guidance = ivg.Guidance(implicit=implicit, search=ivg.ChunkBeamSearch(2, 2, 4))
    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance, attribution=True)
    for row in result.candidates:
        assert row.guide_values is not None
        assert row.score == pytest.approx(sum(values[0] for values in row.guide_values), abs=1e-3)


def test_a_length_stop_never_gets_the_end_token(tiny: ivg.Model, other: ivg.Model) -> None:
    implicit = ivg.Implicit(tuned=other, untuned=tiny)

    guidance = ivg.Guidance(implicit=implicit, search=ivg.BestOf(3))
    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance, banned_tokens=all_but_digits(tiny))
    assert result.finish_reason == "length"
    open_ended, ended = (tiny.score(implicit, PROMPT, [result.text], ended=flag)[0] for flag in (False, True))
    assert result.score == pytest.approx(open_ended, abs=1e-3)
    assert abs(open_ended - ended) > 1e-2


def test_scorers_are_told_what_is_finished(tiny: ivg.Model) -> None:
    flags: list[list[bool]] = []

    def scorer(prompt: str, texts: list[str], finished: list[bool]) -> list[float]:
        assert len(texts) == len(finished)
        flags.append(finished)
        return [float(len(text)) for text in texts]

    def end_some(row: int, seen: memoryview[int], logits: memoryview[float]) -> None:
        if row == 1 and len(seen) == 2:
            logits[2] = 1000.0

    guidance = ivg.Guidance(scorer=ivg.Scorer(scorer, with_finished=True), search=ivg.ChunkBeamSearch(1, 3, 4))
    tiny.generate(PROMPT, max_tokens=8, seed=1, guidance=guidance, logits_processor=end_some, banned_tokens=[0])
    assert flags[0] == [False, True, False]


def test_a_stop_string_ends_its_row_only(tiny: ivg.Model) -> None:
    guidance = ivg.Guidance(scorer=by_letters, search=ivg.ChunkBeamSearch(3, 2, 4))
    whole = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance)
    stop = whole.text[3:5]
    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance, stop=stop)
    for row in result.candidates:
        assert stop not in row.text
        assert row.finish_reason in ("stop", "length")
        scored = row.text + (stop if row.finish_reason == "stop" else "")  # cut after the stop string
        assert row.score == by_letters(PROMPT, [scored])[0]
    assert "stop" in {row.finish_reason for row in result.candidates}


def test_other_vocabularies_score_by_text(tiny: ivg.Model) -> None:
    with ivg.Model(fixture_path("tiny-other-vocabulary.gguf")) as stranger:
        implicit = ivg.Implicit(tuned=stranger, untuned=stranger, tuned_template="A {prompt}")
        guidance = ivg.Guidance(implicit=implicit, search=ivg.ChunkBeamSearch(2, 2, 3))
        result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance)
        assert all(math.isfinite(row.score) for row in result.candidates)


def test_dedupe(tiny: ivg.Model) -> None:
    search = ivg.ChunkBeamSearch(4, 2, 2)
    options = {"temperature": 0.0, "max_tokens": 8, "seed": 1}
    tiled = tiny.generate(PROMPT, guidance=ivg.Guidance(scorer=constant, search=search), **options)  # type: ignore[arg-type]
    single = tiny.generate(PROMPT, guidance=ivg.Guidance(scorer=constant, search=search, dedupe=True), **options)  # type: ignore[arg-type]
    assert len(tiled.candidates) == 4
    assert len(single.candidates) == 1
    assert single.text == tiled.text


@pytest.mark.parametrize("finished_rows", ["pool", "tile"])
def test_finished_rows_compete(tiny: ivg.Model, finished_rows: str) -> None:
    def end_early(row: int, seen: memoryview[int], logits: memoryview[float]) -> None:
        logits[2] = 1000.0 if row == 0 and len(seen) == 1 else -1000.0

    def shortest(prompt: str, texts: list[str]) -> list[float]:
        return [-float(len(text.encode())) for text in texts]

    guidance = ivg.Guidance(
        scorer=shortest,
        search=ivg.ChunkBeamSearch(2, 2, 4),
        finished_rows=finished_rows,  # type: ignore[arg-type]
    )
    result = tiny.generate(PROMPT, max_tokens=8, seed=1, guidance=guidance, logits_processor=end_early)
    assert result.finish_reason == "end"
    assert len(result.token_ids) == 2


# Integrated Value Guidance and its relatives


def test_roles(tiny: ivg.Model, other: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    """An implicit value beside an explicit one tilts, and the explicit one scores."""
    search = ivg.ChunkBeamSearch(2, 2, 4)

    def run(implicit_role: ivg.Role | None, explicit_role: ivg.Role | None) -> list[ivg.Candidate]:
        guidance = ivg.Guidance(
            implicit=ivg.Implicit(tuned=other, untuned=tiny, role=implicit_role),
            explicit=ivg.Explicit(scalar_head, role=explicit_role),
            search=search,
        )
        return tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance).candidates

    assert run(None, None) == run("tilt", "score")
    assert run(None, None) != run("score", "score")
    assert run("tilt", "score") != run("tilt", "tilt")


def test_default_roles_by_what_is_there(tiny: ivg.Model, other: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    search = ivg.BestOf(3)

    def text(**parts: object) -> list[ivg.Candidate]:
        return tiny.generate(PROMPT, sampling=OPTIONS, guidance=ivg.Guidance(**parts)).candidates  # type: ignore[arg-type]

    def implicit(role: ivg.Role | None = None) -> ivg.Implicit:
        return ivg.Implicit(tuned=other, untuned=tiny, role=role)

    def explicit(role: ivg.Role | None = None) -> ivg.Explicit:
        return ivg.Explicit(scalar_head, role=role)

    assert text(implicit=implicit(), search=search) == text(implicit=implicit("score"), search=search)
    assert text(implicit=implicit()) == text(implicit=implicit("tilt"))
    assert text(explicit=explicit(), search=search) == text(explicit=explicit("score"), search=search)
    assert text(explicit=explicit()) == text(explicit=explicit("tilt"))
    assert text(implicit=implicit(), scorer=constant, search=search) == text(
        implicit=implicit("tilt"), scorer=constant, search=search
    )
    assert not ivg.Guidance(implicit=implicit()).scores
    assert ivg.Guidance(implicit=implicit(), search=search).scores


def test_the_score_of_a_value_head_is_its_value_at_the_last_token(
    tiny: ivg.Model, other: ivg.Model, vocabulary_head: ivg.ValueHead
) -> None:
    guidance = ivg.Guidance(
        implicit=ivg.Implicit(tuned=other, untuned=tiny),
        explicit=ivg.Explicit(vocabulary_head, role="both"),
        search=ivg.ChunkBeamSearch(2, 2, 4),
    )
    result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance, attribution=True)
    for row in result.candidates:
        assert row.guide_values is not None
        assert row.score == pytest.approx(row.guide_values[-1][1], abs=1e-4)


def test_the_score_of_ivg_is_the_explicit_value(
    tiny: ivg.Model, other: ivg.Model, vocabulary_head: ivg.ValueHead, scalar_head: ivg.ValueHead
) -> None:
    """Incremental scores are those of the whole text."""
    for head in (vocabulary_head, scalar_head):
        guidance = ivg.Guidance(
            implicit=ivg.Implicit(tuned=other, untuned=tiny),
            explicit=ivg.Explicit(head),
            search=ivg.ChunkBeamSearch(3, 2, 4),
        )
        result = tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance, banned_tokens=all_but_digits(tiny))
        texts = [row.text for row in result.candidates]
        scores = tiny.score(head, PROMPT, texts, ended=False)
        assert [row.score for row in result.candidates] == pytest.approx(scores, abs=1e-4)


# Scoring texts


def test_scoring_by_log_ratio(tiny: ivg.Model, other: ivg.Model) -> None:
    def sum_of(model: ivg.Model, answer: list[int]) -> float:
        sequence = model.session().sequence()
        sequence.evaluate(model.tokenize(PROMPT))
        total = 0.0
        for token in answer:
            total += log_softmax(sequence.logits())[token]
            sequence.evaluate([token])
        return total

    answer = tiny.tokenize(" world", begin=False)
    expected = sum_of(other, answer) - sum_of(tiny, answer)
    implicit = ivg.Implicit(tuned=other, untuned=tiny)
    assert tiny.score(implicit, PROMPT, [" world"], ended=False)[0] == pytest.approx(expected, abs=0.01)
    with_end = sum_of(other, [*answer, 2]) - sum_of(tiny, [*answer, 2])
    assert tiny.score(implicit, PROMPT, [" world"])[0] == pytest.approx(with_end, abs=0.01)
    weighted = ivg.Implicit(tuned=other, untuned=tiny, weight=-2.0)
    assert tiny.score(weighted, PROMPT, [" world"], ended=False)[0] == pytest.approx(-2 * expected, abs=0.02)


def test_what_scores(tiny: ivg.Model, other: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    texts = ["yes", "no", "perhaps"]
    by_head = tiny.score(scalar_head, PROMPT, texts)
    assert by_head == tiny.score(ivg.Explicit(scalar_head), PROMPT, texts)
    assert by_head == tiny.score(ivg.Guidance(explicit=ivg.Explicit(scalar_head)), PROMPT, texts)
    assert by_head == [tiny.score(scalar_head, PROMPT, [text])[0] for text in texts]
    assert len(set(by_head)) == 3
    implicit = ivg.Implicit(tuned=other, untuned=tiny)
    guidance = ivg.Guidance(implicit=implicit, explicit=ivg.Explicit(scalar_head), search=ivg.ChunkBeamSearch(2, 2, 4))
    assert tiny.score(guidance, PROMPT, texts) == by_head
    both = tiny.score(ivg.Guidance(implicit=implicit, explicit=ivg.Explicit(scalar_head)), PROMPT, texts)
    ratio = tiny.score(implicit, PROMPT, texts)
    assert both == pytest.approx([a + b for a, b in zip(by_head, ratio, strict=True)], abs=1e-4)
    assert tiny.score(by_letters, PROMPT, texts) == by_letters(PROMPT, texts)  # type: ignore[arg-type]
    assert tiny.score(ivg.Scorer(by_letters, weight=2.0), PROMPT, texts) == [
        2 * value for value in by_letters(PROMPT, texts)
    ]
    assert tiny.score(scalar_head, PROMPT, []) == []
    with pytest.raises(TypeError, match="a list of texts"):
        tiny.score(scalar_head, PROMPT, "yes")
    with pytest.raises(TypeError, match="cannot score by"):
        tiny.score(3, PROMPT, texts)  # type: ignore[arg-type]
    with pytest.raises(ivg.InvalidArgumentError, match="nothing to score by"):
        tiny.score(ivg.Guidance(), PROMPT, texts)


# Callbacks


def test_exceptions_in_a_scorer_come_out(tiny: ivg.Model) -> None:
    calls = itertools.count()

    def scorer(prompt: str, texts: list[str]) -> list[float]:
        if next(calls) == 1:
            raise Boom("inside")
        return [0.0] * len(texts)

    guidance = ivg.Guidance(scorer=scorer, search=ivg.ChunkBeamSearch(2, 2, 2))
    with pytest.raises(Boom, match="inside"):
        tiny.generate(PROMPT, sampling=OPTIONS, guidance=guidance)
    with pytest.raises(ValueError, match="returned 1 scores for 4 texts"):
        tiny.generate(
            PROMPT,
            sampling=OPTIONS,
            guidance=ivg.Guidance(scorer=lambda prompt, texts: [1.0], search=ivg.ChunkBeamSearch(2, 2, 2)),
        )
    nan = ivg.Guidance(scorer=lambda prompt, texts: [math.nan] * len(texts), search=ivg.BestOf(2))
    with pytest.raises(ivg.CallbackError):
        tiny.generate(PROMPT, sampling=OPTIONS, guidance=nan)
    assert tokens(tiny)


def test_callbacks_are_let_go(tiny: ivg.Model) -> None:
    gc.collect()
    before = _callbacks.kept_count()
    with tiny.session() as session:
        guidance = ivg.Guidance(scorer=constant, search=ivg.BestOf(2))
        session.generate(PROMPT, max_tokens=2, guidance=guidance, logits_processor=lambda row, seen, logits: None)
        hosted = ivg.HostedModel(tiny, logits=lambda rows: [[0.0] * 320 for _ in rows])
        hosted.generate(PROMPT, max_tokens=2)
        assert _callbacks.kept_count() > before
        hosted.close()
        guidance.close()
        del guidance, hosted
    gc.collect()
    assert _callbacks.kept_count() == before


def test_a_long_text_beside_a_short_one_changes_nothing() -> None:
    """Models with LongRoPE compute short and long texts differently: each as if it were alone."""
    model = ivg.Model(fixture_path("architectures/phi3-longrope.gguf"))
    value = ivg.Implicit(tuned_template="a b {prompt}", untuned_template="{prompt}", role="score")
    texts = ["abc", "the value of a text is what a reader finds in it " * 2, "b", "xyz"] * 6
    alone = [model.score(value, "Hi", [text])[0] for text in texts]
    assert model.score(value, "Hi", texts) == alone
    assert len(set(alone)) == 4
