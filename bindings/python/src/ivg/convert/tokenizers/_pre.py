"""Which of the known ways of cutting text into words a tokenizer.json asks for.

llama.cpp knows them by the ids that a text comes out with; here they are recognised by what tokenizer.json says: its
regular expressions and steps.
"""

from __future__ import annotations

from typing import Any

from ivg.convert._errors import ConvertError

from ._steps import steps_of

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_CASED = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_SMALL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_CASED}*{_SMALL}+{_ENDING}|[^\r\n\p{{L}}\p{{N}}]?{_CASED}+{_SMALL}*{_ENDING}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_CASED}*{_SMALL}+|[^\r\n\p{{L}}\p{{N}}]?{_CASED}+{_SMALL}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Steps, as `_step` spells them, by the names that files give them.
_KNOWN: dict[tuple[str, ...], str] = {
    ("bytes+words",): "gpt-2",
    (f"split {_GPT2}", "bytes"): "gpt-2",
    ("digit", "bytes+words"): "smollm",
    (f"split {_LLAMA3}", "bytes"): "dbrx",
    (f"split {_QWEN2}", "bytes"): "qwen2",
    (f"split {_GPT4O}", "bytes"): "gpt-4o",
    (f"split {_TEKKEN}", "bytes"): "tekken",
}

#: Llama 3 cuts as dbrx does, and besides takes words whole that are tokens.
_WHOLE_WORDS = {"dbrx": "llama-bpe"}
#: All names by which readers take words whole that are tokens, whatever the merges say.
_IGNORING_MERGES = frozenset(
    (
        *("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
        *("tekken", "minicpm5", "granite-embed-multi-97m"),
    )
)

#: Behaviours of a split, and whether it is inverted, by which each match becomes a word. Removing what is between the
#: matches is the same as isolating them, as the known expressions match at every character.
_ISOLATING = {("Isolated", False), ("Removed", True)}

KNOWN_NAMES = (*dict.fromkeys(_KNOWN.values()), *_WHOLE_WORDS.values())


def recognise(tokenizer: dict[str, Any], place: str) -> str:
    """The name of the pre-tokenizer. Throws, listing the known ones, if it is none of them."""
    steps = tuple(map(_step, steps_of(tokenizer, "pre_tokenizer")))
    name = _KNOWN.get(steps)
    if name is None:
        described = ", then ".join(steps) or "nothing"
        described = described if len(described) <= 300 else described[:299] + "…"
        raise ConvertError(
            f"{place}: pre_tokenizer is none of the known ones ({', '.join(KNOWN_NAMES)}); it is: {described}. "
            "If it cuts text as one of these does, pass that name with --pre"
        )
    return _WHOLE_WORDS.get(name, name) if _ignores_merges(tokenizer) else name


def ignored_merges(tokenizer: dict[str, Any], name: str) -> bool | None:
    """Whether words that are tokens are taken whole, where the pre-tokenizer's name says otherwise; else None."""
    ignores = _ignores_merges(tokenizer)
    return None if ignores == (name in _IGNORING_MERGES) else ignores


def _ignores_merges(tokenizer: dict[str, Any]) -> bool:
    model = tokenizer.get("model")
    return isinstance(model, dict) and model.get("ignore_merges") is True


def _step(value: Any) -> str:
    """One step as a word; with its options where they are not those of all known tokenizers."""
    if not isinstance(value, dict):
        return repr(value)
    kind = value.get("type")
    if kind == "ByteLevel" and not value.get("add_prefix_space"):
        return "bytes" if value.get("use_regex") is False else "bytes+words"
    if kind == "Digits" and value.get("individual_digits") is True:
        return "digit"
    if kind == "Split" and (value.get("behavior"), bool(value.get("invert"))) in _ISOLATING:
        pattern = value.get("pattern")
        if isinstance(pattern, dict) and isinstance(pattern.get("Regex"), str):
            return f"split {pattern['Regex']}"
    return repr(value)
