"""How calls into a session or trainer are made: one at a time, and so that Ctrl-C stops them.

A C call that runs on the main thread keeps Python from seeing a signal until it returns. So the main thread
hands long calls to a helper thread and waits on a lock, which a signal interrupts. Other threads never see
signals and call directly.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import queue
import threading
import time
import weakref
from collections import deque
from contextlib import AbstractContextManager
from typing import Any

from . import _bindings as c
from . import _process
from ._errors import Error
from ._library import call, lib, new_error, take_error

# A signal that another thread of the process received does not end a wait on a lock; this bounds the delay.
_GLANCE_SECONDS = 0.05
# How long the end of the interpreter waits for calls that daemon threads are making. A call that is cancelled ends
# within milliseconds, unless a callback of the host's does not return.
_LEAVE_SECONDS = 5.0


class _Failure(threading.local):
    """What a callback on this thread raised during the running call."""

    exception: BaseException | None = None


_failure = _Failure()


def store_failure(exception: BaseException) -> None:
    """Called by a callback that cannot let its exception pass through C. It is raised when the call returns."""
    if _failure.exception is None:
        _failure.exception = exception


def _perform(function: Any, arguments: tuple[Any, ...]) -> tuple[int, BaseException | None]:
    outer, _failure.exception = _failure.exception, None  # a callback may make calls on other sessions
    try:
        status = int(function(*arguments))
        return status, _failure.exception
    finally:
        _failure.exception = outer


class _Job:
    """A call that the helper makes."""

    __slots__ = ("arguments", "claim", "done", "exception", "finished", "function", "gate", "status")

    def __init__(self, function: Any, arguments: tuple[Any, ...], gate: Gate) -> None:
        self.function = function
        self.arguments = arguments
        self.gate = gate
        self.claim = threading.Lock()  # whoever takes it decides whether the call is made
        self.done = threading.Lock()
        self.done.acquire()
        self.finished = False
        self.status = 0
        self.exception: BaseException | None = None

    def run(self) -> None:
        if not self.claim.acquire(blocking=False):
            return
        self.gate.runner = threading.get_ident()
        try:
            self.status, self.exception = _perform(self.function, self.arguments)
        except BaseException as exception:  # a ctypes conversion error, for one
            self.status, self.exception = c.IVG_ERROR_INTERNAL, exception
        finally:
            self.arguments = ()  # nobody who still holds the job keeps the handles
            self.gate.runner = 0
            self.finished = True
            self.done.release()


class _Helper:
    """The thread that makes calls for the main thread.

    It is a daemon: between calls it waits on a queue for ever, and the main thread never leaves the
    interpreter during a call, because it waits for each one's end.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._started = False
        self._busy = False

    def available(self) -> bool:
        """Whether the caller is the main thread, and the helper can take a call for it."""
        if threading.current_thread() is not threading.main_thread() or self._busy:
            return False
        if not self._started:
            try:
                threading.Thread(target=self._serve, name="ivg-calls", daemon=True).start()
            except RuntimeError:  # the interpreter is shutting down
                return False
            self._started = True
        return True

    def _serve(self) -> None:
        while True:
            self._jobs.get().run()

    def make(self, job: _Job) -> None:
        """Has the job done and waits for it. Interrupted, it cancels the call, waits for its end and raises."""
        self._busy = True
        try:
            self._jobs.put(job)
            while not job.done.acquire(timeout=_GLANCE_SECONDS):
                pass
        except BaseException:
            while True:
                try:
                    self._stop(job)
                    break
                except BaseException:  # an impatient second Ctrl-C: the call must still end first
                    continue
            raise
        finally:
            self._busy = False

    @staticmethod
    def _stop(job: _Job) -> None:
        if not job.finished and job.claim.acquire(blocking=False):
            job.finished = True  # it had not begun, and will not
        while not job.finished:
            job.gate.aimed_cancel()
            job.done.acquire(timeout=_GLANCE_SECONDS)


_helper = _Helper()


def _after_fork() -> None:
    global _helper
    _helper = _Helper()


os.register_at_fork(after_in_child=_after_fork)


class _Leaving:
    """Whether the interpreter is coming to its end."""

    begun = False


