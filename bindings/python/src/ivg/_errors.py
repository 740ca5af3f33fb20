"""One exception class per status of libivg."""

from __future__ import annotations

from . import _bindings as c


class Error(Exception):
    """The base of everything that libivg reports. The message is a sentence for a person."""

    #: The `ivg_status` behind the exception.
    status: int = c.IVG_ERROR_INTERNAL


class InvalidArgumentError(Error, ValueError):
    """An option or argument is out of its range."""

    status = c.IVG_ERROR_INVALID_ARGUMENT


class OutOfMemoryError(Error, MemoryError):
    """The memory budget, or the machine's memory, does not suffice; nothing was allocated."""

    status = c.IVG_ERROR_OUT_OF_MEMORY


class IOFailure(Error, OSError):
    """The system refused to read, map or write a file."""

    status = c.IVG_ERROR_IO


class CorruptFileError(Error):
    """A file contradicts its own format."""

    status = c.IVG_ERROR_CORRUPT_FILE


class UnsupportedError(Error):
    """A valid file or request of a kind that this version does not know."""

    status = c.IVG_ERROR_UNSUPPORTED


class CancelledError(Error):
    """`Session.cancel()` was called. The session stays usable, and the stream may go on."""

    status = c.IVG_ERROR_CANCELLED


class ContextFullError(Error):
    """Prompt or sequence are longer than the context."""

    status = c.IVG_ERROR_CONTEXT_FULL


class MismatchError(Error):
    """Two models, or an adapter or value head and a model, do not fit together."""

    status = c.IVG_ERROR_MISMATCH


class NotFoundError(Error, FileNotFoundError):
    """No such file."""

    status = c.IVG_ERROR_NOT_FOUND


class CallbackError(Error):
    """A callback gave values that cannot be used. (An exception inside a callback is raised as it is.)"""

    status = c.IVG_ERROR_CALLBACK


class InternalError(Error):
    """A defect of libivg; please report the message."""

    status = c.IVG_ERROR_INTERNAL


_CLASSES: dict[int, type[Error]] = {
    kind.status: kind
    for kind in (
        InvalidArgumentError,
        OutOfMemoryError,
        IOFailure,
        CorruptFileError,
        UnsupportedError,
        CancelledError,
        ContextFullError,
        MismatchError,
        NotFoundError,
        CallbackError,
        InternalError,
    )
}


def error_for(status: int, message: str) -> Error:
    """The exception for a negative status."""
    error = _CLASSES.get(status, Error)(message)
    error.status = status
    return error
