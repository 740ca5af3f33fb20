"""What a tokenizer becomes in a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from ivg.convert._errors import ConvertError, shown

#: The space in SentencePiece words.
SPACE = "\u2581"


class Kind(IntEnum):
    """`tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass
class Vocabulary:
    """The tokens of a model, and how text is cut into them."""

    #: "gpt2" (byte-level BPE) or "llama" (SentencePiece).
    model: str
    #: How text is cut into words first.
    pre: str
    #: Text of each token; None for an id that has none yet.
    tokens: list[str | None]
    kinds: list[Kind]
    #: SentencePiece: which pair is merged first.
    scores: list[float] = field(default_factory=list)
    #: Byte-level BPE: "left right", most important first.
    merges: list[str] = field(default_factory=list)
    #: Byte-level BPE: whether words that are tokens are taken whole, where that is not the custom of `pre`.
    ignore_merges: bool | None = None
    add_space_prefix: bool | None = None
    #: Where the space is put, if not before each text and behind each special token: "first" or "always".
    space_prefix: str | None = None
    #: Special tokens by GGUF's names: "bos", "eos", "unknown", "padding".
    special: dict[str, int] = field(default_factory=dict)
    add_bos: bool | None = None
    add_eos: bool | None = None
    chat_template: str | None = None
    #: Fields of libivg's own, as they are in the file.
    rules: dict[str, Any] = field(default_factory=dict)

    def put(self, index: int, text: str, kind: Kind, score: float, place: str) -> None:
        """Sets one token. Throws if `index` is not in the table."""
        if not 0 <= index < len(self.tokens):
            raise ConvertError(
                f"{place}: token {shown(text)} has id {index}, but the model has {len(self.tokens)} embeddings"
            )
        self.tokens[index] = text
        self.kinds[index] = kind
        if self.scores:
            self.scores[index] = score

    def metadata(self) -> dict[str, Any]:
        """The fields of the file. Ids without a token become `[PADn]`, unused."""
        tokens = [f"[PAD{index}]" if text is None else text for index, text in enumerate(self.tokens)]
        kinds = [int(Kind.UNUSED if text is None else kind) for text, kind in zip(self.tokens, self.kinds, strict=True)]
        found: dict[str, Any] = {
            "tokenizer.ggml.model": self.model,
            "tokenizer.ggml.pre": self.pre,
            "tokenizer.ggml.tokens": tokens,
        }
        if self.scores:
            found["tokenizer.ggml.scores"] = self.scores
        found["tokenizer.ggml.token_type"] = kinds
        if self.model == "gpt2":
            found["tokenizer.ggml.merges"] = self.merges
        for name, index in self.special.items():
            found[f"tokenizer.ggml.{name}_token_id"] = index
        for key, value in (
            ("add_bos_token", self.add_bos),
            ("add_eos_token", self.add_eos),
            ("add_space_prefix", self.add_space_prefix),
        ):
            if value is not None:
                found[f"tokenizer.ggml.{key}"] = value
        if self.space_prefix is not None:
            found["tokenizer.ivg.space_prefix"] = self.space_prefix
        if self.ignore_merges is not None:
            found["tokenizer.ivg.ignore_merges"] = self.ignore_merges
        if self.chat_template is not None:
            found["tokenizer.chat_template"] = self.chat_template
        found.update(self.rules)
        return {key: value for key, value in found.items() if value != []}


def empty_vocabulary(model: str, pre: str, size: int) -> Vocabulary:
    """A table of `size` ids without tokens."""
    scores = [-10_000.0] * size if model == "llama" else []
    return Vocabulary(model, pre, [None] * size, [Kind.UNUSED] * size, scores)
