"""ivg.train: learning, options, data, files."""

from __future__ import annotations

import dataclasses
import functools
import gc
import math
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path
from training_data import Records, completions, finished, of_kind, pairs, rewarded, saved, write

import ivg
from ivg.train import DPO, SFT, Report, RewardModel, Trainer, TrainingOptions, ValueModel

Make = Callable[..., Trainer]
SMALL = TrainingOptions(epochs=12, batch_size=8, rank=4, learning_rate=5e-3, threads=1, evaluation=0.2)
HEAD = dataclasses.replace(SMALL, learning_rate=3e-2)
OBJECTIVES: list[tuple[Make, Records]] = [
    (SFT, completions(40)),
    (DPO, pairs(40)),
    (functools.partial(DPO, loss="robust", label_smoothing=0.1), pairs(40)),
    (functools.partial(DPO, loss="ipo"), pairs(40)),
    (RewardModel, pairs(40)),
    (functools.partial(RewardModel, head_only=True), pairs(40)),
    (ValueModel, rewarded(60)),
    (functools.partial(ValueModel, loss="classify", head="vocabulary"), rewarded(60)),
    (functools.partial(ValueModel, loss="cdq", head="vocabulary"), rewarded(60)),
    (functools.partial(ValueModel, head_only=True), rewarded(60)),
]


