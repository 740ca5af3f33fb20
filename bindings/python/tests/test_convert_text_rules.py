"""What a tokenizer does to texts besides cutting them: NFC, white space beside added tokens, whole words, case, unknown
characters. Expected ids are those of `tokenizers` and `sentencepiece`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hugging_face import LLAMA, converted, fields_of, llama_weights, small_tokenizer, write_folder, write_json
from safetensors.numpy import save_file
from test_convert_tokenizers import PIECES, SPLITS, field, piece, split, with_weights

import ivg
from ivg.convert import ConvertError

CASED, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{CASED}*{SMALL}+|[^\r\n\p{{L}}\p{{N}}]?{CASED}+{SMALL}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def alphabet() -> list[str]:
    """The characters that stand for bytes in byte-level BPE, in the order of the bytes."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(hidden)) for byte in range(256)]


def byte_folder(path: Path, merges: list[tuple[bytes, bytes]] = [], **changes: Any) -> Path:  # noqa: B006
    """A small llama whose tokens are the 256 bytes, then what is merged, with further fields of tokenizer.json."""
    letters = alphabet()

    def spelled(word: bytes) -> str:
        return "".join(letters[byte] for byte in word)

    tokens = letters + [spelled(left + right) for left, right in merges]
    tokenizer = {
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": split(SPLITS["qwen2"]),
        "post_processor": None,
        "model": {
            "type": "BPE",
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [[spelled(left), spelled(right)] for left, right in merges],
        },
        **changes,
    }
    path.mkdir()
    config = {**LLAMA, "vocab_size": len(tokens) + 8}
    write_json(path / "config.json", config)
    write_json(path / "tokenizer.json", tokenizer)
    save_file(llama_weights(config), path / "model.safetensors")
    return path


def own_fields(path: Path) -> dict[str, Any]:
    """libivg's own fields of the tokenizer."""
    prefix = "tokenizer.ivg."
    return {name.removeprefix(prefix): value for name, value in fields_of(path).items() if name.startswith(prefix)}


def ids(path: Path, text: str) -> list[int]:
    with ivg.Model(path, threads=1) as model:
        return model.tokenize(text, special=True, begin=False)


def added(index: int, content: str, **flags: bool) -> dict[str, Any]:
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}
    return {"id": index, "content": content, **plain, **flags}


MERGES = [(b"a", b"b")]
NFC = {"type": "NFC"}


@pytest.mark.parametrize("normalizer", [NFC, {"type": "Sequence", "normalizers": [NFC]}])
def test_texts_are_composed(tmp_path: Path, normalizer: Any) -> None:
    path = converted(byte_folder(tmp_path / "model", MERGES, normalizer=normalizer))
    assert own_fields(path) == {"normalizer": "nfc"}
    assert ids(path, "e\u0301 \u1100\u1161\u11a8 ab") == [*"é 각 ".encode(), 256]
    assert ids(path, "\u212b") == [*"Å".encode()]


def test_texts_stay_where_no_normalizer_is(tmp_path: Path) -> None:
    path = converted(byte_folder(tmp_path / "model", MERGES))
    assert own_fields(path) == {}
    assert ids(path, "e\u0301") == [*"e\u0301".encode()]


def test_tokens_that_take_a_space_in_front_are_refused(tmp_path: Path) -> None:
    """`Prepend` is taken with the texts of normalized tokens, too; with special ones old files of Llama have that."""
    folder = with_weights("sentencepiece-json", tmp_path / "model")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    mark = next(entry for entry in tokenizer["added_tokens"] if entry["content"] == "<mark>")
    special = next(entry for entry in tokenizer["added_tokens"] if entry["special"])
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prepended = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, spaces]}
    special["normalized"] = True
    for normalizer, cuts, refused in [
        (prepended, None, True),
        (spaces, None, False),
        (tokenizer["normalizer"], tokenizer["pre_tokenizer"], False),
    ]:
        for mark["normalized"] in (True, False):
            write_json(path, {**tokenizer, "normalizer": normalizer, "pre_tokenizer": cuts})
            if refused and mark["normalized"]:
                with pytest.raises(ConvertError, match=r"tokenizer\.json.*'<mark>' is normalized.*behind a space"):
                    converted(folder)
            else:
                assert ids(converted(folder), "a<mark>b").count(mark["id"]) == 1


@pytest.mark.parametrize(
    "step", ["NFC", {"type": "NFKC"}, {"type": "NFD"}, {"type": "Lowercase"}, {"type": "Strip"}, {"type": "Replace"}]
)
def test_other_normalizers_are_refused(tmp_path: Path, step: Any) -> None:
    folder = byte_folder(tmp_path / "model", MERGES, normalizer={"type": "Sequence", "normalizers": [NFC, step]})
    with pytest.raises(ConvertError, match=r"tokenizer\.json: normalizer has the step .*; a GGUF file of byte-level"):
        converted(folder)


