# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is on a session: requests of threads, and of tasks of asyncio."""

from __future__ import annotations

import contextvars
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

#: How often whoever waits looks again: nobody says that a task or thread has ended, or that a loop was closed.
LOOK_AGAIN_SECONDS = 1.0


class _Thread:
    """Stands for a thread and ends with it; identifiers of threads are used again."""

    __slots__ = ("__weakref__",)


class _ThisThread(threading.local):
    def __init__(self) -> None:
        self.token = _Thread()


_this_thread = _ThisThread()
# The tasks that have made requests for asyncio and whose context this is, or a copy of theirs.
_makers: contextvars.ContextVar[tuple[weakref.ref[Any], ...]] = contextvars.ContextVar("ivg_makers", default=())


class Turn:
    """A request's right to a session.

    It belongs to whoever asked for its last step, and until then to whoever made it: to the thread, or if its steps are
    awaited, to the task. A further request of the owner does not wait for this one. One that is left behind by a task
    or thread that has ended belongs to its maker, and to nobody when that has ended too: a task for each step of a
    stream, as `asyncio.wait_for` may make them, is not the stream's end.
    """

    __slots__ = ("__weakref__", "_loop", "_maker", "_owner", "_thread", "awaited")

    def __init__(self, awaited: bool = False) -> None:
        #: Whether its steps are awaited, and made by a thread that stands for the task.
        self.awaited = awaited
        self.claim()
        self._maker = self._owner
        task = self._owner()
        if awaited and not isinstance(task, _Thread):
            earlier = _makers.get()
            if not any(maker() is task for maker in earlier):
                _makers.set((*(maker for maker in earlier if not _has_ended(maker)), self._maker))

    def claim(self) -> None:
        """Makes it this thread's, or if it is awaited, this task's."""
        token = _this_thread.token
        self._thread: weakref.ref[_Thread] = weakref.ref(token)
        self._loop = _running_loop() if self.awaited else None
        self._owner: weakref.ref[Any] = weakref.ref((self._loop and _current_task()) or token)

    def gives_way_to(self, other: Turn) -> bool:
        """Whether `other`, which was claimed here and now, need not wait for this one."""
        if self is other or _is_one_of(self._owner, other._owner, other._thread):
            return True
        if not _has_ended(self._owner):
            return False
        if _has_ended(self._maker) or (self._loop is not None and self._loop.is_closed()):
            return True
        return _is_one_of(self._maker, other._owner, other._thread, *(_makers.get() if other.awaited else ()))

    def hangs_on_this_loop(self) -> bool:
        """Whether it goes on only when the event loop does that is running on this thread."""
        loop = _running_loop()
        return loop is not None and loop is self._loop


def _is_one_of(owner: weakref.ref[Any], *others: weakref.ref[Any]) -> bool:
    found = owner()
    return found is not None and any(found is other() for other in others)


def _has_ended(owner: weakref.ref[Any]) -> bool:
    found = owner()
    return found is None or (not isinstance(found, _Thread) and (found.done() or found.get_loop().is_closed()))


def _running_loop() -> asyncio.AbstractEventLoop | None:
    if "asyncio" not in sys.modules:  # nobody runs a loop
        return None
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _current_task() -> asyncio.Task[Any] | None:
    import asyncio

    return asyncio.current_task()
