"""The base of everything that holds a handle of libivg."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

_Self = TypeVar("_Self", bound="Managed")


class Managed:
    """Owns a handle. Use it as a context manager, call `close()`, or let it be collected: all are fine.

    A handle stays alive inside libivg as long as something else needs it, so the order of closing is free.
    """

    __slots__ = ("__weakref__", "_finalizer", "_raw")

    def _own(self, raw: Any, free: Callable[..., Any], *arguments: Any) -> None:
        self._raw = raw
        self._finalizer = weakref.finalize(self, free, *arguments, raw)

    @property
    def _handle(self) -> Any:
        """The handle, for a call."""
        if not self._finalizer.alive:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._raw

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Gives the handle back. Any later use raises ValueError; closing again does nothing."""
        self._finalizer()

    def __enter__(self: _Self) -> _Self:
        _ = self._handle
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        name = type(self).__name__
        raise TypeError(
            f"ivg.{name} holds a handle of this process and can be neither pickled nor copied; "
            f"pass the file's path and open it there"
        )
