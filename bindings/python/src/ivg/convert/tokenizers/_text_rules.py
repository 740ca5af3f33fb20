"""What a tokenizer does to texts besides cutting them that llama.cpp's files cannot say: fields of libivg's own, which
other programs do not know."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from ivg.convert._config import Config
from ivg.convert._errors import ConvertError, shown

from ._special import described_tokens
from ._steps import steps_of
from ._vocabulary import Kind, Vocabulary

#: Rules of which llama.cpp takes letters beyond ASCII to be of both cases.
_CASED = ("tekken", "gpt-4o")
#: Names of models whose special tokens take the white space behind them along, if a file does not say otherwise.
_STRIPPED_BY_NAME = ("phi-3", "phi3")


def read_text_rules(vocabulary: Vocabulary, folder: Path, tokenizer: dict[str, Any], pre: str | None) -> None:
    """Adds what the tokenizer of a folder does to texts to the fields. Throws if a file cannot say it.

    To be called when all tokens are in the table. `pre`: what the caller says of the rules, None if tokenizer.json
    told it.
    """
    fields = vocabulary.rules
    if vocabulary.model == "gpt2":
        if _composes(tokenizer, str(folder / "tokenizer.json")):
            fields["tokenizer.ivg.normalizer"] = "nfc"
        if vocabulary.pre in _CASED and pre is None:
            fields["tokenizer.ivg.exact_case"] = True
    # Such a step is taken with the tokens' texts too, when they are normalized.
    kinds = [step.get("type") for step in steps_of(tokenizer, "normalizer") if isinstance(step, dict)]
    prepends = "Prepend" in kinds
    found: dict[str, list[int]] = {name: [] for name in ("strips_left", "strips_right", "single_word", "normalized")}
    # Of two descriptions of a token the last counts.
    for index, entry in sorted(dict(described_tokens(folder, tokenizer)).items()):
        if index >= len(vocabulary.tokens) or vocabulary.kinds[index] not in (
            Kind.CONTROL,
            Kind.USER_DEFINED,
            Kind.UNKNOWN,
        ):
            continue
        flags = _flags(entry, vocabulary.kinds[index], prepends, "tokenizer.ivg.normalizer" in fields)
        for name, is_set in flags.items():
            if is_set:
                found[name].append(index)
    for name, ids in found.items():
        if ids:
            fields[f"tokenizer.ivg.{name}"] = ids
    by_name = any(part in folder.resolve().name.lower() for part in _STRIPPED_BY_NAME)
    if by_name and not found["strips_right"]:
        fields["tokenizer.ivg.strips_by_name"] = False


def _flags(entry: Config, kind: Kind, prepends: bool, composes: bool) -> dict[str, bool]:
    """What an added token asks for, by the names of fields. Throws if a file cannot say it.

    `prepends`, `composes`: whether the normalizer puts a space before texts, and whether it composes them.
    """
    text = entry.text("content")
    normalized = entry.flag("normalized", not entry.flag("special", False))
    if normalized and prepends and kind is Kind.USER_DEFINED:
        raise ConvertError(
            f"{entry.place}: the added token {shown(text)} is normalized, and so found only behind a space; a GGUF "
            'file cannot say so. With "normalized": false there it is found everywhere'
        )
    if normalized and composes and unicodedata.normalize("NFC", text) != text:
        raise ConvertError(
            f"{entry.place}: the added token {shown(text)} is normalized and no composed text (NFC); a GGUF file "
            "cannot say so"
        )
    return {
        "strips_left": entry.flag("lstrip", False),
        "strips_right": entry.flag("rstrip", False),
        "single_word": entry.flag("single_word", False),
        # Where texts stay as they are it makes no difference.
        "normalized": normalized and composes,
    }


def _composes(tokenizer: dict[str, Any], place: str) -> bool:
    """Whether the normalizer is canonical composition; throws if it is anything else but none."""
    steps = steps_of(tokenizer, "normalizer")
    for step in steps:
        if not isinstance(step, dict) or step.get("type") != "NFC":
            raise ConvertError(
                f"{place}: normalizer has the step {shown(step)}; a GGUF file of byte-level BPE can only say NFC"
            )
    return bool(steps)
