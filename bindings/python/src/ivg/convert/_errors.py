"""What stops a conversion."""

from __future__ import annotations


class ConvertError(ValueError):
    """A folder that cannot be converted; the message names the file, the field and what was expected."""


def shown(value: object) -> str:
    """`value` for a message: at most 80 characters, none of them a control character."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
