"""Models, tokens and files."""

from __future__ import annotations

import copy
import gc
import json
import logging
import pickle
import weakref

import pytest
from conftest import FIXTURES, fixture_path
from hypothesis import given
from hypothesis import strategies as st

import ivg

EXPECTED = json.loads((FIXTURES / "expected.json").read_text())


def test_information(tiny: ivg.Model) -> None:
    info = tiny.info
    assert info.architecture == "llama"
    assert (info.vocabulary_size, info.layer_count, info.embedding_length, info.context_length) == (320, 2, 64, 256)
    assert info.path == str(fixture_path("tiny-llama.gguf"))
    assert info.begin_token == 1
    assert info.end_token == 2
    assert info.chat_template is not None
    assert tiny.token_ends(2)
    assert not tiny.token_ends(100)


def test_versions() -> None:
    assert ivg.library_version() == ivg.__version__
    assert ivg.kernels_name()


@given(st.binary(max_size=60))
def test_any_bytes_survive_tokens(data: bytes) -> None:
    with ivg.Model(fixture_path("tiny-vocabulary-only.gguf")) as model:
        assert model.detokenize_bytes(model.tokenize(data, special=False, begin=False)) == data


def test_tokens_are_those_of_the_tokenizers_package(tiny: ivg.Model) -> None:
    checked = 0
    for entry in EXPECTED["tokenizers"]:
        with ivg.Model(fixture_path(entry["file"])) as model:
            for item in entry["texts"]:
                assert model.tokenize(item["text"], begin=False) == item["ids"]
                checked += 1
    assert checked >= 8


def test_special_tokens(tiny: ivg.Model) -> None:
    text = "<|im_start|>user"
    assert tiny.tokenize(text)[0] == 1
    plain = tiny.tokenize(text, special=False)
    assert 1 not in plain
    assert tiny.detokenize(plain) == text
    assert tiny.detokenize([1, *plain], skip_control=True) == text


def test_invalid_utf8_becomes_replacement_characters(tiny: ivg.Model) -> None:
    tokens = tiny.tokenize(b"a\xff\xc3", begin=False)
    assert tiny.detokenize_bytes(tokens) == b"a\xff\xc3"
    assert tiny.detokenize(tokens) == "a\ufffd\ufffd"


def test_logits_are_those_of_transformers(tiny: ivg.Model) -> None:
    results = next(m for m in EXPECTED["models"] if m["file"] == "tiny-llama.gguf" and not m["adapter"])["results"]
    session = tiny.session()
    for result in results:
        sequence = session.sequence()
        sequence.evaluate(EXPECTED["prompts"][result["prompt"]])
        expected = result["logits"][-1]
        assert sequence.logits() == pytest.approx(expected, abs=0.01)  # keys and values are kept in 16 bits


def test_logits_of_a_prompt(tiny: ivg.Model) -> None:
    sequence = tiny.session().sequence()
    sequence.evaluate(tiny.tokenize("Hello world"))
    assert tiny.logits("Hello world") == sequence.logits()
    view = tiny.logits_view("Hello world")
    assert view.format == "f"
    assert list(view) == sequence.logits()
    assert len(tiny.logits("")) == 320


def test_use_after_close() -> None:
    with ivg.Model(fixture_path("tiny-llama.gguf")) as model:
        head = model.value_head(fixture_path("tiny-value-scalar.gguf"))
        session = model.session()
    assert model.closed
    for use in (lambda: model.tokenize("a"), lambda: model.generate("a"), lambda: model.session()):
        with pytest.raises(ValueError, match="this Model is closed"):
            use()
    assert session.generate("a", max_tokens=2).token_ids  # it keeps alive what it needs
    session.close()
    with pytest.raises(ValueError, match="this Session is closed"):
        session.generate("a")
    head.close()
    head.close()
    with pytest.raises(ValueError, match="this ValueHead is closed"):
        ivg.Guidance(explicit=ivg.Explicit(head))


def test_handles_are_neither_pickled_nor_copied(tiny: ivg.Model) -> None:
    with pytest.raises(TypeError, match=r"ivg\.Model holds a handle of this process"):
        pickle.dumps(tiny)
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        copy.copy(tiny)


def test_a_dropped_model_is_freed_at_once() -> None:
    gc.disable()
    try:
        model = ivg.Model(fixture_path("tiny-llama.gguf"))
        model.generate("a", max_tokens=2)
        gone = weakref.ref(model)
        del model
        assert gone() is None
    finally:
        gc.enable()


def test_memory_required(tiny: ivg.Model) -> None:
    one = tiny.memory_required(20, max_tokens=20)
    search = ivg.Guidance(scorer=lambda prompt, texts: [0.0] * len(texts), search=ivg.ChunkBeamSearch(4, 4, 5))
    many = tiny.memory_required(20, max_tokens=20, guidance=search)
    assert 0 < one < many
    with tiny.session(memory_budget=1 << 40) as session:
        assert session.generate("a" * 19, max_tokens=20).memory_used <= one


def test_file() -> None:
    kinds = {
        "tiny-llama.gguf": "model",
        "tiny-adapter.gguf": "adapter",
        "tiny-value-scalar.gguf": "value_head",
        "tiny-vocabulary-only.gguf": "model",
    }
    for name, kind in kinds.items():
        with ivg.File(fixture_path(name)) as file:
            assert file.kind == kind
            assert file.architecture == "llama"
    with ivg.File(fixture_path("tiny-llama.gguf")) as file:
        metadata = file.metadata(max_elements=3)
        assert len(metadata["tokenizer.ggml.tokens"]) == 3
        assert metadata["llama.block_count"] == 2
        assert file.get("llama.block_count") == 2
        assert file.get("no.such.key") is None
        tensors = {tensor.name: tensor for tensor in file.tensors()}
        assert tensors["token_embd.weight"].shape == (64, 320)
        assert tensors["token_embd.weight"].type == "F32"
        assert tensors["token_embd.weight"].size == 64 * 320 * 4


def test_log_is_silent_until_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ivg"):
        ivg.Model(fixture_path("tiny-llama.gguf")).close()
        assert caplog.records == []
        ivg.log_to_logging("info")
        ivg.Model(fixture_path("tiny-llama.gguf")).close()
        ivg.log_to_logging(None)
        asked = len(caplog.records)
        ivg.Model(fixture_path("tiny-llama.gguf")).close()
        assert len(caplog.records) == asked
    assert all(record.name == "ivg" for record in caplog.records)
    with pytest.raises(ValueError, match="level is"):
        ivg.log_to_logging("loud")  # type: ignore[arg-type]
