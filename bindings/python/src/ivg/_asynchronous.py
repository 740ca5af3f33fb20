# SPDX-License-Identifier: Apache-2.0
"""Requests for asyncio. Each has a thread of its own while it has the session; waiting for the session takes none."""

from __future__ import annotations

import asyncio
import queue
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from . import _errors as ivg_errors
from ._managed import unpicklable
from ._stream import Stream
from ._turns import LOOK_AGAIN_SECONDS, Turn

if TYPE_CHECKING:
    from ._generates import Generates
    from ._results import Completion, Step
    from ._session import Session

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

# How often a call that is to end is told so: a cancel that comes between two calls hits neither.
_GLANCE_SECONDS = 0.02


class Runner:
    """A daemon thread that makes one request's calls for an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._jobs = jobs
        threading.Thread(target=_serve, args=(jobs,), name="ivg-request", daemon=True).start()
        # Also if it is dropped, because its loop has ended before its request.
        self._finalizer = weakref.finalize(self, jobs.put, None)
        self._finalizer.atexit = False

    def start(
        self, function: Callable[_Parameters, _Result], *arguments: _Parameters.args, **named: _Parameters.kwargs
    ) -> asyncio.Future[_Result]:
        """Has a function called; its result comes in the future."""
        loop = self._loop
        future: asyncio.Future[_Result] = loop.create_future()

        def job() -> None:
            result, exception = None, None
            try:
                result = function(*arguments, **named)
            except BaseException as raised:
                exception = raised
            try:
                loop.call_soon_threadsafe(_settle, future, result, exception)
            except RuntimeError:  # the loop has ended; nobody waits
                pass

        self._jobs.put(job)
        return future

    def close(self) -> None:
        """Ends the thread when it has done what it was given."""
        self._finalizer()


def _serve(jobs: queue.SimpleQueue[Callable[[], object] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job


def _settle(future: asyncio.Future[Any], result: Any, exception: BaseException | None) -> None:
    if future.cancelled():
        return
    if exception is not None:
        future.set_exception(exception)
    else:
        future.set_result(result)


class AsyncStream:
    """The steps of a request, for asyncio: `async for step in model.astream("Once"): ...`

        async with model.astream("Once upon a time") as steps:
            async for step in steps:
                print(step.text, end="", flush=True)
        print(steps.completion.finish_reason)

    The request begins, and waits for its session, with the first step. Cancelling the task stops the running step
    within milliseconds and ends the request; so do leaving the block, `aclose()`, and dropping it. One task at a time
    may use it.
    """

    def __init__(self, generates: Generates, begin: Callable[[Session, Turn], Stream]) -> None:
        self._generates = generates
        self._begin = begin
        self._turn = Turn(awaited=True)
        self._runner: Runner | None = None
        self._stream: Stream | None = None
        self._ended = False

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Step:
        """The next step. Raises what `Stream` and the making of one raise."""
        if self._ended:
            raise StopAsyncIteration
        try:
            if self._runner is None or self._stream is None:
                self._stream = await self._start()
            elif (
                not self._stream._done
            ):  # another request may have it since an error; a runner must not wait, which nobody could cancel
                await _take(self._stream._session, self._turn)
            assert self._runner is not None
            step = await _finished(self._runner.start(next, self._stream, None), self._stream.cancel)
        except ivg_errors.CancelledError:  # by cancel(): it may go on
            raise
        except BaseException:
            await self.aclose()
            raise
        if step is None:
            await self.aclose()
            raise StopAsyncIteration
        return step

    async def _start(self) -> Stream:
        session = self._generates._made_session() or await self._make_session()
        turn = self._turn
        await _take(session, turn)
        try:
            self._runner = runner = Runner()  # not before: waiting takes no thread
            beginning = runner.start(self._begin, session, turn)
            return await _finished(beginning, lambda: session._cancel_request(turn))
        except BaseException:
            session._leave(turn)
            raise

    async def _make_session(self) -> Session:
        runner = Runner()
        try:
            return await _finished(runner.start(self._generates._generating_session), lambda: None)
        finally:
            runner.close()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the request. The session is free for the next one."""
        self._ended = True
        if self._stream is not None:
            self._stream.close()
            self._stream._session._leave(self._turn)
        if self._runner is not None:
            self._runner.close()

    def cancel(self) -> None:
        """Makes the running step raise ivg.CancelledError; from any thread. Without one, does nothing."""
        if self._stream is not None and not self._ended:
            self._stream.cancel()

    @property
    def completion(self) -> Completion:
        """The request as a whole, when it has ended. Raises ivg.InvalidArgumentError before its first step."""
        if self._stream is None:
            raise ivg_errors.InvalidArgumentError("the request has not begun")
        return self._stream.completion

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise unpicklable(self, "pass its `completion`, or the prompt and the seed")


async def _take(session: Session, turn: Turn) -> None:
    """Gives a request the right to the session, when whoever has it leaves. Tasks wait for each other as threads do."""
    loop = asyncio.get_running_loop()
    turn.claim()
    try:
        while True:
            free = loop.create_future()
            if session._take_now(turn, lambda free=free: _wake(loop, free)):  # type: ignore[misc]
                return
            await asyncio.wait([free], timeout=LOOK_AGAIN_SECONDS)
    finally:
        session._stop_waiting(turn)


def _wake(loop: asyncio.AbstractEventLoop, free: asyncio.Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(_settle_once, free)
    except RuntimeError:  # the loop has ended; nobody waits
        pass


def _settle_once(free: asyncio.Future[None]) -> None:
    if not free.done():
        free.set_result(None)


async def _finished(working: asyncio.Future[_Result], stop: Callable[[], object]) -> _Result:
    """A call's result. If the task is cancelled, the call is stopped, and has ended when this raises."""
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            stop()
            try:
                await asyncio.wait([working], timeout=_GLANCE_SECONDS)
            except asyncio.CancelledError:  # an impatient second one: the call must still end first
                continue
        if not working.cancelled():
            working.exception()  # seen
        raise
