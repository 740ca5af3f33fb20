"""Finds and loads libivg, and turns its statuses into exceptions."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import _bindings as c
from ._errors import Error, error_for

_VERSION = f"{c.IVG_VERSION_MAJOR}.{c.IVG_VERSION_MINOR}.{c.IVG_VERSION_PATCH}"


def _places() -> Iterator[str]:
    """Where the library may be: `IVG_LIBRARY` alone if it is set, else beside this file, else the system."""
    if named := os.environ.get("IVG_LIBRARY"):
        yield named
        return
    bundled = Path(__file__).with_name("libivg.so")
    if bundled.exists():
        yield str(bundled)
    yield "libivg.so.0"


def load() -> ctypes.CDLL:
    """Loads libivg and declares its functions."""
    failures = []
    for place in _places():
        try:
            library = ctypes.CDLL(place)
        except OSError as error:
            failures.append(f"  {place}: {error}")
            continue
        _check_version(library, place)
        _declare(library, place)
        return library
    raise ImportError(
        "libivg was not found. Set IVG_LIBRARY to the path of libivg.so, or install it. Tried:\n" + "\n".join(failures)
    )


def _check_version(library: ctypes.CDLL, place: str) -> None:
    """Refuses what is not libivg, is of another major version, or is older than this package."""
    try:
        function = library.ivg_version_number
    except AttributeError:
        raise ImportError(f"{place} is not libivg: it has no ivg_version_number()") from None
    function.restype, function.argtypes = c.FUNCTIONS["ivg_version_number"]
    number = int(function())
    if number // 10000 != c.IVG_VERSION_MAJOR or number < c.IVG_VERSION_NUMBER:
        found = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        raise ImportError(
            f"{place} is libivg {found}, but this package was made for {_VERSION}: "
            "it needs that or a later one with the same first number"
        )


def _declare(library: ctypes.CDLL, place: str) -> None:
    for name, (result, arguments) in c.FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{place} lacks {name}(): it does not fit this package") from None
        function.restype, function.argtypes = result, arguments


lib: ctypes.CDLL = load()


def library_version() -> str:
    """The version of the loaded libivg, as "major.minor.patch"."""
    return str(lib.ivg_version_string().decode())


def kernels_name() -> str:
    """The instruction set in use: "portable", "avx2", "avxvnni", "avx512vnni" or "neon-dotprod"."""
    return str(lib.ivg_kernels_name().decode())


def new_error() -> Any:
    """Room for an `ivg_error *`."""
    return ctypes.POINTER(c.ivg_error)()


def take_error(status: int, error: Any) -> Error:
    """The exception for a failed call; frees the error."""
    if error:
        message = lib.ivg_error_message(error).decode("utf-8", "replace")
        lib.ivg_error_free(error)
    else:
        message = lib.ivg_status_string(status).decode("utf-8", "replace")
    return error_for(status, message)


def call(function: Any, *arguments: Any) -> int:
    """Makes a short call whose last parameter is the error, and raises if it failed."""
    error = new_error()
    status = int(function(*arguments, ctypes.byref(error)))
    del arguments  # a handle that is closed later must not wait for an exception's traceback
    if status < 0:
        raise take_error(status, error)
    return status


def text(value: bytes | None) -> str | None:
    """A borrowed string as a `str`."""
    return None if value is None else value.decode("utf-8", "replace")


def encode(value: str | bytes) -> bytes:
    """A prompt or text as bytes. Bytes that `os.fsdecode` smuggled into a `str` come out as they were."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def encode_string(value: str | None, what: str) -> bytes | None:
    """A NUL-terminated argument: a template, a stop string, a path."""
    if value is None:
        return None
    if "\0" in value:
        raise error_for(c.IVG_ERROR_INVALID_ARGUMENT, f"{what} holds a NUL character")
    return encode(value)
