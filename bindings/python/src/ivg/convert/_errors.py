"""What stops a conversion."""

from __future__ import annotations

import reprlib

_LENGTH = 80


class ConvertError(ValueError):
    """A folder that cannot be converted; the message names the file, the field and what was expected."""


def shown(value: object) -> str:
    """`value` for a message: at most 80 characters, none of them a control character.

    What lies deep in it is left out before it is spelled: a file of a few bytes can describe a value that has more
    characters than there is memory.
    """
    text = _SPELLING.repr(value)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


class _Spelling(reprlib.Repr):
    """Of a container's items the first few, of a text the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.fillvalue = "…"
        self.maxtuple = self.maxlist = self.maxdict = 8
        # `Repr` leaves out the middle, which must lie behind what is shown.
        self.maxstring = self.maxlong = 4 * _LENGTH

    def repr_bytes(self, value: bytes, _: int) -> str:
        """Like texts: `Repr` itself would spell all of them."""
        return repr(value[: self.maxstring])

    def repr_instance(self, value: object, _: int) -> str:
        """Whatever else there is has no bound of its own."""
        return repr(value) if value is None or isinstance(value, bool | float) else f"<{type(value).__name__}>"


_SPELLING = _Spelling()
