"""tokenizer.json with a BPE model, and vocab.json with merges.txt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ivg.convert._config import Config, read_json, read_small
from ivg.convert._errors import ConvertError, shown

from ._pieces import merge_scores, require_spaces, require_uncut, space_prefix
from ._pre import ignored_merges, recognise
from ._steps import steps_of
from ._vocabulary import SPACE, Kind, Vocabulary, empty_vocabulary

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
#: The character that stands for a space in words of byte-level BPE.
_SPELLED_SPACE = "Ġ"
#: The class of tokenizers that vocab.json and merges.txt alone describe, and others by the model_type they go with.
_PLAIN_CLASS = "GPT2Tokenizer"
_CLASSES = {"qwen2": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer"}


def is_sentencepiece(tokenizer: dict[str, Any]) -> bool:
    """Whether a tokenizer.json was made of a SentencePiece model: bytes are tokens of their own."""
    model = tokenizer.get("model")
    return isinstance(model, dict) and model.get("byte_fallback") is True


def read_byte_level(tokenizer: dict[str, Any], size: int, pre: str | None, place: str) -> Vocabulary:
    """Byte-level BPE as a table of `size` tokens. `pre` overrides what the file says about cutting text."""
    model = _bpe_model(tokenizer, place)
    name = pre or recognise(tokenizer, place)
    found = empty_vocabulary("gpt2", name, size)
    found.ignore_merges = ignored_merges(tokenizer, name)
    for text, index in _entries(model):
        found.put(index, text, Kind.NORMAL, 0, place)
    found.merges = [" ".join(part.replace(" ", _SPELLED_SPACE) for part in pair) for pair in _merges(model)]
    _require_merges(found, model.place)
    return found


def read_sentencepiece_json(tokenizer: dict[str, Any], size: int, place: str) -> Vocabulary:
    """BPE with byte fallback as the SentencePiece vocabulary it was made of: a piece scores the lower, the later its
    merge stands in the list. Throws if no scores do what the list of merges does."""
    model = _bpe_model(tokenizer, place)
    found = empty_vocabulary("llama", "default", size)
    unknown = model.raw("unk_token", None)
    entries, merges, added = _entries(model), _merges(model), added_ids(tokenizer)
    pieces = [text for text, index in entries if text != unknown and index not in added and not _BYTE.fullmatch(text)]
    scores = merge_scores(merges, pieces, model.raw("ignore_merges", False) is True, model.place)
    for text, index in entries:
        kind = Kind.NORMAL
        if text == unknown:
            kind = Kind.UNKNOWN
        elif _BYTE.fullmatch(text):
            kind = Kind.BYTE
        # Single characters come out of no merge; their scores are never compared.
        score = 0.0 if kind is not Kind.NORMAL else scores.get(text, -float(len(scores)))
        found.put(index, text, kind, score, place)
    if isinstance(unknown, str) and unknown in model.raw("vocab"):
        found.special["unknown"] = model.raw("vocab")[unknown]
    prepare_text(found, tokenizer, place)
    return found


def prepare_text(found: Vocabulary, tokenizer: dict[str, Any], place: str) -> None:
    """Takes what a tokenizer.json of SentencePiece's kind does to a text before it is merged. Throws if it does what a
    GGUF file cannot say."""
    _require_no_normalizer(tokenizer, place)
    normalizer = steps_of(tokenizer, "normalizer")
    cuts = steps_of(tokenizer, "pre_tokenizer")
    require_spaces(normalizer + cuts, place)
    require_uncut(found, cuts, added_ids(tokenizer), place)
    found.add_space_prefix, found.space_prefix = space_prefix(normalizer + cuts)


def require_plain_words(folder: Path, tokenizer: dict[str, Any], config: Config, pre: str | None) -> None:
    """Throws if tokenizer_config.json has texts of byte-level BPE cut otherwise than the other files say (by `pre` the
    caller says it)."""
    path = folder / "tokenizer_config.json"
    settings = Config(read_json(path) if path.exists() else {}, str(path))
    step = tokenizer.get("pre_tokenizer")
    # transformers changes the pre-tokenizer if it is this one alone.
    is_changed = not tokenizer or (isinstance(step, dict) and step.get("type") == "ByteLevel")
    if pre is None and is_changed and settings.raw("add_prefix_space", False) is True:
        raise ConvertError(f"{path}: add_prefix_space is true; a GGUF file of byte-level BPE cannot say so")
    if pre is None and not tokenizer:
        kind = str(settings.raw("tokenizer_class", _CLASSES.get(config.text("model_type", ""), _PLAIN_CLASS)))
        if kind.removesuffix("Fast") != _PLAIN_CLASS:
            raise ConvertError(
                f"{path}: tokenizer_class is {shown(kind)}; without tokenizer.json only {_PLAIN_CLASS}'s way of "
                "cutting text is known. If it cuts text as a known pre-tokenizer does, pass its name with --pre"
            )


def read_vocab_and_merges(folder: Path, size: int, pre: str | None) -> Vocabulary:
    """vocab.json and merges.txt, the files of GPT-2's own tokenizer."""
    path = folder / "vocab.json"
    found = empty_vocabulary("gpt2", pre or "gpt-2", size)
    for text, index in _entries(Config({"vocab": read_json(path)}, str(path))):
        found.put(index, text, Kind.NORMAL, 0, str(path))
    merges = folder / "merges.txt"
    try:
        lines = read_small(merges).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ConvertError(f"{merges} is not UTF-8 at byte {error.start}") from None
    for number, line in enumerate((line.removesuffix("\r") for line in lines), 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        if len(line.split(" ")) != 2:
            raise ConvertError(f"{merges}: line {number} is not two words: {shown(line)}")
        found.merges.append(line)
    _require_merges(found, str(merges))
    return found


def _bpe_model(tokenizer: dict[str, Any], place: str) -> Config:
    model = Config(tokenizer, place).section("model")
    # Old files have no type; what has merges is BPE.
    kind = model.text("type", "BPE" if "merges" in model.values else "")
    if kind != "BPE":
        raise ConvertError(f"{model.place}: type is {shown(kind)}; only BPE can be converted")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        value = model.raw(name, None)
        if value not in (None, "", 0):
            raise ConvertError(f"{model.place}: {name} is {shown(value)}; a GGUF file cannot say so")
    return model


def _require_merges(vocabulary: Vocabulary, place: str) -> None:
    if not vocabulary.merges:
        raise ConvertError(f"{place} has no merges; a GGUF file of byte-level BPE cannot be without")


def added_ids(tokenizer: dict[str, Any]) -> set[int]:
    """The ids of added tokens; what is malformed among them is reported where they are read."""
    added = tokenizer.get("added_tokens")
    entries = added if isinstance(added, list) else []
    return {entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), int)}


