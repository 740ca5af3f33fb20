"""The base of everything that holds a handle of libivg."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, TypeVar

from . import _process
from ._library import call

_Self = TypeVar("_Self", bound="Managed")


class Managed:
    """Owns a handle. Use it as a context manager, call `close()`, or let it be collected: all are fine.

    Only what libivg keeps a function of yours for, a `Guidance` with a scorer or a `HostedModel`, is never collected
    while that function holds it, directly or through an object that it is a method of: close it.

    A handle stays alive inside libivg as long as something else needs it, so the order of closing is free. It belongs
    to its process: it is neither pickled nor copied, and after fork() the child must open the file anew.
    """

    __slots__ = ("__weakref__", "_finalizer", "_generation", "_raw")

    #: What to pass to another process, or to do in place of a copy.
    _instead: ClassVar[str] = "pass the file's path and open it there"

    def _expect(self, raw: Any, free: Callable[..., Any], *arguments: Any, at_exit: bool = False) -> Any:
        """Room for a handle, to whose address a call writes it; `_own(raw, room)` follows.

        `free(*arguments, handle)` gives it back; when the process ends only if `at_exit`. It is given back when the
        pointer `raw`, which is empty until then, is collected, not this object: a call that another thread makes with
        it holds the pointer until it returns, whoever closes this object meanwhile. That also holds if Ctrl-C comes
        between the call that makes the handle and `_own`.
        """
        room = type(raw)()
        self._generation = _process.generation()
        self._finalizer = weakref.finalize(raw, _give_back, self._generation, room, free, *arguments)
        self._finalizer.atexit = at_exit
        return room

    def _own(self, raw: Any, room: Any) -> None:
        """Takes the handle that a call has written to `room`, which `_expect` gave."""
        ctypes.memmove(ctypes.byref(raw), ctypes.byref(room), ctypes.sizeof(raw))
        self._raw = raw

    def _create(self, kind: Any, free: Callable[..., Any], function: Callable[..., Any], *arguments: Any) -> None:
        """Owns what `function` makes: it writes the handle to its first parameter, and an error to its last."""
        raw = ctypes.POINTER(kind)()
        room = self._expect(raw, free)
        try:
            call(function, ctypes.byref(room), *arguments)
        finally:
            del arguments  # as in `call`
        self._own(raw, room)

    @property
    def _handle(self) -> Any:
        """The handle, for a call. Whoever copies it into a structure keeps this pointer until the call has returned."""
        raw = self._raw
        if raw is None or not self._finalizer.alive:
            raise ValueError(f"this {type(self).__name__} is closed")
        self._check_process()
        return raw

    @property
    def _foreign(self) -> bool:
        """Whether it belongs to the process that this one was forked from."""
        return self._generation != _process.generation()

    def _check_process(self) -> None:
        if self._foreign:
            raise _process.forked_error(type(self).__name__)

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._raw is None or not self._finalizer.alive

    def close(self) -> None:
        """Gives the handle back, as soon as no other thread's call uses it. Any later use raises ValueError.

        Closing again does nothing.
        """
        self._raw = None

    def __enter__(self: _Self) -> _Self:
        _ = self._handle
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise unpicklable(self, self._instead)


def _give_back(generation: int, room: Any, free: Callable[..., Any], *arguments: Any) -> None:
    if room and generation == _process.generation():  # what a parent owns is not a child's to free
        free(*arguments, room)


def unpicklable(value: object, instead: str) -> TypeError:
    """What pickling or copying raises."""
    return TypeError(
        f"ivg.{type(value).__name__} holds a handle of this process and can be neither pickled nor copied; {instead}"
    )
