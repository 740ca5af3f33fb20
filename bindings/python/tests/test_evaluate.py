"""The comparison of methods: what is run, the figures, and going on after an interruption."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path
from test_cli import run
from test_generate import Boom, log_softmax
from test_guidance import by_letters
from test_plot import noting
from test_prefer import BY_LENGTH, TINY, lines_of

import ivg
from ivg._evaluate import METHODS
from ivg._records import Prompt, prompt_seed

PROMPTS = ["Hello", "World", "Once upon"]
ALL = tuple(METHODS)
SEARCH = ivg.SearchOptions(width=2, successors=2, chunk=3, best_of=4)
OPTIONS = ivg.EvaluationOptions(
    methods=ALL, search=SEARCH, sampling=ivg.SamplingOptions(max_tokens=8, top_k=20), prefix="Ab ", resamples=100
)
Gold = Callable[[str, list[str]], list[float]]


@pytest.fixture
def guides(tiny: ivg.Model, adapter: ivg.Adapter, vocabulary_head: ivg.ValueHead) -> ivg.Guides:
    return ivg.Guides(tuned=adapter, value_head=vocabulary_head)


def generations(folder: Path) -> dict[tuple[str, str], Any]:
    """The lines of generations.jsonl by method and prompt."""
    return {(line["method"], line["id"]): line for line in lines_of(folder / "generations.jsonl")}


def untimed(folder: Path) -> list[Any]:
    return [
        {key: value for key, value in line.items() if key != "seconds"}
        for line in lines_of(folder / "generations.jsonl")
    ]


# What is run


def test_each_method_is_its_guidance(
    tmp_path: Path, tiny: ivg.Model, adapter: ivg.Adapter, vocabulary_head: ivg.ValueHead, guides: ivg.Guides
) -> None:
    """The methods of the table (algorithms of IVG, section 4) against guidances written out by hand."""
    rows = ivg.evaluate(tiny, PROMPTS, by_letters, tmp_path, guides=guides, options=OPTIONS)
    assert [row["method"] for row in rows] == list(METHODS)

    def implicit(role: ivg.Role) -> ivg.Implicit:  # guides see the bare prompt, the base sees its prefix
        return ivg.Implicit(tuned=adapter, untuned=tiny, role=role)

    def explicit(role: ivg.Role) -> ivg.Explicit:
        return ivg.Explicit(vocabulary_head, role=role)

    best, chunks = ivg.BestOf(4), ivg.ChunkBeamSearch(2, 2, 3)
    expected: dict[str, ivg.Guidance | None] = {
        "Base": None,
        "BoNi": ivg.Guidance(implicit=implicit("score"), search=best),
        "BoNe": ivg.Guidance(explicit=explicit("score"), search=best),
        "EFTi": ivg.Guidance(implicit=implicit("tilt")),
        "EFTe": ivg.Guidance(explicit=explicit("tilt")),
        "CBSi": ivg.Guidance(implicit=implicit("score"), search=chunks),
        "CBSe": ivg.Guidance(explicit=explicit("score"), search=chunks),
        "EFTi+CBSi": ivg.Guidance(implicit=implicit("both"), search=chunks),
        "EFTe+CBSi": ivg.Guidance(explicit=explicit("tilt"), implicit=implicit("score"), search=chunks),
        "EFTe+CBSe": ivg.Guidance(explicit=explicit("both"), search=chunks),
        "IVG": ivg.Guidance(implicit=implicit("tilt"), explicit=explicit("score"), search=chunks),
    }
    found = generations(tmp_path)
    assert len(found) == len(METHODS) * len(PROMPTS)
    for number, text in enumerate(PROMPTS, 1):
        seed = prompt_seed(1, Prompt(text, str(number)))
        for name, guidance in expected.items():
            done = tiny.generate("Ab " + text, guidance=_reading(guidance, text), sampling=OPTIONS.sampling, seed=seed)
            line = found[name, str(number)]
            assert (line["text"], line["tokens"]) == (done.text, len(done.token_ids)), name
            assert line["gold"] == by_letters(text, [done.text])[0]
            assert line["score"] == (pytest.approx(done.score) if METHODS[name].score else None)
    assert len({found[name, "1"]["text"] for name in METHODS}) > 6


def _reading(guidance: ivg.Guidance | None, prompt: str) -> ivg.Guidance | None:
    """The same guidance with guides that read `prompt`, whatever the base reads."""
    if guidance is None:
        return None
    return ivg.Guidance(
        implicit=[
            dataclasses.replace(part, tuned_template=prompt, untuned_template=prompt) for part in guidance._implicit
        ],
        explicit=[dataclasses.replace(part, template=prompt) for part in guidance._explicit],
        search=None
        if guidance._options.successors == 0
        else ivg.ChunkBeamSearch(guidance._options.width or 1, guidance._options.successors, guidance._options.chunk),
    )


def test_guides_of_another_model(
    tmp_path: Path, tiny: ivg.Model, other: ivg.Model, adapter: ivg.Adapter, vocabulary_head: ivg.ValueHead
) -> None:
    """Adapters and heads belong to the guide model, which without its adapter is the untuned one."""
    guides = ivg.Guides(model=tiny, tuned=adapter, value_head=vocabulary_head, prefix="Xy ")
    options = dataclasses.replace(OPTIONS, methods=("Base", "EFTi", "IVG"))
    ivg.evaluate(other, PROMPTS[:1], by_letters, tmp_path, guides=guides, options=options)
    implicit = ivg.Implicit(tuned=adapter, untuned=tiny, template="Xy Hello")
    explicit = ivg.Explicit(vocabulary_head, template="Xy Hello")
    search = ivg.ChunkBeamSearch(2, 2, 3)
    seed = prompt_seed(1, Prompt("Hello", "1"))
    for name, guidance in (
        ("EFTi", ivg.Guidance(implicit=implicit)),
        ("IVG", ivg.Guidance(implicit=implicit, explicit=explicit, search=search)),
    ):
        done = other.generate("Ab Hello", guidance=guidance, sampling=OPTIONS.sampling, seed=seed)
        assert generations(tmp_path)[name, "1"]["text"] == done.text


def test_a_scalar_head_tilts_the_base_s_candidates(tmp_path: Path, tiny: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    options = dataclasses.replace(OPTIONS, methods=("EFTe",), prefix="", search=ivg.SearchOptions(weights=(3.0,)))
    ivg.evaluate(tiny, ["Hello"], by_letters, tmp_path, guides=ivg.Guides(value_head=scalar_head), options=options)
    guidance = ivg.Guidance(
        explicit=ivg.Explicit(scalar_head, weight=3.0), candidates="base"
    )  # the only ones it values
    seed = prompt_seed(1, Prompt("Hello", "1"))
    done = tiny.generate("Hello", guidance=guidance, sampling=OPTIONS.sampling, seed=seed)
    assert generations(tmp_path)["EFTe", "1"]["text"] == done.text


def test_prompts_as_guides_and_sweeps(tmp_path: Path, tiny: ivg.Model) -> None:
    guides = ivg.Guides(tuned_prompt="Joy {prompt}", untuned_prompt="Dull {prompt}")
    search = dataclasses.replace(SEARCH, weights=(0.5, 2.0))
    options = dataclasses.replace(OPTIONS, methods=("Base", "EFTi", "CBSi"), search=search)
    rows = ivg.evaluate(tiny, PROMPTS, by_letters, tmp_path, guides=guides, options=options)
    assert [row["method"] for row in rows] == ["Base", "EFTi w=0.5", "EFTi w=2", "CBSi"]
    found = generations(tmp_path)
    implicit = ivg.Implicit(tuned_template="Joy {prompt}", untuned_template="Dull {prompt}", weight=2.0)
    done = tiny.generate(
        "Hello",
        template="Ab {prompt}",
        guidance=ivg.Guidance(implicit=implicit),
        sampling=OPTIONS.sampling,
        seed=prompt_seed(1, Prompt("Hello", "1")),
    )
    assert found["EFTi w=2", "1"]["text"] == done.text != found["EFTi w=0.5", "1"]["text"]


def test_what_a_line_says_of_the_base(tmp_path: Path, tiny: ivg.Model, guides: ivg.Guides) -> None:
    """base_log_probability is that of the text's tokens, one by one, behind the base's own prompt."""
    options = dataclasses.replace(OPTIONS, methods=("Base", "EFTi", "CBSe"))
    rows = ivg.evaluate(tiny, ["Hello"], by_letters, tmp_path, guides=guides, options=options)
    found = generations(tmp_path)
    for row in rows:
        line = found[row["method"], "1"]
        seed = prompt_seed(1, Prompt("Hello", "1"))
        if row["method"] == "Base":
            tokens = tiny.generate("Ab Hello", sampling=OPTIONS.sampling, seed=seed).token_ids
            sequence = tiny.session().sequence()
            sequence.evaluate(tiny.tokenize("Ab Hello"))
            total = 0.0
            for token in tokens:
                total += log_softmax(sequence.logits())[token]
                sequence.evaluate([token])
            assert line["base_log_probability"] == pytest.approx(total, abs=1e-3)
        tilt = line["log_probability"] - line["base_log_probability"]
        assert (row["method"] == "EFTi") == (abs(tilt) > 1e-6)
        assert row["kl_is_bound"] == (row["method"] == "CBSe")
        if not row["kl_is_bound"]:
            assert row["kl"] == pytest.approx(tilt)


# Going on


def stopping(after: int, scorer: Gold) -> Gold:
    """A scorer that fails after some calls."""
    calls = iter(range(after))

    def score(prompt: str, texts: list[str]) -> list[float]:
        if next(calls, None) is None:
            raise Boom("stopped")
        return scorer(prompt, texts)

    return score


def test_interrupted_and_gone_on(tmp_path: Path, tiny: ivg.Model, guides: ivg.Guides) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    rows = ivg.evaluate(tiny, PROMPTS, by_letters, whole, guides=guides, options=OPTIONS)
    with pytest.raises(Boom):
        ivg.evaluate(tiny, PROMPTS, stopping(2, by_letters), broken, guides=guides, options=OPTIONS)
    path = broken / "generations.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2 * len(ALL)
    path.write_bytes(b"".join(lines[:-3]) + lines[-3][:40])
    again = ivg.evaluate(tiny, PROMPTS, by_letters, broken, guides=guides, options=OPTIONS)
    assert untimed(broken) == untimed(whole)
    for first, second in zip(rows, again, strict=True):
        assert {**first, "tokens_per_second": 0} == {**second, "tokens_per_second": 0}
    before = path.read_bytes()
    ivg.evaluate(tiny, PROMPTS, stopping(0, by_letters), broken, guides=guides, options=OPTIONS)
    assert path.read_bytes() == before


def test_methods_and_prompts_may_grow(tmp_path: Path, tiny: ivg.Model, guides: ivg.Guides) -> None:
    first = dataclasses.replace(OPTIONS, methods=("Base", "EFTi"))
    ivg.evaluate(tiny, PROMPTS[:1], by_letters, tmp_path, guides=guides, options=first)
    second = dataclasses.replace(OPTIONS, methods=("IVG",), prompts_per_batch=2)
    rows = ivg.evaluate(tiny, PROMPTS, by_letters, tmp_path, guides=guides, options=second)
    assert {row["method"]: row["prompts"] for row in rows} == {"Base": 1, "EFTi": 1, "IVG": 3}


def test_what_must_not_be_mixed(tmp_path: Path, tiny: ivg.Model, guides: ivg.Guides) -> None:
    options = dataclasses.replace(OPTIONS, methods=("Base",))

    def evaluate(**changes: Any) -> list[Any]:
        arguments: dict[str, Any] = {"prompts": PROMPTS, "guides": guides, "options": options, **changes}
        return ivg.evaluate(tiny, gold=by_letters, output=tmp_path, **arguments)

    evaluate()
    kept = (tmp_path / "generations.jsonl").read_bytes()
    for changes, message in (
        ({"options": dataclasses.replace(options, prefix="Cd ")}, 'prefix was "Ab ", is "Cd "'),
        ({"options": dataclasses.replace(options, seed=2)}, "seed was 1, is 2"),
        ({"guides": ivg.Guides()}, "tuned was"),
        ({"settings": {"scorer": "x"}}, 'scorer was null, is "x"'),
        ({"prompts": ["Hello", "Moon"]}, "prompt 2 is another one now"),
    ):
        with pytest.raises(ivg.InvalidArgumentError, match=message):
            evaluate(**changes)
    assert (tmp_path / "generations.jsonl").read_bytes() == kept
    evaluate(options=dataclasses.replace(options, seed=2), force=True)
    assert (tmp_path / "generations.jsonl").read_bytes() != kept
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ivg.InvalidArgumentError, match="cannot be read"):
        evaluate()


def test_what_cannot_be_run(tmp_path: Path, tiny: ivg.Model) -> None:
    with pytest.raises(ivg.InvalidArgumentError, match="no method 'CBS'"):
        ivg.evaluate(tiny, PROMPTS, by_letters, tmp_path, options=dataclasses.replace(OPTIONS, methods=("CBS",)))
    with pytest.raises(ivg.InvalidArgumentError, match="no guides are given for any of the methods IVG"):
        ivg.evaluate(tiny, PROMPTS, by_letters, tmp_path, options=dataclasses.replace(OPTIONS, methods=("IVG",)))
    with pytest.raises(ivg.InvalidArgumentError, match="no prompts"):
        ivg.evaluate(tiny, [], by_letters, tmp_path)


# The report


def test_the_table(tmp_path: Path, tiny: ivg.Model, guides: ivg.Guides) -> None:
    options = dataclasses.replace(OPTIONS, methods=("Base", "IVG"))
    rows = ivg.evaluate(tiny, PROMPTS, by_letters, tmp_path, guides=guides, options=options)
    assert json.loads((tmp_path / "table.json").read_text()) == rows
    found = generations(tmp_path)
    base, own = rows
    gold = [found["IVG", str(i)]["gold"] for i in (1, 2, 3)]
    gaps = [value - found["Base", str(i)]["gold"] for i, value in enumerate(gold, 1)]
    assert own["gold"]["mean"] == pytest.approx(sum(gold) / 3)
    assert min(gold) <= own["gold"]["low"] <= own["gold"]["mean"] <= own["gold"]["high"] <= max(gold)
    assert own["above_base"]["mean"] == pytest.approx(sum(gaps) / 3)
    assert own["win_rate"] == pytest.approx(sum(gap > 0 for gap in gaps) / 3)
    assert (base["win_rate"], base["kl"], base["above_base"]["mean"]) == (0.5, 0, 0)
    assert own["tokens"] == 8
    table = (tmp_path / "table.md").read_text().splitlines()
    [line] = [line for line in table if line.startswith("| IVG")]
    assert f"| {own['gold']['mean']:.2f} [{own['gold']['low']:.2f}, {own['gold']['high']:.2f}] |" in line
    assert "≤" in line
    assert len({line.count("|") for line in table if line.startswith("|")}) == 1


def test_several_base_models(tmp_path: Path, tiny: ivg.Model, other: ivg.Model, adapter: ivg.Adapter) -> None:
    pytest.importorskip("matplotlib")
    from ivg._evaluate import figure

    guides = ivg.Guides(model=tiny, tuned=adapter)
    options = dataclasses.replace(OPTIONS, methods=("Base", "EFTi"))
    rows = ivg.evaluate([tiny, other], PROMPTS[:2], by_letters, tmp_path, guides=guides, options=options)
    assert [(row["model"], row["method"]) for row in rows] == [
        ("tiny-llama", "Base"),
        ("tiny-llama", "EFTi"),
        ("tiny-llama-untuned", "Base"),
        ("tiny-llama-untuned", "EFTi"),
    ]
    assert "| tiny-llama-untuned | EFTi |" in (tmp_path / "table.md").read_text()
    made: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "figure_of", noting(made))
        ivg.plot_methods(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    [drawn] = made
    assert [panel.get_title() for panel in drawn.axes] == ["tiny-llama", "tiny-llama-untuned"]
    for panel, some in zip(drawn.axes, (rows[:2], rows[2:]), strict=True):
        assert [bar.get_height() for bar in panel.patches] == [row["gold"]["mean"] for row in some]


def test_chat(tmp_path: Path, tiny: ivg.Model, guides: ivg.Guides) -> None:
    """Every model sees its own chat template, and AlpacaEval gets its files."""
    options = dataclasses.replace(OPTIONS, methods=("Base", "EFTi"), chat=True, prefix="")
    ivg.evaluate(tiny, PROMPTS, by_letters, tmp_path, guides=guides, options=options)
    found = generations(tmp_path)
    seed = prompt_seed(1, Prompt("Hello", "1"))
    done = tiny.chat([{"role": "user", "content": "Hello"}], sampling=OPTIONS.sampling, seed=seed)
    assert found["Base", "1"]["text"] == done.text
    guidance = ivg.Guidance(implicit=ivg.Implicit(tuned=guides.tuned))
    done = tiny.chat([{"role": "user", "content": "Hello"}], sampling=OPTIONS.sampling, seed=seed, guidance=guidance)
    assert found["EFTi", "1"]["text"] == done.text
    outputs = json.loads((tmp_path / "alpaca_eval" / "EFTi" / "model_outputs.json").read_text())
    assert outputs == [
        {"instruction": text, "output": found["EFTi", str(i)]["text"], "generator": "EFTi"}
        for i, text in enumerate(PROMPTS, 1)
    ]


# The command


def evaluate(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Runs `ivg evaluate` on the tiny model."""
    (folder / "prompts").write_text("Hello\nWorld\n")
    command = ["evaluate", TINY, "--prompts", str(folder / "prompts"), "-o", str(folder / "out"), "--max-tokens", "6"]
    command += [] if "--scorer" in arguments else ["--scorer", BY_LENGTH]
    done = run(*command, *arguments)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_command(tmp_path: Path) -> None:
    adapter, head = str(fixture_path("tiny-adapter.gguf")), str(fixture_path("tiny-value-vocabulary.gguf"))
    arguments = ["--tuned", adapter, "--value-head", head, "-W", "2", "-K", "2", "-L", "3", "-N", "3"]
    code, output, errors = evaluate(tmp_path, *arguments)
    assert (code, errors) in ((0, ""), (0, errors if "matplotlib" in errors else ""))
    assert output == (tmp_path / "out" / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in output.splitlines() if line.startswith("|")][2:] == [
        *("Base", "BoNi", "BoNe", "EFTi", "EFTe", "CBSi", "CBSe", "EFTi+CBSi", "IVG"),
    ]
    for line in lines_of(tmp_path / "out" / "generations.jsonl"):
        assert line["gold"] == len(line["prompt"] + line["text"])
    code, again, _ = evaluate(tmp_path, *arguments, "--methods", "IVG,Base")
    assert (code, again) == (0, output)