def _entries(model: Config) -> list[tuple[str, int]]:
    """Tokens with their ids."""
    entries = model.section("vocab").values
    for text, index in entries.items():
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise ConvertError(f"{model.place}: vocab: token {shown(text)} has the id {shown(index)}")
    return list(entries.items())


def _merges(model: Config) -> list[tuple[str, str]]:
    """Pairs, from either spelling: "a b" or ["a", "b"]."""
    found = []
    for index, merge in enumerate(model.items("merges")):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) and part for part in pair):
            raise ConvertError(f"{model.place}: merges[{index}] is {shown(merge)}, not a pair of words")
        found.append((pair[0], pair[1]))
    return found


def _require_no_normalizer(tokenizer: dict[str, Any], place: str) -> None:
    """Throws unless texts stay as they are but for how spaces are written and the one in front."""
    for step in steps_of(tokenizer, "normalizer"):
        known = False
        if isinstance(step, dict) and step.get("type") == "Replace":
            known = step.get("pattern") == {"String": " "} and step.get("content") == SPACE
        elif isinstance(step, dict) and step.get("type") == "Prepend":
            known = step.get("prepend") in (SPACE, " ")
        if not known:
            raise ConvertError(
                f"{place}: normalizer has the step {shown(step)}; a GGUF file cannot say so, and the texts would be "
                "cut into other tokens"
            )
