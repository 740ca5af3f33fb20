"""Tokenizers whose files ask for more than a vocabulary: the ids are those of `tokenizers`, or conversion is refused.

Where ids are written out here, `tokenizers` 0.23 gave them for the same files.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hugging_face import LLAMA, converted, fields_of, write_folder, write_json
from hypothesis import given
from hypothesis import strategies as st
from test_convert_tokenizers import FOLDERS, SPLITS, split, tokenizer_of, with_weights

import ivg
from ivg.convert import ConvertError
from ivg.convert._config import Config
from ivg.convert.tokenizers import read_vocabulary
from ivg.convert.tokenizers._pieces import merge_scores
from ivg.convert.tokenizers._pre import recognise

CONTROL = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small llama with a byte-level tokenizer of 22 tokens and 24 embeddings."""
    return write_folder(tmp_path / "model")


def assert_fails(folder: Path, message: str, **options: Any) -> None:
    with pytest.raises(ConvertError, match=message):
        converted(folder, **options)


def ids(folder: Path, texts: Sequence[str], **options: Any) -> list[list[int]]:
    """What the converted file makes of texts, special tokens among them."""
    with ivg.Model(converted(folder, **options), threads=1) as model:
        return [model.tokenize(text, begin=False) for text in texts]


def change(folder: Path, model: dict[str, Any] | None = None, **changes: Any) -> None:
    """Other fields of tokenizer.json, and of its model."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    tokenizer["model"].update(model or {})
    write_json(folder / "tokenizer.json", {**tokenizer, **changes})


# Cutting text into words


def split_by(name: str, behavior: str, invert: bool) -> dict[str, Any]:
    steps = split(SPLITS[name])
    steps["pretokenizers"][0] |= {"behavior": behavior, "invert": invert}
    return {"pre_tokenizer": steps}


@pytest.mark.parametrize("name", SPLITS)
def test_removing_what_is_between_matches_is_isolating_them(name: str) -> None:
    """As OLMo 2's tokenizer.json says it."""
    assert recognise(split_by(name, "Removed", True), "") == name
    for behavior, invert in (("Removed", False), ("MergedWithPrevious", False)):
        with pytest.raises(ConvertError, match="pre_tokenizer is none of the known ones"):
            recognise(split_by(name, behavior, invert), "")


LETTERS = [chr(ord("a") + index) for index in range(18)]
#: `cab` comes out of no merge.
WHOLE = {token: index for index, token in enumerate(["<s>", "</s>", *LETTERS, "ab", "abc", "cab"])}


@pytest.mark.parametrize(
    ("pre_tokenizer", "ignores", "name", "key"),
    [
        (split(SPLITS["gpt-2"]), True, "gpt-2", True),
        (split(SPLITS["qwen2"]), True, "qwen2", True),
        (split(SPLITS["qwen2"]), False, "qwen2", None),
        (split(SPLITS["dbrx"]), True, "llama-bpe", None),
        (split(SPLITS["dbrx"]), False, "dbrx", None),
    ],
)
def test_words_that_are_tokens(
    folder: Path, pre_tokenizer: dict[str, Any], ignores: bool, name: str, key: bool | None
) -> None:
    change(folder, {"ignore_merges": ignores, "vocab": WHOLE}, pre_tokenizer=pre_tokenizer)
    found = tokenizer_of(folder)
    assert (found["ggml.pre"], found.get("ivg.ignore_merges")) == (name, key)
    cab = [22] if ignores else [4, 20]
    assert ids(folder, ["cab", "abc", "cabc"]) == [cab, [21], [4, 21]]


def test_words_that_are_tokens_where_the_name_would_take_them(folder: Path) -> None:
    change(folder, {"ignore_merges": False, "vocab": WHOLE})
    assert ids(folder, ["cab"], pre="tekken") == [[4, 20]]
    change(folder, {"ignore_merges": True})
    assert "ivg.ignore_merges" not in tokenizer_of(folder, pre="tekken")
    assert ids(folder, ["cab"], pre="tekken") == [[22]]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"end_of_word_suffix": "</w>"}, "model: end_of_word_suffix is '</w>'"),
        ({"continuing_subword_prefix": "##"}, "model: continuing_subword_prefix is '##'"),
        ({"dropout": 0.1}, r"model: dropout is 0\.1"),
        ({"merges": []}, "model has no merges"),
        ({"end_of_word_suffix": "", "continuing_subword_prefix": "", "dropout": None}, None),
        ({"dropout": 0.0}, None),
    ],
)
def test_other_ways_of_merging(folder: Path, model: dict[str, Any], message: str | None) -> None:
    change(folder, model)
    if message is None:
        assert ids(folder, ["abc"]) == [[21]]
    else:
        assert_fails(folder, message)