def test_errors_are_one_line(tmp_path: Path) -> None:
    adapter, head = str(fixture_path("tiny-adapter.gguf")), str(fixture_path("tiny-value-vocabulary.gguf"))
    for arguments, message in (
        (["--methods", "Base,CBS"], "there is no method 'CBS'"),
        (["--methods", "Base", "--weight", "1,x"], "--weight: '1,x' is not a number"),
        (["--methods", "Base", "--weight", "1,1"], "each of them once"),
        (["--methods", "Base", "--scorer", "exit 1"], "ended with exit status 1"),
        (["--methods", "Base", "--value-head", adapter], "--value-head: "),
        (["--methods", "Base", "--tuned", head], "is a value head"),
        (["--methods", "Base", str(fixture_path("tiny-qwen2.gguf")), "--tuned", adapter], "pass --guide-model FILE"),
    ):
        code, _, errors = evaluate(tmp_path, *arguments)
        assert (code, len(errors.splitlines())) == (1, 1), errors
        assert message in errors
    code, _, errors = evaluate(tmp_path, "--methods", "Base,IVG,BoNi", "--tuned-prompt", "Joy")
    assert code == 0
    assert errors.splitlines()[0] == "ivg: IVG is skipped: it needs --value-head FILE"


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the figure is there."""
    (tmp_path / "matplotlib.py").write_text("raise ImportError('none here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    code, output, errors = evaluate(tmp_path, "--methods", "Base")
    assert (code, "Base" in output) == (0, True)
    assert errors.splitlines()[1].strip() == "pip install 'ivg[plot]'"
    assert len(errors.splitlines()) == 2
    assert not (tmp_path / "out" / "figure.png").exists()


def test_on_a_real_model(tmp_path: Path, real: ivg.Model) -> None:
    """A prompt contrast writes text that the contrast itself values more."""
    contrast = ivg.Implicit(tuned_template="A rave review: {prompt}", untuned_template="A review: {prompt}")
    guides = ivg.Guides(tuned_prompt="A rave review: {prompt}", untuned_prompt="A review: {prompt}")
    search = ivg.SearchOptions(width=2, successors=2, chunk=4)
    options = ivg.EvaluationOptions(
        methods=("Base", "EFTi+CBSi"), search=search, sampling=ivg.SamplingOptions(max_tokens=12)
    )
    prompts = ["The film was", "I think that this film"]
    base, guided = ivg.evaluate(real, prompts, contrast, tmp_path, guides=guides, options=options)
    assert guided["gold"]["mean"] > base["gold"]["mean"]
    assert 1 < base["perplexity"] < 100
