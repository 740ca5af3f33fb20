"""libivg's messages, in Python's logging."""

from __future__ import annotations

import atexit
import ctypes
import logging
from typing import Literal

from . import _bindings as c
from . import _process
from ._library import lib, text

logger = logging.getLogger("ivg")
logger.addHandler(logging.NullHandler())  # a program that has set up no logging sees nothing
_LEVELS = {None: c.IVG_LOG_NONE, "warning": c.IVG_LOG_WARNING, "info": c.IVG_LOG_INFO}
_NO_SINK = c.ivg_log_fn()
_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()


def _log(user_data: int | None, level: int, message: bytes) -> None:
    try:
        logger.log(logging.WARNING if level == c.IVG_LOG_WARNING else logging.INFO, "%s", text(message))
    except Exception:  # a broken handler must not reach C
        pass


_sink = c.ivg_log_fn(_log)


def log_to_logging(level: Literal["warning", "info"] | None = "info") -> None:
    """Sends libivg's messages up to `level` to `logging.getLogger("ivg")`; None makes it silent again.

    Until this is called libivg prints and logs nothing. The messages come on any thread.
    """
    if level not in _LEVELS:
        raise ValueError(f'level is "warning", "info" or None, not {level!r}')
    lib.ivg_log_set(_LEVELS[level], _sink if level else _NO_SINK, None, _NO_FINALIZER)


_imported = _process.generation()


@atexit.register
def _silence() -> None:
    if _process.generation() == _imported:  # in a child a thread of the parent's may seem to be logging for ever
        log_to_logging(None)