# vocab.json and merges.txt


@pytest.fixture
def old_folder(folder: Path) -> Path:
    """The files of GPT-2's own tokenizer: what is special stands in no list."""
    (folder / "tokenizer.json").unlink()
    (folder / "merges.txt").write_text("#version: 0.2\na b\nab c\n", encoding="utf-8")
    tokens = ["<|endoftext|>", *LETTERS, "ab", "abc", "<x>", "<|", "<y>"]
    write_json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    return folder


def kinds(folder: Path) -> list[int]:
    """Ids of control tokens."""
    found: list[int] = fields_of(converted(folder))["tokenizer.ggml.token_type"]
    return [index for index, kind in enumerate(found) if kind == CONTROL]


def test_special_tokens_of_gpt2s_own_files(old_folder: Path) -> None:
    assert kinds(old_folder) == [0]
    assert ids(old_folder, ["a<|endoftext|>b"]) == [[1, 0, 2]]
    write_json(old_folder / "special_tokens_map.json", {"eos_token": {"content": "<x>"}})
    assert kinds(old_folder) == [0, 21]
    write_json(old_folder / "tokenizer_config.json", {"additional_special_tokens": ["<y>", "<none>"]})
    assert kinds(old_folder) == [0, 21, 23]
    named = {"bos_token": "<x>", "eos_token": "<x>", "unk_token": "<x>"}
    write_json(old_folder / "tokenizer_config.json", named)
    assert kinds(old_folder) == [21]


