"""Whether a tokenizer.json of SentencePiece's kind does what a SentencePiece vocabulary of its pieces does.

`tokenizers` merges by a list of pairs, and may cut texts before; SentencePiece merges any two pieces that together are
a piece, by scores, and never cuts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ivg.convert._errors import ConvertError, shown

from ._vocabulary import SPACE, Kind, Vocabulary

#: Whether a text is cut between two characters.
_Cut = Callable[[str, str], bool]

#: Longer pieces never come out of a text where a GGUF file is read.
_LONGEST = 1024
_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def space_prefix(steps: Sequence[Any]) -> tuple[bool, str | None]:
    """Whether a space is put before texts by the steps of a normalizer and a pre-tokenizer, and where, if not before
    each text and behind each special token, whatever is there."""
    for step in steps:
        kind = step.get("type") if isinstance(step, dict) else None
        if kind == "Prepend":
            return True, None
        if kind == "Metaspace":
            scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "never")
            return (True, scheme) if scheme in ("first", "always") else (False, None)
    return False, None


def require_spaces(steps: Sequence[Any], place: str) -> None:
    """Throws unless spaces are written as SentencePiece writes them."""
    for step in steps:
        kind = step.get("type") if isinstance(step, dict) else None
        if kind == "Replace" or (kind == "Metaspace" and step.get("replacement", SPACE) == SPACE):
            return
    raise ConvertError(
        f"{place}: neither a Replace of the normalizer nor a Metaspace of the pre_tokenizer writes spaces as {SPACE}, "
        "as a SentencePiece vocabulary does"
    )


def require_uncut(vocabulary: Vocabulary, steps: Sequence[Any], added: set[int], place: str) -> None:
    """Throws if the steps of a pre-tokenizer keep a piece from being merged.

    `added`: ids of added tokens, which are found before a text is cut.
    """
    for step in steps:
        cut = _cut(step)
        if cut is None:
            raise ConvertError(
                f"{place}: pre_tokenizer has the step {shown(step)}; a GGUF file cannot say so of SentencePiece pieces"
            )
        for index, text in enumerate(vocabulary.tokens):
            if text is None or vocabulary.kinds[index] is not Kind.NORMAL or index in added:
                continue
            if any(map(cut, text, text[1:])):
                raise ConvertError(
                    f"{place}: pre_tokenizer has the step {shown(step)}, which cuts token {shown(text)}; a GGUF file "
                    "cannot say so, and texts would come out with that token"
                )


def _cut(step: Any) -> _Cut | None:
    """Where a step cuts; None for a step that is not known."""
    kind = step.get("type") if isinstance(step, dict) else None
    if kind == "Metaspace":
        return _before_space if step.get("split", True) else _nowhere
    if kind == "Split" and step.get("pattern") == {"String": " "}:
        return _nowhere  # Spaces have been written otherwise before.
    if kind == "Digits":
        return _around_digits if step.get("individual_digits") else _beside_digits
    if kind == "Punctuation" and step.get("behavior", "Isolated") == "Isolated":
        return _around_punctuation
    return None


def _nowhere(left: str, right: str) -> bool:
    return False


def _before_space(left: str, right: str) -> bool:
    return right == SPACE


def _around_digits(left: str, right: str) -> bool:
    return _is_digit(left) or _is_digit(right)


def _beside_digits(left: str, right: str) -> bool:
    return _is_digit(left) != _is_digit(right)


def _around_punctuation(left: str, right: str) -> bool:
    return _is_punctuation(left) or _is_punctuation(right)


def _is_digit(character: str) -> bool:
    return unicodedata.category(character)[0] == "N"


def _is_punctuation(character: str) -> bool:
    return character in _ASCII_PUNCTUATION or unicodedata.category(character)[0] == "P"


def merge_scores(
    merges: Sequence[tuple[str, str]], pieces: Sequence[str], ignores_merges: bool, place: str
) -> dict[str, float]:
    """A score for each of the `pieces` that come out of merging, by which SentencePiece merges as the list says.

    Throws if there are none: a piece of which the list does not know all that SentencePiece would do.
    """
    for piece in pieces:
        if len(piece.encode("utf-8", "replace")) > _LONGEST:
            raise ConvertError(
                f"{place}: vocab: token {shown(piece)} has more than {_LONGEST} bytes, too many to merge"
            )
    known = set(pieces)
    if not ignores_merges and _is_of_pieces(merges, known):
        first: dict[str, float] = {}
        for rank, pair in enumerate(merges):
            first.setdefault("".join(pair), -float(rank))
        return first
    # Two symbols side by side have come about as they would alone: what is around them had no part in it, or they
    # would have merged with that. So merging each piece alone shows all pairs that there ever are.
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    found: dict[str, float] = {}
    for piece in pieces:
        if len(piece) == 1:
            continue
        symbols, last = _merged(piece, ranks)
        if len(symbols) == 1:
            found[piece] = -float(last)
        elif len(symbols) == 2 or ignores_merges:
            reason = "but ignore_merges takes it whole" if ignores_merges else "but a GGUF file would do so"
            raise ConvertError(
                f"{place}: merges make {shown(symbols)} of token {shown(piece)} and do not merge that, {reason}"
            )
    return found


def _is_of_pieces(merges: Sequence[tuple[str, str]], pieces: set[str]) -> bool:
    """Whether the list has all pairs that make a piece, those of each piece one behind the other, as the converters of
    transformers write it."""
    pairs = set(merges)
    if len(pairs) != len(merges):
        return False
    made: set[str] = set()
    before = ""
    for left, right in merges:
        if left + right != before:
            before = left + right
            if before in made:
                return False
            made.add(before)
    return all(
        (piece[:at], piece[at:]) in pairs
        for piece in pieces
        for at in range(1, len(piece))
        if piece[:at] in pieces and piece[at:] in pieces
    )


def _merged(text: str, ranks: Mapping[tuple[str, str], int]) -> tuple[list[str], int]:
    """What becomes of a text by itself, and the last merge."""
    symbols = list(text)
    last = 0
    while len(symbols) > 1:
        best = min((ranks.get((symbols[at], symbols[at + 1]), len(ranks)), at) for at in range(len(symbols) - 1))
        if best[0] == len(ranks):
            break
        last, at = best
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return symbols, last
