"""Ctrl-C for tests."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interrupted_after(seconds: float, clock: Callable[[], float] = time.perf_counter) -> Iterator[list[float]]:
    """Raises KeyboardInterrupt in the main thread, as Ctrl-C does; the list gets the time at which, by `clock`."""
    times: list[float] = []

    def handler(number: int, frame: object) -> None:
        times.append(clock())
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield times
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