def test_other_classes_of_the_same_files(old_folder: Path) -> None:
    path = old_folder / "tokenizer_config.json"
    write_json(path, {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": False})
    assert ids(old_folder, ["abc"]) == [[20]]
    write_json(path, {"add_prefix_space": True})
    assert_fails(old_folder, r"tokenizer_config\.json: add_prefix_space is true")
    write_json(path, {"tokenizer_class": "Qwen2Tokenizer"})
    assert_fails(old_folder, "tokenizer_class is 'Qwen2Tokenizer'; without tokenizer.json only GPT2Tokenizer's.*--pre")
    assert tokenizer_of(old_folder, pre="qwen2")["ggml.pre"] == "qwen2"
    path.unlink()
    with pytest.raises(ConvertError, match="tokenizer_class is 'Qwen2Tokenizer'"):
        read_vocabulary(old_folder, Config({"model_type": "qwen2"}, ""), 24)


def test_no_merges(old_folder: Path) -> None:
    (old_folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    assert_fails(old_folder, r"merges\.txt has no merges")


def test_a_space_that_the_settings_put_before_words(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", {"add_prefix_space": True})
    assert_fails(folder, r"tokenizer_config\.json: add_prefix_space is true")
    assert ids(folder, ["abc"], pre="gpt-2") == [[21]]
    # In a sequence of steps transformers leaves it as it is.
    change(folder, pre_tokenizer=split(SPLITS["qwen2"]))
    assert ids(folder, ["abc"]) == [[21]]


# What is put around a text


def special(name: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": 0}}


TEXT = {"Sequence": {"id": "A", "type_id": 0}}


def template(*single: dict[str, Any]) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": list(single)}


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (template(special("<s>"), TEXT, special("</s>")), (True, True)),
        (template(TEXT, special("</s>")), (False, True)),
        (template(TEXT), (False, False)),
        ({"type": "ByteLevel"}, (False, False)),
        ({"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0]}, (True, True)),
        ({"type": "BertProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0]}, (True, True)),
        (
            {"type": "BertProcessing", "sep": ["</s>", 1], "cls": ["a", 2]},
            "'a' before a text;.*bos_token, which is '<s>'",
        ),
        (template(special("<s>"), special("a"), TEXT), "'<s> a' before a text"),
        (template(special("a"), TEXT), "'a' before a text"),
        (template(TEXT, special("a")), "'a' behind a text;.*eos_token, which is '</s>'"),
        (
            {"type": "Sequence", "processors": [template(special("<s>"), TEXT), template(special("a"), TEXT)]},
            "'a <s>' before a text",
        ),
    ],
)
def test_post_processors(folder: Path, processor: dict[str, Any], expected: tuple[bool, bool] | str) -> None:
    change(folder, post_processor=processor)
    if isinstance(expected, str):
        assert_fails(folder, expected)
        write_json(folder / "tokenizer_config.json", {"add_bos_token": True, "add_eos_token": False})
        expected = (True, False)
    found = tokenizer_of(folder)
    assert (found["ggml.add_bos_token"], found["ggml.add_eos_token"]) == expected


def test_a_begin_token_that_is_not_there(folder: Path) -> None:
    write_json(folder / "config.json", {**LLAMA, "bos_token_id": None})
    write_json(folder / "tokenizer_config.json", {"add_bos_token": True})
    assert tokenizer_of(folder)["ggml.add_bos_token"] is False
    assert ids(folder, ["abc"]) == [[21]]
    write_json(folder / "tokenizer_config.json", {"add_bos_token": True, "bos_token": "<begin>"})
    assert_fails(folder, "add_bos_token is true, but bos_token '<begin>' is not in the vocabulary")


# tokenizer.json of SentencePiece's kind

PREPEND = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    ],
}
TEXTS = ["the", " the", "\u2581the", "<s> the", "<|im_start|>the<|im_start|> the", "the<mark>the"]


def metaspace(**options: Any) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "\u2581", "split": False, **options}


@pytest.fixture(params=[False, True], ids=["json", "json and model"])
def pieces_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """tokenizer.json alone, and with tokenizer.model beside it, which then does not say where spaces are put."""
    folder = with_weights("sentencepiece-json", tmp_path / "model")
    if request.param:
        shutil.copy(FOLDERS / "sentencepiece" / "tokenizer.model", folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "prefix", "expected"),
    [
        (
            {"pre_tokenizer": metaspace(prepend_scheme="first")},
            (True, "first"),
            [[262], [262], [262], [1, 262], [330, 293, 259, 330, 262], [262, 331, 293, 259]],
        ),
        (
            {"pre_tokenizer": metaspace(prepend_scheme="always")},
            (True, "always"),
            [[262], [262], [262], [1, 262], [330, 262, 330, 262], [262, 331, 262]],
        ),
        (
            {"pre_tokenizer": metaspace(add_prefix_space=True)},  # as older files spell it
            (True, "always"),
            [[262], [262], [262], [1, 262], [330, 262, 330, 262], [262, 331, 262]],
        ),
        (
            {"pre_tokenizer": metaspace(prepend_scheme="never")},
            (False, None),
            [[293, 259], [262], [262], [1, 262], [330, 293, 259, 330, 262], [293, 259, 331, 293, 259]],
        ),
        (
            {"pre_tokenizer": None, "normalizer": PREPEND},
            (True, None),
            [[262], [291, 262], [291, 262], [1, 291, 262], [330, 262, 330, 291, 262], [262, 331, 262]],
        ),
    ],
)
def test_spaces_in_front(
    pieces_folder: Path, changes: dict[str, Any], prefix: tuple[bool, str | None], expected: list[list[int]]
) -> None:
    change(pieces_folder, **changes)
    found = tokenizer_of(pieces_folder)
    assert (found["ggml.add_space_prefix"], found.get("ivg.space_prefix")) == prefix
    assert ids(pieces_folder, TEXTS) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_tokenizer": None}, "neither a Replace of the normalizer nor a Metaspace"),
        ({"pre_tokenizer": metaspace(replacement="_")}, "neither a Replace of the normalizer nor a Metaspace"),
        ({"pre_tokenizer": {"type": "Whitespace"}, "normalizer": PREPEND}, "has the step {'type': 'Whitespace'};"),
        (
            {"pre_tokenizer": {"type": "Punctuation", "behavior": "Isolated"}, "normalizer": PREPEND},
            r"'Punctuation'}, which cuts token ',\\n'",
        ),
        (
            {"pre_tokenizer": {"type": "Digits", "individual_digits": True}, "normalizer": PREPEND},
            "'Digits'}, which cuts token '01'",
        ),
        ({"pre_tokenizer": {"type": "Digits", "individual_digits": False}, "normalizer": PREPEND}, None),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"String": " "}}, "normalizer": PREPEND}, None),
        ({"pre_tokenizer": metaspace(prepend_scheme="first", split=True)}, None),
    ],
)
def test_cuts_before_merging(pieces_folder: Path, changes: dict[str, Any], message: str | None) -> None:
    """Only those that no token reaches across."""
    change(pieces_folder, **changes)
    if message is None:
        assert ids(pieces_folder, ["the"]) == [[262]]
    else:
        assert_fails(pieces_folder, message)


