"""The functions that libivg calls, and the Python objects behind their `user_data`.

Each kind has one C function for the life of the process. An exception inside a callback must not pass through
C: it is stored, the call is failed, and it is raised again where the call was made.
"""

from __future__ import annotations

import array
import ctypes
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from . import _bindings as c
from ._calls import store_failure

LogitsProcessorFunction = Callable[[int, "memoryview[int]", "memoryview[float]"], object]
ScorerFunction = Callable[..., Iterable[float]]
HostedFunction = Callable[[list[list[int]]], Iterable[Any]]

_objects: dict[int, Any] = {}
_NO_TOKENS = memoryview(array.array("i"))
_numbers = itertools.count(1)


def keep(callback: Any) -> int:
    """Keeps an object for libivg, and returns the `user_data` that stands for it."""
    number = next(_numbers)
    _objects[number] = callback
    return number


def drop(number: int | None) -> None:
    """Lets go of what `keep` kept."""
    if number is not None:
        _objects.pop(number, None)


def kept_count() -> int:
    """How many objects are kept; for tests."""
    return len(_objects)


finalizer = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(drop)


def _view(pointer: Any, count: int, kind: Any, code: str) -> memoryview[Any]:
    """C memory as a flat view of native numbers, without a copy."""
    address = ctypes.addressof(pointer.contents)
    return memoryview((kind * count).from_address(address)).cast("B").cast(code)  # type: ignore[call-overload,no-any-return]


def _release(view: memoryview[Any]) -> None:
    try:
        view.release()
    except BufferError:
        pass  # an array over it is still around


def _logits_processor(
    user_data: int, row: int, tokens: Any, token_count: int, logits: Any, vocabulary_size: int
) -> int:
    try:
        seen = (_view(tokens, token_count, ctypes.c_int32, "i") if token_count else _NO_TOKENS).toreadonly()
        values = _view(logits, vocabulary_size, ctypes.c_float, "f")
        try:
            _objects[user_data](row, seen, values)
        finally:
            _release(seen)
            _release(values)
        return 0
    except BaseException as exception:
        store_failure(exception)
        return 1


def _scorer(
    user_data: int,
    prompt: Any,
    prompt_length: int,
    texts: Any,
    lengths: Any,
    finished: Any,
    count: int,
    scores: Any,
) -> int:
    try:
        function, with_finished = _objects[user_data]
        question = ctypes.string_at(prompt, prompt_length).decode("utf-8", "replace")
        answers = [ctypes.string_at(texts[i], lengths[i]).decode("utf-8", "replace") for i in range(count)]
        extra = ([bool(finished[i]) for i in range(count)],) if with_finished else ()
        values = [float(value) for value in function(question, answers, *extra)]
        if len(values) != count:
            raise ValueError(f"the scorer returned {len(values)} scores for {count} texts")
        for i, value in enumerate(values):
            scores[i] = value
        return 0
    except BaseException as exception:
        store_failure(exception)
        return 1


def _hosted_logits(user_data: int, rows: Any, count: int, vocabulary_size: int) -> int:
    try:
        asked = [rows[i].tokens[: rows[i].token_count] for i in range(count)]
        answers = list(_objects[user_data](asked))
        if len(answers) != count:
            raise ValueError(f"the hosted model returned {len(answers)} rows of logits for {count} rows of tokens")
        for i, answer in enumerate(answers):
            _write_floats(rows[i].logits, answer, vocabulary_size)
        return 0
    except BaseException as exception:
        store_failure(exception)
        return 1


logits_processor = c.ivg_logits_processor_fn(_logits_processor)
scorer = c.ivg_scorer_fn(_scorer)
hosted_logits = c.ivg_hosted_logits_fn(_hosted_logits)


def _write_floats(target: Any, values: Any, count: int) -> None:
    """Copies one row of logits: a buffer of C floats at memory speed, anything else number by number."""
    try:
        view = memoryview(values)
    except TypeError:
        view = memoryview(array.array("f", values))
    if view.format not in ("f", "<f") or not view.c_contiguous:
        view = memoryview(array.array("f", view.tolist()))
    if view.nbytes != 4 * count:
        raise ValueError(f"the hosted model returned {view.nbytes // 4} logits; the vocabulary has {count}")
    _view(target, count, ctypes.c_float, "f").cast("B")[:] = view.cast("B")
