"""Bad input: one class per status, and a message that names the file, the field or the bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import fixture_path

import ivg


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.gguf") as caught:
        ivg.Model(tmp_path / "missing.gguf")
    assert isinstance(caught.value, ivg.NotFoundError)
    assert isinstance(caught.value, ivg.Error)
    assert caught.value.status == -10
    assert isinstance(caught.value, OSError)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ivg.Error, match=str(tmp_path)):
        ivg.Model(tmp_path)


@pytest.mark.parametrize("length", [0, 3, 24, 1000, 60000])
def test_truncated_files(tmp_path: Path, length: int) -> None:
    path = tmp_path / "truncated.gguf"
    path.write_bytes(fixture_path("tiny-llama.gguf").read_bytes()[:length])
    with pytest.raises((ivg.CorruptFileError, ivg.UnsupportedError), match=r"truncated\.gguf"):
        ivg.Model(path)


def test_not_gguf(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("This is not a model. " * 50)
    with pytest.raises((ivg.CorruptFileError, ivg.UnsupportedError), match=r"text\.gguf"):
        ivg.File(path)


def test_a_path_with_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        ivg.Model("a\0b")


def test_an_adapter_of_another_model(other: ivg.Model) -> None:
    with pytest.raises(ivg.MismatchError, match=r"tiny-adapter\.gguf"):
        other.adapter(fixture_path("tiny-adapter.gguf"))


def test_a_model_is_no_head(tiny: ivg.Model) -> None:
    with pytest.raises(ivg.Error, match=r"tiny-adapter\.gguf"):
        tiny.value_head(fixture_path("tiny-adapter.gguf"))


def test_a_vocabulary_cannot_generate() -> None:
    with ivg.Model(fixture_path("tiny-vocabulary-only.gguf")) as model:
        assert model.info.vocabulary_only
        assert model.tokenize("ab")
        with pytest.raises(ivg.UnsupportedError):
            model.generate("a")


def test_vocabularies_that_differ(tiny: ivg.Model) -> None:
    stranger = ivg.Model(fixture_path("tiny-other-vocabulary.gguf"))
    tilt = ivg.Guidance(implicit=ivg.Implicit(tuned=stranger))
    with pytest.raises(ivg.MismatchError):
        tiny.generate("a", guidance=tilt)


def test_prompt_longer_than_the_context(tiny: ivg.Model) -> None:
    with pytest.raises(ivg.ContextFullError, match="256"):
        tiny.generate("hello " * 300)
    with tiny.session(context_length=16) as session:
        with pytest.raises(ivg.ContextFullError, match="16"):
            session.generate("a", max_tokens=16)
        sequence = session.sequence()
        with pytest.raises(ivg.ContextFullError):
            sequence.evaluate([5] * 17)
        assert len(sequence) == 0


def test_memory_budget(tiny: ivg.Model) -> None:
    with pytest.raises(MemoryError) as caught, tiny.session(memory_budget=1 << 16) as session:
        session.generate("a", max_tokens=200)
    assert isinstance(caught.value, ivg.OutOfMemoryError)
    assert "65536" in str(caught.value) or "65,536" in str(caught.value)


def test_more_rows_than_memory(tiny: ivg.Model) -> None:
    def scorer(prompt: str, texts: list[str]) -> list[float]:
        return [0.0] * len(texts)

    many = ivg.Guidance(scorer=scorer, search=ivg.ChunkBeamSearch(256, 4, 5))
    with tiny.session(memory_budget=8 << 20) as session:
        with pytest.raises(ivg.OutOfMemoryError, match=str(8 << 20)):
            session.generate("a", guidance=many)
        assert session.generate("a", max_tokens=3).token_ids
    with pytest.raises(ivg.InvalidArgumentError, match="width"):
        ivg.Guidance(scorer=scorer, search=ivg.ChunkBeamSearch(1 << 31, 1 << 31, 5))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1 << 40}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_p": float("nan")}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"repetition_penalty": -1.0}, "repetition_penalty"),
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
        ({"top_log_probabilities": 65}, "top_log_probabilities"),
        ({"banned_tokens": [320]}, "banned_tokens"),
        ({"end_tokens": [-5]}, "end_tokens"),
        ({"end_tokens": [1 << 40]}, "end_tokens"),
        ({"stop": ["a\0b"]}, "stop"),
    ],
)
def test_options_out_of_range(tiny: ivg.Model, options: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        tiny.generate("a", **options)  # type: ignore[arg-type]
    assert isinstance(caught.value, ivg.InvalidArgumentError)


def test_unknown_options(tiny: ivg.Model) -> None:
    with pytest.raises(TypeError, match="max_token"):
        tiny.generate("a", max_token=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ivg.ChunkBeamSearch(width=0),
        lambda: ivg.ChunkBeamSearch(successors=-1),
        lambda: ivg.ChunkBeamSearch(chunk=1 << 40),
        lambda: ivg.BestOf(0),
    ],
)
def test_searches_out_of_range(make: object) -> None:
    with pytest.raises(ivg.InvalidArgumentError, match=r"ChunkBeamSearch|BestOf"):
        ivg.Guidance(search=make())  # type: ignore[operator]


def test_parts_of_the_wrong_kind(tiny: ivg.Model) -> None:
    with pytest.raises(TypeError, match="implicit takes"):
        ivg.Guidance(implicit=tiny)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="search takes"):
        ivg.Guidance(search=4)  # type: ignore[arg-type]
    with pytest.raises(ivg.InvalidArgumentError, match="role"):
        ivg.Guidance(implicit=ivg.Implicit(tuned=tiny, role="steer"))  # type: ignore[arg-type]
    with pytest.raises(ivg.InvalidArgumentError, match="finished_rows"):
        ivg.Guidance(finished_rows="drop")  # type: ignore[arg-type]
    with pytest.raises(ivg.InvalidArgumentError, match="weight"):
        ivg.Guidance(implicit=ivg.Implicit(tuned=tiny, weight=float("nan")))


def test_ids_outside_the_vocabulary(tiny: ivg.Model) -> None:
    with pytest.raises(ivg.InvalidArgumentError, match="320"):
        tiny.detokenize([320])
    with pytest.raises(ivg.InvalidArgumentError):
        tiny.detokenize([-1])
    sequence = tiny.session().sequence()
    with pytest.raises(ivg.InvalidArgumentError, match="320"):
        sequence.evaluate([5, 320])
    assert len(sequence) == 0
    with pytest.raises(ivg.InvalidArgumentError):
        sequence.logits()
    with pytest.raises(ivg.InvalidArgumentError):
        sequence.truncate(1)
    with pytest.raises(ivg.InvalidArgumentError):
        sequence.truncate(-1)
