"""Converting tokenizers: what the file says, and which ids libivg then gives, compared with transformers' own."""

from __future__ import annotations

import json
import re
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path
from hugging_face import LLAMA, converted, fields_of, llama_weights, small_tokenizer, write_folder, write_json
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import ivg
from ivg.convert import ConvertError
from ivg.convert.tokenizers._pre import KNOWN_NAMES, recognise
from ivg.convert.tokenizers._sentencepiece import read_sentencepiece

FOLDERS = fixture_path("hugging-face")
TOKENIZERS: list[dict[str, Any]] = json.loads((FOLDERS / "expected.json").read_text("utf-8"))["tokenizers"]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def with_weights(name: str, folder: Path) -> Path:
    """A folder of `hugging-face/` with the weights of a small llama."""
    shutil.copytree(FOLDERS / name, folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = {**LLAMA, "vocab_size": size, "bos_token_id": 1, "eos_token_id": 2}
    write_json(folder / "config.json", config)
    save_file(llama_weights(config), folder / "model.safetensors")
    return folder


def tokenizer_of(folder: Path, **options: Any) -> dict[str, Any]:
    """The tokenizer's fields in the file."""
    fields = fields_of(converted(folder, **options))
    return {name.removeprefix("tokenizer."): value for name, value in fields.items() if name.startswith("tokenizer.")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small llama with a byte-level tokenizer of 22 tokens and 24 embeddings."""
    return write_folder(tmp_path / "model")


@pytest.mark.parametrize("entry", TOKENIZERS, ids=lambda entry: entry["folder"])
def test_ids_are_those_of_transformers(entry: dict[str, Any], tmp_path: Path) -> None:
    path = converted(with_weights(entry["folder"], tmp_path / "model"))
    try:
        model = ivg.Model(path, threads=1)
    except ivg.UnsupportedError as error:
        pytest.skip(str(error))
    with model:
        for item in entry["texts"]:
            assert model.tokenize(item["text"]) == item["ids"], item["text"]


def test_a_sentencepiece_model(tmp_path: Path) -> None:
    found = tokenizer_of(with_weights("sentencepiece", tmp_path / "model"))
    pieces = TOKENIZERS[0]["pieces"]
    tokens, scores, kinds = found["ggml.tokens"], found["ggml.scores"], found["ggml.token_type"]
    assert tokens == [text for text, _ in pieces] + [
        "<|im_start|>",
        "<mark>",
        *(f"[PAD{id}]" for id in range(332, 336)),
    ]
    assert scores[3:330] == pytest.approx([score for _, score in pieces[3:]])
    assert kinds[:3] == [UNKNOWN, CONTROL, CONTROL]
    assert kinds[3:259] == [BYTE] * 256
    assert kinds[259:330] == [NORMAL] * 71
    assert kinds[330:] == [CONTROL, USER_DEFINED, *[UNUSED] * 4]
    assert {name: found[f"ggml.{name}"] for name in ("model", "pre", "add_space_prefix", "add_bos_token")} == {
        "model": "llama",
        "pre": "default",
        "add_space_prefix": True,
        "add_bos_token": True,
    }
    assert [found[f"ggml.{name}_token_id"] for name in ("bos", "eos", "unknown")] == [1, 2, 0]
    assert "ggml.merges" not in found


def test_the_space_before_a_text_may_be_switched_off(tmp_path: Path) -> None:
    folder = with_weights("sentencepiece", tmp_path / "model")
    write_json(folder / "tokenizer_config.json", {"add_prefix_space": False, "bos_token": "<s>"})
    found = tokenizer_of(folder)
    assert found["ggml.add_space_prefix"] is False
    assert found["ggml.add_bos_token"] is True  # as Llama's tokenizer does without being told


def test_a_tokenizer_json_made_of_a_sentencepiece_model_is_it_again(tmp_path: Path) -> None:
    direct = tokenizer_of(with_weights("sentencepiece", tmp_path / "a"))
    through = tokenizer_of(with_weights("sentencepiece-json", tmp_path / "b"))
    scores = {name: fields.pop("ggml.scores")[259:330] for name, fields in (("a", direct), ("b", through))}
    assert through.pop("ivg.space_prefix") == "always"  # Metaspace puts no second space before a text
    assert direct == through
    # Merges keep the order of the pieces that have been merged; single characters are never compared.
    merged = [index for index in range(71) if len(direct["ggml.tokens"][259 + index]) > 1]
    by_score = {name: sorted(merged, key=lambda index: -values[index]) for name, values in scores.items()}
    assert by_score["a"] == by_score["b"]


PREPEND = {"type": "Prepend", "prepend": "\u2581"}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}


@pytest.mark.parametrize(
    ("normalizer", "message"),
    [
        (None, None),
        (REPLACE, None),
        ({"type": "Sequence", "normalizers": [PREPEND, REPLACE]}, None),
        ({"type": "NFKC"}, "normalizer has the step {'type': 'NFKC'}"),
        ({"type": "Precompiled", "precompiled_charsmap": "AAAA"}, "'Precompiled'"),
        ({"type": "Sequence", "normalizers": [PREPEND, {"type": "Strip"}, REPLACE]}, "{'type': 'Strip'}"),
        ({**REPLACE, "pattern": {"Regex": " {2,}"}}, "'Regex': ' {2,}'"),
        ({**PREPEND, "prepend": "x"}, "'prepend': 'x'"),
        ("Replace", "normalizer has the step 'Replace'"),
        ("NFC", "normalizer has the step 'NFC'"),
    ],
)
def test_normalizers_of_a_tokenizer_json(tmp_path: Path, normalizer: Any, message: str | None) -> None:
    """What changes texts before they are cut is refused."""
    folder = with_weights("sentencepiece-json", tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    write_json(folder / "tokenizer.json", {**tokenizer, "normalizer": normalizer})
    if message is None:
        assert tokenizer_of(folder)["ggml.add_space_prefix"] is True
    else:
        assert_fails(folder, re.escape(message))


def test_byte_level(tmp_path: Path) -> None:
    found = tokenizer_of(with_weights("byte-level", tmp_path / "model"))
    assert found["ggml.model"] == "gpt2"
    assert found["ggml.pre"] == "llama-bpe"
    assert found["ggml.tokens"][300:] == ["<mark>", "[PAD301]", "[PAD302]", "[PAD303]"]
    assert found["ggml.token_type"][300:] == [USER_DEFINED, UNUSED, UNUSED, UNUSED]
    assert found["ggml.token_type"][:4] == [CONTROL, CONTROL, CONTROL, NORMAL]
    assert found["ggml.add_bos_token"] is True
    assert found["ggml.add_eos_token"] is False
    assert (found["ggml.bos_token_id"], found["ggml.eos_token_id"]) == (1, 2)
    assert found["chat_template"] == "{{ messages }}"


def test_vocab_and_merges(folder: Path) -> None:
    tokenizer = small_tokenizer()
    expected = tokenizer_of(folder)
    (folder / "tokenizer.json").unlink()
    write_json(folder / "vocab.json", tokenizer["model"]["vocab"])
    (folder / "merges.txt").write_text("#version: 0.2\na b\nab c\n", encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {"added_tokens_decoder": {str(entry.pop("id")): entry for entry in tokenizer["added_tokens"]}},
    )
    assert tokenizer_of(folder) == expected
    (folder / "merges.txt").write_text("a b c\n", encoding="utf-8")
    assert_fails(folder, "line 1 is not two words: 'a b c'")
    (folder / "merges.txt").unlink()
    assert_fails(folder, r"merges\.txt is missing")


def assert_fails(folder: Path, message: str, **options: Any) -> None:
    with pytest.raises(ConvertError, match=message):
        converted(folder, **options)


def change_tokenizer(folder: Path, **changes: Any) -> None:
    write_json(folder / "tokenizer.json", {**small_tokenizer(), **changes})


def change_model(folder: Path, **changes: Any) -> None:
    tokenizer = small_tokenizer()
    tokenizer["model"].update(changes)
    write_json(folder / "tokenizer.json", tokenizer)


# How text is cut into words


SPLITS = {
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "dbrx": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}


def split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        ],
    }


@pytest.mark.parametrize("name", SPLITS)
def test_known_patterns(name: str) -> None:
    assert recognise({"pre_tokenizer": split(SPLITS[name])}, "") == name


def test_digits_one_by_one() -> None:
    steps = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}]
    assert recognise({"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}, "") == "smollm"


def test_whole_words_are_taken_where_merges_are_ignored() -> None:
    tokenizer = {"pre_tokenizer": split(SPLITS["dbrx"]), "model": {"ignore_merges": True}}
    assert recognise(tokenizer, "") == "llama-bpe"


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        None,
        {"type": "Whitespace"},
        split(r"\w+"),
        {"type": "ByteLevel", "add_prefix_space": True},
        {"type": "Digits", "individual_digits": False},
        {"type": "Sequence", "pretokenizers": 3},
    ],
)
def test_an_unknown_way_is_an_error_that_can_be_overridden(folder: Path, pre_tokenizer: Any) -> None:
    change_tokenizer(folder, pre_tokenizer=pre_tokenizer)
    assert_fails(folder, rf"pre_tokenizer is none of the known ones \({', '.join(KNOWN_NAMES)}\); it is: .*--pre")
    assert tokenizer_of(folder, pre="qwen2")["ggml.pre"] == "qwen2"


# Special tokens


def test_the_places_of_special_tokens(folder: Path) -> None:
    assert tokenizer_of(folder)["ggml.bos_token_id"] == 0  # config.json
    write_json(folder / "special_tokens_map.json", {"bos_token": {"content": "a"}, "pad_token": "c"})
    found = tokenizer_of(folder)
    assert (found["ggml.bos_token_id"], found["ggml.padding_token_id"]) == (2, 4)
    write_json(folder / "tokenizer_config.json", {"bos_token": "b", "unk_token": "no such token"})
    found = tokenizer_of(folder)
    assert (found["ggml.bos_token_id"], found["ggml.eos_token_id"]) == (3, 1)
    assert "ggml.unknown_token_id" not in found
    write_json(folder / "config.json", {**LLAMA, "bos_token_id": 99, "eos_token_id": [5, 6]})
    assert tokenizer_of(folder)["ggml.eos_token_id"] == 5


def test_what_is_put_around_a_text(folder: Path) -> None:
    assert tokenizer_of(folder)["ggml.add_bos_token"] is False
    single = [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}]
    template = {"type": "TemplateProcessing", "single": single}
    for processor in (template, {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}):
        change_tokenizer(folder, post_processor=processor)
        found = tokenizer_of(folder)
        assert (found["ggml.add_bos_token"], found["ggml.add_eos_token"]) == (True, True)
    write_json(folder / "tokenizer_config.json", {"add_bos_token": False})
    found = tokenizer_of(folder)
    assert (found["ggml.add_bos_token"], found["ggml.add_eos_token"]) == (False, True)
    write_json(folder / "tokenizer_config.json", {"add_bos_token": 1})
    assert_fails(folder, "add_bos_token is 1, but must be true or false")


def test_chat_templates(folder: Path) -> None:
    assert "chat_template" not in tokenizer_of(folder)
    choices = [{"name": "tool", "template": "x"}, {"name": "default", "template": "y"}]
    write_json(folder / "tokenizer_config.json", {"chat_template": choices})
    assert tokenizer_of(folder)["chat_template"] == "y"
    (folder / "chat_template.jinja").write_text("é", encoding="utf-8")
    assert tokenizer_of(folder)["chat_template"] == "é"
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    assert_fails(folder, r"chat_template\.jinja is not UTF-8 at byte 0")


def test_text_that_is_no_unicode(folder: Path) -> None:
    change_tokenizer(folder, added_tokens=[{"id": 22, "content": "\ud800"}])
    assert_fails(folder, r"tokenizer\.ggml\.tokens holds '\\ud800', which is no Unicode text")


def test_tokens_behind_the_embeddings(folder: Path) -> None:
    added = [{"id": 24, "content": "<far>", "special": True}, {"id": 22, "content": "<near>"}]
    change_tokenizer(folder, added_tokens=added)
    found = tokenizer_of(folder)
    assert found["ggml.tokens"][22:] == ["<near>", "[PAD23]"]
    assert found["ggml.token_type"][22:] == [USER_DEFINED, UNUSED]
    change_model(folder, vocab={"a": 24})
    assert_fails(folder, "token 'a' has id 24, but the model has 24 embeddings")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": 3}, "model is 3, but must be an object"),
        ({"model": {"type": "Unigram"}}, "type is 'Unigram'; only BPE can be converted"),
        ({"model": {"type": "BPE", "vocab": []}}, "vocab is .*, but must be an object"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}}}, "token 'a' has the id -1"),
        ({"model": {"type": "BPE", "vocab": {"a": "1"}}}, "token 'a' has the id '1'"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}, r"merges\[0\] is 'a', not a pair"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", 2]]}}, r"merges\[0\] is \['a', 2\], not a pair"),
        ({"added_tokens": {}}, "added_tokens is .*, but must be a list"),
        ({"added_tokens": [3]}, "entry is 3, but must be an object"),
        ({"added_tokens": [{"id": "x", "content": "a"}]}, "an added token has the id 'x'"),
        ({"added_tokens": [{"id": 1, "content": 4}]}, "content is 4, but must be a string"),
    ],
)
def test_malformed_tokenizers(folder: Path, changes: dict[str, Any], message: str) -> None:
    change_tokenizer(folder, **changes)
    assert_fails(folder, message)


# tokenizer.model


def field(number: int, value: int | float | bytes) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, float):
        return bytes([number << 3 | 5]) + struct.pack("<f", value)
    if isinstance(value, int):
        return variable(number << 3) + variable(value)
    return variable(number << 3 | 2) + variable(len(value)) + value


def variable(value: int) -> bytes:
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def piece(text: bytes, score: float = 0.0, kind: int = 1) -> bytes:
    return field(1, field(1, text) + field(2, score) + field(3, kind))


PIECES = piece(b"<unk>", kind=2) + piece(b"<s>", kind=3) + piece(b"</s>", kind=3) + piece(b"a") + piece(b"b", -1.5)
BPE = field(2, field(3, 2))
KEPT = field(4, 0)  # remove_extra_whitespaces: false


def test_a_protocol_buffer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    none = (1 << 64) - 1
    trainer = field(2, field(3, 2) + field(41, 4) + field(42, none) + field(4, b"ignored"))
    path.write_bytes(PIECES + trainer + field(3, field(3, 0) + KEPT) + field(9, 1.0) + b"\x51" + bytes(8))
    model = read_sentencepiece(path)
    assert [text for text, _, _ in model.pieces] == ["<unk>", "<s>", "</s>", "a", "b"]
    assert model.pieces[4][1] == -1.5
    assert model.special == {"unknown": 0, "bos": 4, "eos": -1, "padding": -1}
    assert model.add_space_prefix is False
    path.write_bytes(PIECES + BPE + field(3, field(1, b"identity") + field(2, b"") + KEPT) + field(5, field(2, b"")))
    assert read_sentencepiece(path).add_space_prefix is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no pieces"),
        (BPE, "holds no pieces"),
        (PIECES, "model_type is unigram; only bpe can be converted"),
        (PIECES + field(2, field(3, 4)), "model_type is char"),
        (PIECES + b"\x0b", "cannot begin a field"),
        (PIECES + b"\x0a\x7f", "is truncated"),
        (PIECES + b"\xff" * 12, "a number has more than 10 bytes"),
        (PIECES + BPE, r"normalizer_spec\.remove_extra_whitespaces is true, as by default"),
        (PIECES + BPE + field(3, field(1, b"identity")), r"normalizer_spec\.remove_extra_whitespaces is true"),
        (PIECES + BPE + field(3, field(4, 1)), r"normalizer_spec\.remove_extra_whitespaces is true"),
        (PIECES + BPE + field(3, KEPT + field(2, b"abc")), r"normalizer_spec\.precompiled_charsmap has 3 bytes"),
        (PIECES + BPE + field(3, KEPT + field(5, 0)), r"normalizer_spec\.escape_whitespaces is false"),
        (PIECES + BPE + field(3, KEPT) + field(5, field(2, b"a")), r"denormalizer_spec\.precompiled_charsmap is not"),
        (PIECES + field(2, variable(24 << 3) + b"\1"), r"trainer_spec\.treat_whitespace_as_suffix is true"),
        (piece(b"\xff") + BPE, "a piece is not UTF-8"),
        (piece(b"a", kind=9) + BPE, "a piece has the type 9"),
        (piece(b"a", float("nan")) + BPE, "piece 'a' has the score nan"),
    ],
)
def test_malformed_sentencepiece_models(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(ConvertError, match=message):
        read_sentencepiece(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_sentencepiece_models_are_errors_or_models(data: st.DataObject) -> None:
    content = bytearray((FOLDERS / "sentencepiece" / "tokenizer.model").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / "tokenizer.model"
        path.write_bytes(content)
        try:
            assert read_sentencepiece(path).pieces
        except ConvertError:
            pass