def options_for(make: Make) -> TrainingOptions:
    """Good enough to learn in a second."""
    return HEAD if isinstance(make, functools.partial) and "head_only" in make.keywords else SMALL


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Preferences in a file."""
    return write(tmp_path / "pairs.jsonl", pairs(16))


# Learning


@pytest.mark.parametrize(("make", "records"), OBJECTIVES)
def test_learning(tiny: ivg.Model, make: Make, records: Records, tmp_path: Path) -> None:
    with make(tiny, records, options=options_for(make)) as trainer:
        reports = list(trainer)
        steps, evaluations = of_kind(reports, "train"), of_kind(reports, "evaluate")
        assert [report.step for report in steps] == list(range(1, trainer.info.step_count + 1))
        assert len(evaluations) == 12
        assert steps[0].correlation is None
        assert steps[0].kl is None
        if "classify" not in str(make):  # beginnings of which nobody can know the end keep their loss
            assert figure(steps[-1], "loss") < 0.75 * figure(steps[0], "loss")
        expect_figures(trainer, steps[0], evaluations[-1])
        trainer.save(tmp_path / "made.gguf")
        expect_guides(tiny, trainer, tmp_path / "made.gguf")


def figure(report: Report, name: str) -> float:
    """A figure that must be there."""
    value = getattr(report, name)
    assert isinstance(value, float)
    assert math.isfinite(value)
    return value


def expect_figures(trainer: Trainer, first: Report, result: Report) -> None:
    """The figures of the first step, and of the last evaluation."""
    if isinstance(trainer, DPO | SFT):
        assert figure(result, "kl") > 0
    if isinstance(trainer, SFT):
        assert (result.accuracy, result.margin) == (None, None)
    elif isinstance(trainer, ValueModel) and trainer.info.parameter_count == 65:
        assert figure(result, "accuracy") > 0.5  # a head alone on a random trunk
    else:
        assert result.accuracy == 1
    if isinstance(trainer, ValueModel) and trainer.info.parameter_count > 65:
        assert figure(result, "correlation") > 0.9
    if isinstance(trainer, DPO | RewardModel):
        assert figure(result, "margin") == pytest.approx(figure(result, "chosen") - figure(result, "rejected"))
        assert first.loss in (pytest.approx(math.log(2), abs=1e-6), pytest.approx(25))  # IPO: (1 / 2 beta)^2


def expect_guides(model: ivg.Model, trainer: Trainer, path: Path) -> None:
    """What was made opens like any other file, prefers what it learned to prefer and changes what is generated."""
    good, bad = " film plot actor scene good", " film plot actor scene bad"
    plain = model.generate("Say 3", seed=1, max_tokens=12)
    if isinstance(trainer, RewardModel | ValueModel):
        with model.value_head(path) as head:
            better, worse = model.score(head, "Say 3", [good, bad])
            guidance = ivg.Guidance(explicit=ivg.Explicit(head, weight=5.0, role="score"), search=ivg.BestOf(4))
    else:
        with model.adapter(path) as adapter:
            implicit = ivg.Implicit(tuned=adapter)
            better, worse = model.score(implicit, "Say 3", [good, bad])
            guidance = ivg.Guidance(implicit=implicit)
            assert model.generate("Say 3", seed=1, max_tokens=12, guidance=guidance).text != plain.text
    assert better > worse
    assert math.isfinite(model.generate("Say 3", seed=1, max_tokens=12, guidance=guidance).score)


def test_starting_from_a_file(tiny: ivg.Model, tmp_path: Path) -> None:
    """A preference run on an untuned adapter, and heads that go on."""
    with SFT(tiny, completions(40), options=SMALL) as untuned:
        untuned.run()
        untuned.save(tmp_path / "sft.gguf")
    with DPO(tiny, pairs(40), options=SMALL, start=tmp_path / "sft.gguf") as tuned:
        start = saved(tuned, tmp_path)
        with tiny.adapter(tmp_path / "sft.gguf") as one, tiny.adapter(tmp_path / "saved.gguf") as other:
            texts = [" film good", " plot bad"]
            scores = [tiny.score(ivg.Implicit(tuned=adapter), "Say 3", texts) for adapter in (one, other)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-6)
        result = tuned.run()
        assert result is not None
        assert result.accuracy == 1
        assert 0 < figure(result, "kl") < 20
        assert saved(tuned, tmp_path) != start
    with RewardModel(tiny, pairs(40), options=SMALL) as reward:
        reward.run()
        reward.save(tmp_path / "reward.gguf")
    with RewardModel(tiny, pairs(40), options=SMALL, start=tmp_path / "reward.gguf") as more:
        assert figure(of_kind(more, "train")[0], "loss") < 0.1
    with pytest.raises(ivg.MismatchError, match=r"reward\.gguf"):
        DPO(tiny, pairs(4), start=tmp_path / "reward.gguf")


@pytest.mark.parametrize("name", ["tiny-qwen2.gguf", "tiny-llama-q8_0.gguf", "tiny-llama-q4_0.gguf"])
def test_other_models(name: str) -> None:
    with ivg.Model(fixture_path(name), threads=1) as model, DPO(model, pairs(40), options=SMALL) as trainer:
        result = trainer.run()
    assert result is not None
    assert result.accuracy == 1


# Options


def test_what_a_trainer_says_of_itself(tiny: ivg.Model, data: Path) -> None:
    with DPO(tiny, data, evaluation=0.25, batch_size=4, epochs=2, rank=2, projections=["q", "value"]) as trainer:
        info = trainer.info
        assert (info.example_count, info.evaluation_count, info.problem_count) == (12, 4, 0)
        assert (info.step_count, info.resumed_step) == (6, 0)
        # Two layers: q is 64 x 64, v is 64 x 32.
        assert info.parameter_count == 2 * 2 * (64 + 64 + 64 + 32)
        assert 0 < info.memory < 1 << 30
        assert trainer.model is tiny
        assert "DPO" in repr(trainer)
        kinds = [report.kind for report in trainer]
        assert kinds[0] == "prepare"
        assert (kinds.count("train"), kinds.count("evaluate")) == (6, 2)
        assert list(trainer) == []


def test_defaults_are_the_librarys(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    names = ["q", "k", "v", "o", "gate", "up", "down"]
    spelled = TrainingOptions(max_tokens=256, max_prompt_tokens=128, alpha=16, projections=names, learning_rate=5e-4)
    assert finished(DPO(tiny, data), tmp_path) == finished(DPO(tiny, data, options=spelled), tmp_path)
    assert finished(DPO(tiny, data), tmp_path) != finished(DPO(tiny, data, seed=1), tmp_path)


def test_options_that_change_the_run(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    base: dict[str, Any] = {"max_steps": 6, "epochs": 9, "batch_size": 4, "threads": 1}
    plain = finished(DPO(tiny, data, **base), tmp_path)
    for change in (
        *({"beta": 0.3}, {"label_smoothing": 0.2}, {"loss": "ipo"}, {"alpha": 4}, {"dropout": 0.2}, {"rank": 4}),
        *({"constant_rate": True}, {"warmup_fraction": 0.0}, {"weight_decay": 0.1}, {"beta1": 0.5}, {"beta2": 0.9}),
        *({"clip_norm": None, "beta": 9.0}, {"end_token": False}, {"prompt_template": "Q: {prompt}"}),
        *({"projections": ["o"]}, {"max_prompt_tokens": 2}, {"max_steps": 2}, {"batch_size": 3}),
    ):
        assert finished(DPO(tiny, data, **{**base, **change}), tmp_path) != plain, change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "hinge"}, "no loss 'hinge'"),
        ({"projections": ["q", "x"]}, "no projection 'x'"),
        ({"projections": []}, "projections names none"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"beta": 0}, "beta is 0"),
        ({"label_smoothing": 0.75}, "label_smoothing is 0.75"),
        ({"evaluation": 1.5}, "evaluation_fraction is 1.5"),
        ({"rank": 0}, "rank is 0"),
        ({"rank": 1000}, "rank is 1000"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"seed": 1 << 64}, "seed is"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"patience": 1}, "patience needs"),
        ({"epochs": 0.0}, "epochs is 0"),
        ({"max_tokens": 1000}, "max_tokens is 1000"),
        ({"prompt_template": "a\0b"}, "NUL"),
    ],
)
def test_wrong_options(tiny: ivg.Model, data: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ivg.InvalidArgumentError, match=message):
        DPO(tiny, data, **change)


def test_wrong_words(tiny: ivg.Model, data: Path) -> None:
    with pytest.raises(TypeError, match="learnrate"):
        DPO(tiny, data, learnrate=1)  # type: ignore[call-arg]
    with pytest.raises(ivg.InvalidArgumentError, match="no head 'matrix'"):
        ValueModel(tiny, data, head="matrix")  # type: ignore[arg-type]
    with pytest.raises(ivg.OutOfMemoryError, match="1000"):
        DPO(tiny, data, memory_budget=1000)
    with pytest.raises(ivg.UnsupportedError), ivg.Model(fixture_path("tiny-vocabulary-only.gguf")) as words:
        DPO(words, data)


# Data


def test_records_are_as_good_as_a_file(tiny: ivg.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    records = [{**pair, "chosen": pair["chosen"] + " é\ud83d\ude00"} for pair in pairs(12)]
    data = write(tmp_path / "pairs.jsonl", records)
    expected = finished(DPO(tiny, data, evaluation=data, threads=1), tmp_path)
    trainer = DPO(tiny, (record for record in records), evaluation=iter(records), threads=1)
    assert len(os.listdir(folder)) == 2
    assert finished(trainer, tmp_path) == expected
    assert os.listdir(folder) == []
    DPO(tiny, records)
    gc.collect()
    assert os.listdir(folder) == []
    with pytest.raises(ivg.InvalidArgumentError, match="no line"):
        DPO(tiny, [])
    with pytest.raises(TypeError):
        DPO(tiny, [{"prompt": object()}])
    assert os.listdir(folder) == []


BAD_LINES = [
    '{"prompt": "a", "completion": "good", "reward": 1}',
    "",
    "no json",
    '{"prompt": "a", "completion": "b"}',
    '["a"]',
    '{"prompt": "a", "completion": "c", "reward": "high"}',
    '{"prompt": "a", "completion": "", "reward": 0}',
    '{"prompt": "a", "completion": "bad", "reward": NaN}',
    '{"prompt": "a", "completion": "bad", "reward": 0}',
    '{"prompt": "a", "completion": "bad"',
]


def test_problems(tiny: ivg.Model, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(BAD_LINES))
    with ValueModel(tiny, path, evaluation=path) as trainer:
        assert [(problem.evaluation, problem.line) for problem in trainer.problems] == [
            (evaluation, line) for evaluation in (False, True) for line in (3, 4, 5, 6, 7, 8, 10)
        ]
        reasons = {problem.line: problem.reason for problem in trainer.problems}
        assert "completion" in reasons[7]
        assert all("reward" in reasons[line] for line in (4, 6))
        assert all(reasons.values())
        assert trainer.info.problem_count == 14
        assert trainer.info.example_count == 2
    with pytest.raises(ivg.InvalidArgumentError, match=r"bad\.jsonl.*3"):
        ValueModel(tiny, path, strict=True)
    with ValueModel(tiny, [{"prompt": "a"}, {"prompt": "a", "completion": "b", "reward": math.inf}, *rewarded(2)]) as t:
        assert [problem.line for problem in t.problems] == [1, 2]


def test_many_problems(tiny: ivg.Model, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("x\n" * 1500 + "".join(str(pair).replace("'", '"') + "\n" for pair in pairs(4)))
    with DPO(tiny, path) as trainer:
        assert trainer.info.problem_count == 1500
        assert [problem.line for problem in trainer.problems] == list(range(1, 1001))


def test_files_that_are_missing(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ivg.NotFoundError, match="missing"):
        DPO(tiny, tmp_path / "missing.jsonl")
    with pytest.raises(FileNotFoundError, match="missing"):
        DPO(tiny, data, evaluation=tmp_path / "missing.jsonl")
    with pytest.raises(ivg.NotFoundError, match="missing"):
        DPO(tiny, data, start=tmp_path / "missing.gguf")
    with pytest.raises(ivg.InvalidArgumentError, match=r"chosen"):
        DPO(tiny, completions(4))
    with pytest.raises(ValueError, match="NUL"):
        DPO(tiny, "a\0b")
    with DPO(tiny, data) as trainer:
        with pytest.raises(ivg.NotFoundError, match="nowhere"):
            trainer.save("/nowhere/a.gguf")
        with pytest.raises(ivg.IOFailure):
            trainer.save(tmp_path)
        with pytest.raises(ivg.InvalidArgumentError, match="checkpoint"):
            trainer.checkpoint()


# Life


def test_closing(tiny: ivg.Model, data: Path) -> None:
    trainer = DPO(tiny, data)
    next(trainer)
    trainer.close()
    trainer.close()
    trainer.cancel()
    for use in (lambda: next(trainer), trainer.checkpoint, lambda: trainer.save("x"), trainer.run):
        with pytest.raises(ValueError, match="this DPO is closed"):
            use()
    assert trainer.info.example_count == 16
    assert trainer.problems == []
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        pickle.dumps(DPO(tiny, data))


def test_the_model_may_be_closed_before(data: Path, tmp_path: Path) -> None:
    model = ivg.Model(fixture_path("tiny-llama.gguf"), threads=1)
    expected = finished(DPO(model, data, threads=1), tmp_path)
    trainer = DPO(model, data, threads=1)
    model.close()
    assert finished(trainer, tmp_path) == expected


def test_leaving_half_way_prints_nothing(data: Path) -> None:
    code = f"""
import ivg
trainer = ivg.train.DPO(ivg.Model({str(fixture_path("tiny-llama.gguf"))!r}), {str(data)!r})
next(trainer)
records = ivg.train.DPO(trainer.model, [{{"prompt": "a", "chosen": "b", "rejected": "c"}}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