def test_normalized_tokens_are_found_in_composed_text(tmp_path: Path) -> None:
    tokens = [added(257, "<e\u0301>"), added(258, "<é>", normalized=True)]
    path = converted(byte_folder(tmp_path / "model", MERGES, normalizer=NFC, added_tokens=tokens))
    assert own_fields(path) == {"normalizer": "nfc", "normalized": [258]}
    assert ids(path, "<e\u0301><é>") == [257, 258]
    assert ids(path, "<é>\u0338") == [*"<é≯".encode()]
    tokens[0]["normalized"] = True
    with pytest.raises(ConvertError, match=r"added token .* is normalized and no composed text"):
        converted(byte_folder(tmp_path / "other", MERGES, normalizer=NFC, added_tokens=tokens))


@pytest.mark.parametrize(
    ("flags", "key", "text", "expected"),
    [
        ({"rstrip": True}, "strips_right", "a <x> \n\u00a0b", [97, 32, 257, 98]),
        ({"lstrip": True}, "strips_left", "a \n<x> b", [97, 257, 32, 98]),
        ({"single_word": True}, "single_word", "a<x>", [97, *b"<x>"]),
        ({"single_word": True}, "single_word", "- <x>.", [45, 32, 257, 46]),
    ],
)
@pytest.mark.parametrize("special", [False, True])
def test_added_tokens_and_the_text_around_them(
    tmp_path: Path, flags: dict[str, bool], key: str, text: str, expected: list[int], special: bool
) -> None:
    tokens = [added(257, "<x>", special=special, **flags)]
    path = converted(byte_folder(tmp_path / "model", MERGES, added_tokens=tokens))
    assert own_fields(path) == {key: [257]}
    assert ids(path, text) == expected


def test_settings_beside_tokenizer_json(tmp_path: Path) -> None:
    """tokenizer.json counts more than tokenizer_config.json, which alone counts, too."""
    folder = byte_folder(tmp_path / "model", MERGES, added_tokens=[added(257, "<x>", rstrip=True)])
    decoder = {"257": {"content": "<x>", "lstrip": True}, "258": {"content": "<y>", "lstrip": True}}
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": decoder})
    assert own_fields(converted(folder)) == {"strips_right": [257], "strips_left": [258]}


def test_the_folder_s_name_decides_nothing(tmp_path: Path) -> None:
    """In files without a word on it, special tokens of models called Phi 3 take white space along."""
    for name in ("my-Phi-3-mini", "renamed"):
        for strips in (False, True):
            tokens = [added(257, "<x>", special=True, rstrip=strips)]
            path = converted(byte_folder(tmp_path / f"{name}-{strips}", MERGES, added_tokens=tokens))
            assert ids(path, "<x>\nab") == ([257, 256] if strips else [257, 10, 256])


def test_the_case_of_letters_beyond_ascii(tmp_path: Path) -> None:
    folder = byte_folder(tmp_path / "model", MERGES, pre_tokenizer=split(TEKKEN))
    assert own_fields(converted(folder))["exact_case"] is True
    assert "exact_case" not in own_fields(converted(folder, pre="tekken"))
    # A word ends between é and É, and none between a letter and its vowel sign.
    merges = [(b"\xc3", b"\xa9"), (b"\xc3", b"\x89"), ("é".encode(), "É".encode()), (b"\xa8", b"\xe0")]
    folder = byte_folder(tmp_path / "other", merges, pre_tokenizer=split(TEKKEN))
    assert ids(converted(folder), "éÉ") == [256, 257]
    assert ids(converted(folder, pre="tekken"), "éÉ") == [258]
    assert ids(converted(folder), "न\u093f") == [0xE0, 0xA4, 259, 0xA4, 0xBF]
    assert ids(converted(folder, pre="tekken"), "न\u093f") == [*"न\u093f".encode()]


def test_unknown_characters_without_byte_tokens(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    model = PIECES + piece("\u2581".encode()) + field(2, field(3, 2)) + field(3, field(4, 0))
    (folder / "tokenizer.model").write_bytes(model)
    path = converted(folder)
    # ▁ a <unk> b <unk> ▁ <unk>: a run is one.
    assert ids(path, "axyb中é z") == [5, 3, 0, 4, 0, 5, 0]


def test_small_files_stay_as_they_were(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    assert own_fields(converted(folder)) == {}
    tokenizer = small_tokenizer()
    for entry in tokenizer["added_tokens"]:
        entry.update(lstrip=False, rstrip=False, single_word=False, normalized=False)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert own_fields(converted(folder)) == {}