def test_a_split_at_spaces_that_a_token_reaches_across(tmp_path: Path) -> None:
    folder = with_weights("sentencepiece-json", tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocab, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    vocab = {"e\u2581" if text == "67" else text: index for text, index in vocab.items()}
    merges = [["e", "\u2581"] if merge == ["6", "7"] else merge for merge in merges]
    change(folder, {"vocab": vocab, "merges": merges}, pre_tokenizer=metaspace(split=True))
    assert_fails(folder, re.escape("which cuts token 'e\u2581'"))
    change(folder, pre_tokenizer=metaspace(split=False))
    assert tokenizer_of(folder)["ggml.tokens"][vocab["e\u2581"]] == "e\u2581"


def test_merges_that_do_not_make_a_piece(tmp_path: Path) -> None:
    folder = with_weights("sentencepiece-json", tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    merges = [merge for merge in tokenizer["model"]["merges"] if merge != ["h", "e"]]
    change(folder, {"merges": merges})
    assert_fails(folder, r"model: merges make \['h', 'e'\] of token 'he' and do not merge that")


def test_a_piece_that_is_too_long_to_merge() -> None:
    longest = "a" * 1024
    assert merge_scores([("a", "a")], ["a", "aa", longest], False, "") == {"aa": 0.0}
    with pytest.raises(ConvertError, match=r"here: vocab: token 'aaa.* has more than 1024 bytes"):
        merge_scores([("a", "a")], ["a", "aa", longest + "a"], False, "here")


def merged_by_list(text: str, merges: list[tuple[str, str]]) -> list[str]:
    """As `tokenizers` merges: the pair that comes first in the list, of equals the leftmost."""
    symbols = list(text)
    while True:
        places = [at for at in range(len(symbols) - 1) if (symbols[at], symbols[at + 1]) in merges]
        if not places:
            return symbols
        at = min(places, key=lambda place: (merges.index((symbols[place], symbols[place + 1])), place))
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


def merged_by_score(text: str, scores: dict[str, float], pieces: set[str]) -> list[str]:
    """As SentencePiece merges: what together is the piece of the highest score, of equals the leftmost."""
    symbols = list(text)
    while True:
        places = [at for at in range(len(symbols) - 1) if symbols[at] + symbols[at + 1] in pieces]
        if not places:
            return symbols
        at = min(places, key=lambda place: (-scores.get(symbols[place] + symbols[place + 1], -1e9), place))
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


@given(st.data())
def test_scores_merge_as_the_list_does(data: st.DataObject) -> None:
    pieces = ["a", "b", "c"]
    pairs: list[tuple[str, str]] = []
    for _ in range(data.draw(st.integers(1, 10))):
        left, right = (data.draw(st.sampled_from(pieces)) for _ in range(2))
        pairs.append((left, right))
        if left + right not in pieces:
            pieces.append(left + right)
    merges = data.draw(st.permutations(list(dict.fromkeys(pairs))))
    try:
        scores = merge_scores(merges, pieces, False, "")
    except ConvertError:
        # Then there is a text, that of a piece, of which a list and pieces make different things.
        assert any(len(merged_by_list(piece, merges)) == 2 for piece in pieces)
        return
    for text in [*pieces, *data.draw(st.lists(st.text("abc", max_size=16), max_size=8))]:
        assert merged_by_score(text, scores, set(pieces)) == merged_by_list(text, merges), text
