"""The steps of a request."""

from __future__ import annotations

import ctypes
import secrets
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from . import _bindings as c
from . import _callbacks
from ._errors import InvalidArgumentError
from ._library import encode, lib
from ._managed import unpicklable
from ._results import FINISH_REASONS, Candidate, Completion, Step
from ._sampling import SamplingOptions, native_options
from ._turns import Turn

if TYPE_CHECKING:
    from ._guidance import Guidance
    from ._session import Session


def _end_stream(session: Session, turn: Turn, callback: int | None) -> None:
    if session._foreign:
        return
    session._leave(turn)
    _callbacks.drop(callback)


class Stream(Iterator[Step]):
    """The steps of a request, as they come.

        with model.stream("Once upon a time") as stream:
            for step in stream:
                print(step.text, end="", flush=True)
        print(stream.completion.finish_reason)

    It may be dropped or closed half read. After a CancelledError or a Ctrl-C it may go on, unless another
    request has begun on its session.
    """

    def __init__(
        self,
        session: Session,
        prompt: str | bytes,
        template: str | None,
        guidance: Guidance | None,
        sampling: SamplingOptions,
        turn: Turn,
    ) -> None:
        self._session = session
        self.seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        processor = sampling.logits_processor
        callback = _callbacks.keep(processor) if processor is not None else None
        self._turn = turn
        self._step = c.ivg_step(struct_size=ctypes.sizeof(c.ivg_step))
        self._step_reference = ctypes.byref(self._step)
        self._completion: Completion | None = None
        self._done = False
        nudging = guidance._nudging if guidance is not None else None
        self._nudges = nudging is not None
        if nudging is not None and template is None:
            template = nudging._base_template()
        self._finalizer = weakref.finalize(self, _end_stream, session, turn, callback)
        self._finalizer.atexit = False
        try:
            options = native_options(sampling, template, self.seed, callback, self._nudges)
            text = encode(prompt)
            session._take(turn)
            with session._gate.turn:
                session._latest = None
                session._gate.short(
                    lib.ivg_session_begin,
                    session._handle,
                    text,
                    len(text),
                    ctypes.byref(options),
                    guidance._handle if guidance is not None else None,
                )
                session._latest = turn
        except BaseException:
            self._finalizer()
            raise

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Step:
        if self._done:
            raise StopIteration
        session = self._session
        gate = session._gate
        session._take(self._turn)
        try:
            with gate.turn:
                self._check_current()
                if gate.long(lib.ivg_session_next, session._handle, self._step_reference) == c.IVG_DONE:
                    self._finish()
                    raise StopIteration
                step = _read_step(self._step)
                if step.finish_reason is not None:
                    self._finish()
                return step
        except BaseException:
            session._leave(self._turn)
            raise

    def _check_current(self) -> None:
        if self._session._latest is not self._turn:
            raise InvalidArgumentError(
                "this stream was dropped: another request began on its session "
                "(model.session() makes one for each of several streams)"
            )

    def _finish(self) -> None:
        self._completion = self._read_completion()
        self.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise unpicklable(self, "pass its `completion`, or the prompt and the seed")

    def cancel(self) -> None:
        """Makes the running step raise CancelledError; from any thread. Without one, does nothing."""
        if not self._done:
            self._session._cancel_request(self._turn)

    def close(self) -> None:
        """Ends the stream. The session is free for the next request."""
        self._done = True
        self._finalizer()

    @property
    def completion(self) -> Completion:
        """The request as a whole: complete at the end of the stream, before it what there is so far."""
        if self._completion is not None:
            return self._completion
        with self._session._gate.turn:
            self._check_current()
            return self._read_completion()

    def _read_completion(self) -> Completion:
        session, gate = self._session, self._session._gate
        result = c.ivg_result(struct_size=ctypes.sizeof(c.ivg_result))
        gate.short(lib.ivg_session_result, session._handle, ctypes.byref(result))
        candidates = []
        for index in range(result.candidate_count):
            row = c.ivg_candidate(struct_size=ctypes.sizeof(c.ivg_candidate))
            gate.short(lib.ivg_session_candidate, session._handle, index, ctypes.byref(row))
            candidates.append(_read_candidate(row, result.guide_count))
        nudges, share = self._read_nudges(candidates[0].text) if self._nudges else (None, None)
        best = candidates[0] if candidates else Candidate("", [], None, 0.0, 0.0, [])
        return Completion(
            text=best.text,
            token_ids=best.token_ids,
            finish_reason=best.finish_reason,
            score=best.score,
            log_probability=best.log_probability,
            candidates=candidates,
            seed=self.seed,
            prompt_token_count=result.prompt_token_count,
            reused_token_count=result.reused_token_count,
            token_count=result.token_count,
            prompt_seconds=result.prompt_seconds,
            generate_seconds=result.generate_seconds,
            memory_used=result.memory_used,
            nudges=nudges,
            nudged_share=share,
        )

    def _read_nudges(self, text: str) -> tuple[list[tuple[int, int]], float]:
        """The spans of characters that the nudger wrote, and its share of the tokens."""
        spans = ctypes.POINTER(c.ivg_span)()
        count, share = ctypes.c_size_t(), ctypes.c_double()
        self._session._gate.short(
            lib.ivg_session_nudges,
            self._session._handle,
            ctypes.byref(spans),
            ctypes.byref(count),
            ctypes.byref(share),
        )
        data = text.encode()
        found: list[tuple[int, int]] = []
        position = characters = 0
        for span in spans[: count.value] if count.value else []:
            start = characters + len(data[position : span.start].decode())
            position = span.start + span.length
            characters = start + len(data[span.start : position].decode())
            found.append((start, characters))
        return found, share.value


def _string(pointer: Any, length: int) -> str:
    return ctypes.string_at(pointer, length).decode("utf-8", "replace") if length else ""


def _read_step(step: c.ivg_step) -> Step:
    count = step.top_count
    top = tuple(zip(step.top_tokens[:count], step.top_log_probabilities[:count], strict=True)) if count else ()
    return Step(
        text=_string(step.text, step.text_length),
        token=None if step.token < 0 else step.token,
        log_probability=step.log_probability,
        value=step.value,
        finish_reason=FINISH_REASONS[step.finish_reason],
        top=top,
        nudged=step.kind == c.IVG_STEP_NUDGE,
    )


def _read_candidate(row: c.ivg_candidate, guides: int) -> Candidate:
    count = row.token_count
    values = row.guide_values[: count * guides] if row.guide_values and guides else None
    return Candidate(
        text=_string(row.text, row.text_length),
        token_ids=row.tokens[:count] if count else [],
        finish_reason=FINISH_REASONS[row.finish_reason],
        score=row.score,
        log_probability=row.log_probability,
        log_probabilities=row.log_probabilities[:count] if row.log_probabilities else [],
        base_log_probabilities=row.base_log_probabilities[:count] if row.base_log_probabilities else None,
        guide_values=None if values is None else [values[i * guides : (i + 1) * guides] for i in range(count)],
    )
