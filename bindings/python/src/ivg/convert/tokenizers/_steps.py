"""The steps that a tokenizer.json takes a text through."""

from __future__ import annotations

from typing import Any

#: What the lists in sequences of steps are called.
_LISTS = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers", "post_processor": "processors"}


def steps_of(tokenizer: dict[str, Any], part: str) -> list[Any]:
    """The steps of `part` ("normalizer", "pre_tokenizer", "post_processor") in order, those of sequences in their
    place; each as the file has it, whatever that is."""
    found = []
    pending = [tokenizer.get(part)]
    while pending:
        step = pending.pop()
        inner = step.get(_LISTS[part]) if isinstance(step, dict) and step.get("type") == "Sequence" else None
        if isinstance(inner, list):
            pending += reversed(inner)
        elif step is not None:
            found.append(step)
    return found
