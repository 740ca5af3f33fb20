"""tokenizer.model: the protocol buffer in which SentencePiece keeps a vocabulary.

Only the fields that matter here are read; the format is a sequence of (field number, kind, value).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivg.convert._errors import ConvertError
from ivg.convert._source import MappedFile

from ._vocabulary import Kind, Vocabulary, empty_vocabulary

_BPE = 2
_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
_KINDS = {1: Kind.NORMAL, 2: Kind.UNKNOWN, 3: Kind.CONTROL, 4: Kind.USER_DEFINED, 5: Kind.UNUSED, 6: Kind.BYTE}
_ONLY = "a GGUF file cannot say so, and the texts would be cut into other tokens"


@dataclass
class SentencePieceModel:
    """The contents of a tokenizer.model."""

    pieces: list[tuple[str, float, Kind]]
    #: Ids of special tokens, -1 where there is none.
    special: dict[str, int]
    add_space_prefix: bool = True


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Reads and checks a tokenizer.model. Only models of kind BPE are known that leave texts as they are."""
    file = MappedFile(path)
    model = SentencePieceModel([], {"unknown": 0, "bos": 1, "eos": 2, "padding": -1})
    kind = 1
    normalizer = _Normalizer()
    for number, value in _fields(file.view(0, file.size), str(path)):
        if number == 1 and isinstance(value, memoryview):
            model.pieces.append(_piece(value, str(path)))
        elif number == 2 and isinstance(value, memoryview):
            names = {40: "unknown", 41: "bos", 42: "eos", 43: "padding"}
            for inner, content in _fields(value, str(path)):
                if inner == 3 and isinstance(content, int):
                    kind = content
                elif inner == 24 and isinstance(content, int) and content:
                    raise ConvertError(f"{path}: trainer_spec.treat_whitespace_as_suffix is true; {_ONLY}")
                elif inner in names and isinstance(content, int):
                    model.special[names[inner]] = _signed(content)
        elif number == 3 and isinstance(value, memoryview):
            normalizer.read(value, str(path))
        elif number == 5 and isinstance(value, memoryview):
            for inner, content in _fields(value, str(path)):
                if inner == 2 and isinstance(content, memoryview) and len(content):
                    raise ConvertError(f"{path}: denormalizer_spec.precompiled_charsmap is not empty; {_ONLY}")
    if not model.pieces:
        raise ConvertError(f"{path} holds no pieces: it is not a SentencePiece model")
    if kind != _BPE:
        name = _MODEL_TYPES.get(kind, str(kind))
        raise ConvertError(f"{path}: model_type is {name}; only bpe can be converted")
    normalizer.require_none(str(path))
    model.add_space_prefix = normalizer.adds_dummy_prefix
    return model


@dataclass
class _Normalizer:
    """What becomes of a text before it is cut. Fields have the format's defaults: what is not in the file holds."""

    charsmap_length: int = 0
    adds_dummy_prefix: bool = True
    removes_extra_whitespaces: bool = True
    escapes_whitespaces: bool = True

    def read(self, data: memoryview, place: str) -> None:
        """Takes the fields of a normalizer_spec."""
        for number, value in _fields(data, place):
            if number == 2 and isinstance(value, memoryview):
                self.charsmap_length = len(value)
            elif number == 3 and isinstance(value, int):
                self.adds_dummy_prefix = bool(value)
            elif number == 4 and isinstance(value, int):
                self.removes_extra_whitespaces = bool(value)
            elif number == 5 and isinstance(value, int):
                self.escapes_whitespaces = bool(value)

    def require_none(self, place: str) -> None:
        """Throws unless texts stay as they are but for the space in front."""
        if self.charsmap_length:
            raise ConvertError(
                f"{place}: normalizer_spec.precompiled_charsmap has {self.charsmap_length} bytes, but must be empty; "
                f"{_ONLY}"
            )
        if self.removes_extra_whitespaces:
            raise ConvertError(f"{place}: normalizer_spec.remove_extra_whitespaces is true, as by default; {_ONLY}")
        if not self.escapes_whitespaces:
            raise ConvertError(f"{place}: normalizer_spec.escape_whitespaces is false; {_ONLY}")


def vocabulary_of(model: SentencePieceModel, size: int, place: str) -> Vocabulary:
    """The pieces as a table of `size` tokens."""
    found = empty_vocabulary("llama", "default", size)
    for index, (text, score, kind) in enumerate(model.pieces):
        found.put(index, text, kind, score, place)
    found.special = {name: index for name, index in model.special.items() if 0 <= index < len(model.pieces)}
    found.add_space_prefix = model.add_space_prefix
    return found


def _piece(data: memoryview, place: str) -> tuple[str, float, Kind]:
    text, score, kind = "", 0.0, Kind.NORMAL
    for number, value in _fields(data, place):
        if number == 1 and isinstance(value, memoryview):
            try:
                text = bytes(value).decode("utf-8")
            except UnicodeDecodeError:
                raise ConvertError(f"{place}: a piece is not UTF-8") from None
        elif number == 2 and isinstance(value, float):
            score = value
        elif number == 3 and isinstance(value, int):
            if value not in _KINDS:
                raise ConvertError(f"{place}: a piece has the type {value}, which does not exist")
            kind = _KINDS[value]
    if not math.isfinite(score):
        raise ConvertError(f"{place}: piece {text!r} has the score {score}")
    return text, score, kind


def _fields(data: memoryview, place: str) -> Iterator[tuple[int, int | float | memoryview]]:
    """The fields of one message: whole numbers, 32-bit floats, or bytes."""
    at = 0
    while at < len(data):
        tag, at = _variable(data, at, place)
        wire = tag & 7
        if wire == 0:
            value, at = _variable(data, at, place)
            yield tag >> 3, value
            continue
        if wire == 2:
            length, at = _variable(data, at, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ConvertError(f"{place} is not a SentencePiece model: byte {at} cannot begin a field")
        if length > len(data) - at:
            raise ConvertError(f"{place} is truncated, or not a SentencePiece model")
        content = data[at : at + length]
        at += length
        if wire == 5:
            yield tag >> 3, struct.unpack("<f", content)[0]
        elif wire == 2:
            yield tag >> 3, content


def _variable(data: memoryview, at: int, place: str) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    for count in range(10):
        if at + count >= len(data):
            raise ConvertError(f"{place} is truncated, or not a SentencePiece model")
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise ConvertError(f"{place} is not a SentencePiece model: a number has more than 10 bytes")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