class Gate:
    """Lets one call at a time into a session and its sequences, or into a trainer.

    `with gate.turn:` around a call and the reading of what it lent. `cancel` is libivg's function for `handle`.
    """

    def __init__(self, handle: Any, cancel: Any, noun: str) -> None:
        self._handle = weakref.ref(handle)
        self._cancel = cancel
        self._noun = noun
        self.runner = 0  # the thread inside libivg
        self.number = 0  # of the running or last call
        self.aimed: int | None = None  # the call that a cancel of ours was meant for; it may hit the next one
        self._caller = 0  # the thread that waits for it
        self._lock = threading.Lock()
        self._garbage: deque[tuple[Any, Any]] = deque()
        self._generation = _process.generation()
        self.is_shut = False  # for the end of the interpreter
        _gates.add(self)

    @property
    def turn(self) -> AbstractContextManager[object]:
        """The lock, unless this thread would wait for itself."""
        if self._generation != _process.generation():
            raise _process.forked_error(self._noun)
        if threading.get_ident() in (self._caller, self.runner):
            raise Error(
                f"this {self._noun} is busy with a call; a callback must not use the {self._noun} that called it"
            )
        if _Leaving.begun and threading.current_thread() is threading.main_thread():
            return self._last_turn()
        return self._lock  # not an object of ours: Ctrl-C between its taking and its return would leave it taken

    def _end_if_shut(self) -> None:
        if self.is_shut and threading.current_thread() is not threading.main_thread():
            raise SystemExit  # as in `long`

    def _last_turn(self) -> AbstractContextManager[object]:
        """For functions of atexit: what is shut is the main thread's alone; what is still busy has no more turns."""
        if self.is_shut:
            return contextlib.nullcontext()
        if self._lock.locked():
            raise Error(f"this {self._noun} is busy, and the interpreter is ending")
        return self._lock

    def short(self, function: Any, *arguments: Any) -> int:
        """Makes a call that takes no time. Its last parameter is the error."""
        self._end_if_shut()
        self.sweep()
        try:
            return call(function, *arguments)
        finally:
            del arguments  # a handle that is closed later must not wait for an exception's traceback

    def long(self, function: Any, *arguments: Any) -> int:
        """Makes a call that may take long and can be cancelled. Its last parameter is the error."""
        self._end_if_shut()
        self.sweep()
        while True:
            self.number += 1
            error = new_error()
            try:
                status, exception = self._make(function, *arguments, ctypes.byref(error))
            except BaseException:
                del arguments  # as in `short`
                lib.ivg_error_free(error)
                raise
            if _Leaving.begun and threading.current_thread() is not threading.main_thread():
                # A daemon thread ends here, without a word, and whoever joins it goes on; what it would raise or
                # print is for nobody.
                lib.ivg_error_free(error)
                raise SystemExit
            cancelled = status == c.IVG_ERROR_CANCELLED
            stray = self.aimed is not None and self.aimed != self.number
            if stray or cancelled:
                self.aimed = None
            if not (stray and cancelled):
                break
            lib.ivg_error_free(error)  # the cancel was meant for an earlier call
        del arguments
        if exception is not None:
            lib.ivg_error_free(error)
            if isinstance(exception, StopIteration):  # would look like the end of a stream
                raise RuntimeError("a callback raised StopIteration") from exception
            raise exception
        if status < 0:
            raise take_error(status, error)
        return status

    def aimed_cancel(self) -> None:
        """Cancels the running call; if it comes too late, no other call suffers."""
        self.aimed = self.number
        self._cancel_handle()

    def cancel(self) -> None:
        """Cancels the running call, or else the next one."""
        self.aimed = None
        self._cancel_handle()

    def _cancel_handle(self) -> None:
        handle = self._handle()
        if handle is not None:
            self._cancel(handle)

    def _make(self, function: Any, *arguments: Any) -> tuple[int, BaseException | None]:
        self._caller = threading.get_ident()
        try:
            if _helper.available():
                job = _Job(function, arguments, self)
                _helper.make(job)
                return job.status, job.exception
            self.runner = self._caller
            return _perform(function, arguments)
        finally:
            del arguments
            self._caller = self.runner = 0

    def discard(self, free: Any, handle: Any) -> None:
        """Frees a sequence now, or before the next call. May be called by the garbage collector."""
        self._garbage.append((free, handle))
        if self._lock.acquire(blocking=False):
            try:
                self.sweep()
            finally:
                self._lock.release()

    def sweep(self) -> None:
        """Frees what was discarded during a call."""
        while self._garbage:
            free, handle = self._garbage.popleft()
            free(handle)

    def shut(self, until: float) -> None:
        """Ends the running call of another thread, and lets no other begin. For the end of the interpreter."""
        if self._generation != _process.generation():
            return
        while not self._lock.acquire(timeout=_GLANCE_SECONDS):
            if time.monotonic() > until:
                return
            if self.runner:
                self._cancel_handle()
        self.is_shut = True
        self._lock.release()  # threads that wait for it end as they get it

    @property
    def may_free(self) -> bool:
        """Whether no call is running, so that the handle may be freed."""
        return self.is_shut or not _Leaving.begun


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


def _leave() -> None:
    """Stops what daemon threads still compute, before anything is freed under their feet."""
    _Leaving.begun = True
    until = time.monotonic() + _LEAVE_SECONDS
    for gate in list(_gates):
        gate.shut(until)


# Functions of atexit run in reverse: behind this line, and so before the one that weakref.finalize registers at its
# first use.
weakref.finalize(_helper, int).atexit = False
atexit.register(_leave)
