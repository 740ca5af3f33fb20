"""Ctrl-C and cancelling for tests, and how long it takes to work."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Moment(NamedTuple):
    """Seconds by the clock, and seconds that all threads of the process have worked.

    The second is what a bound for a single call is held to: a machine that is busy does not stretch it. The first
    also sees a call that sleeps; of several calls the median says something.
    """

    clock: float
    work: float


def moment_now() -> Moment:
    """Now."""
    return Moment(time.perf_counter(), time.process_time())


def since(begin: Moment) -> Moment:
    """What has passed."""
    now = moment_now()
    return Moment(now.clock - begin.clock, now.work - begin.work)


@contextlib.contextmanager
def cancelled_after(seconds: float, cancel: Callable[[], object]) -> Iterator[list[Moment]]:
    """Calls `cancel` on another thread; the list gets the moment."""
    moments: list[Moment] = []

    def body() -> None:
        moments.append(moment_now())
        cancel()

    timer = threading.Timer(seconds, body)
    timer.start()
    try:
        yield moments
    finally:
        timer.join()


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[list[Moment]]:
    """Raises KeyboardInterrupt in the main thread, as Ctrl-C does; the list gets the moment."""
    moments: list[Moment] = []

    def handler(number: int, frame: object) -> None:
        moments.append(moment_now())
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield moments
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
