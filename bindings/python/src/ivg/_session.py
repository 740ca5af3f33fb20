"""Sessions: generating, token by token or chunk by chunk."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import threading
import weakref
from collections.abc import Callable
from collections.abc import Sequence as TokenSequence
from typing import TYPE_CHECKING, Any

from . import _bindings as c
from ._calls import Gate
from ._errors import Error
from ._generates import Generates
from ._library import call, encode, lib
from ._managed import Managed
from ._results import Timings
from ._sampling import unsigned
from ._sequence import Sequence
from ._turns import LOOK_AGAIN_SECONDS, Turn

if TYPE_CHECKING:
    from ._guidance import Guidance
    from ._model import Adapter, Model


def native_session_options(
    threads: int | None, context_length: int | None, memory_budget: int | None, timings: bool = False
) -> c.ivg_session_options:
    """The C form of a session's options."""
    return c.ivg_session_options(
        struct_size=ctypes.sizeof(c.ivg_session_options),
        thread_count=unsigned(threads or 0, 32, "threads"),
        context_length=unsigned(context_length or 0, 32, "context_length"),
        timings=int(timings),
        memory_budget=unsigned(memory_budget or 0, 64, "memory_budget"),
    )


class Session(Managed, Generates):
    """The state of generating on one model: memory, worker threads, one request at a time.

        with model.session(threads=2) as session:
            print(session.generate("Once upon a time"))

    What a request computed for its prompt is reused by the next one that begins alike. Any thread may use a session;
    a request waits until another thread's has ended. On one thread, or in one task of asyncio, a new request drops a
    stream that was left half read: a stream belongs to the thread or task that read its last step. A half-read stream
    of threads or tasks that have ended keeps nobody waiting.
    """

    _instead = "pass the model's path, and make model and session there"

    def __init__(
        self,
        model: Model,
        *,
        threads: int | None = None,
        context_length: int | None = None,
        memory_budget: int | None = None,
        timings: bool = False,
    ) -> None:
        options = native_session_options(threads, context_length, memory_budget, timings)
        self._tokenizes = model._shared()  # for prompts of chats and so on, also when the model is closed
        self._model_reference: Callable[[], Model | None] = lambda: model
        raw = ctypes.POINTER(c.ivg_session)()
        self._gate = Gate(raw, lib.ivg_session_cancel, "session")
        room = self._expect(raw, _free_session, self._gate)
        call(lib.ivg_session_create, ctypes.byref(room), self._tokenizes._handle, ctypes.byref(options))
        self._own(raw, room)
        self._life = threading.RLock()  # held while cancelling and while being freed
        self._turns = threading.Condition()
        self._turn: Turn | None = None  # the request that has the session
        self._waiting: dict[Turn, Callable[[], object]] = {}  # told when the session may be free
        self._latest: Turn | None = None  # the request that libivg knows of
        self._sequences: weakref.WeakSet[Sequence] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<ivg.Session on {self.model!r}>"

    def _generating_session(self) -> Session:
        return self

    def _made_session(self) -> Session:
        return self

    @property
    def model(self) -> Model:
        """The base model."""
        model = self._model_reference()
        if model is None:
            raise ValueError("the model of this session is closed")
        return model

    def _model(self) -> Model:
        _ = self._handle
        return self._tokenizes

    def cancel(self) -> None:
        """Makes the running call raise CancelledError, also while it reads a long prompt. From any thread.

        Without a running call, the next one is cancelled. The session stays usable.
        """
        self._check_process()
        with self._life:
            if not self.closed:
                self._gate.cancel()

    def _cancel_request(self, turn: Turn) -> None:
        """Cancels the running call of one request; without one, nothing."""
        self._check_process()
        with self._life, self._turns:
            if not self.closed and self._turn is turn:
                self._gate.aimed_cancel()

    def close(self) -> None:
        """Stops the running call, if there is one, and gives everything back."""
        if self.closed or self._foreign:
            super().close()
            return
        self.cancel()
        with self._gate.turn:
            for sequence in list(self._sequences):
                sequence._raw = None
            self._gate.sweep()
            with self._life:
                super().close()
            self._tokenizes._raw = None

    def timings(self) -> Timings:
        """Where the time went, of a session that was created with `timings=True`."""
        found = c.ivg_timings(struct_size=ctypes.sizeof(c.ivg_timings))
        with self._gate.turn:
            self._gate.short(lib.ivg_session_timings, self._handle, ctypes.byref(found))
        names = [field.name for field in dataclasses.fields(Timings)]
        return Timings(
            **{name: getattr(found, name if name.endswith("_count") else f"{name}_seconds") for name in names}
        )

    def sequence(self, adapter: Adapter | None = None) -> Sequence:
        """An empty sequence of evaluated tokens, for a loop of your own; `adapter` is on in all of its rows."""
        used = adapter._handle if adapter is not None else None
        return Sequence(self, lambda room: self._gate.short(lib.ivg_sequence_create, room, self._handle, used))

    # Taking turns. A request is everything from begin to its last step.

    def _take(self, turn: Turn) -> None:
        _ = self._gate.turn  # a callback of this very session must not wait for itself
        with self._turns:
            if not turn.awaited:  # else the task has claimed it, for which this thread works
                turn.claim()
            while not self._is_free(turn):
                self._check_loop()
                self._turns.wait(LOOK_AGAIN_SECONDS)
            self._turn = turn

    def _is_free(self, turn: Turn) -> bool:
        current = self._turn
        # Once the interpreter ends, whoever had a turn will not come back.
        return current is None or current.gives_way_to(turn) or self._gate.is_shut

    def _check_loop(self) -> None:
        """A wait on an event loop's thread for a request of that loop would never end."""
        if self._turn is not None and self._turn.hangs_on_this_loop():
            raise Error(
                "this session is busy with a request of the event loop that is running on this thread: "
                "await agenerate(), achat() or astream(), or use another session"
            )

    def _take_now(self, turn: Turn, when_free: Callable[[], object]) -> bool:
        """Takes the turn if nobody else has it. If not, `when_free` is called once, on any thread, when it is left.

        It is not called when whoever has the turn ends without leaving it: ask again from time to time.
        """
        _ = self._gate.turn
        with self._turns:
            if not self._is_free(turn):
                self._waiting[turn] = when_free
                if not self._is_free(turn):  # left meanwhile, by a stream that was collected
                    return False
                self._waiting.pop(turn, None)
            self._turn = turn
            return True

    def _stop_waiting(self, turn: Turn) -> None:
        with self._turns:
            self._waiting.pop(turn, None)

    def _leave(self, turn: Turn) -> None:
        with self._turns:
            if self._turn is not turn:
                return
            self._turn = None
            self._turns.notify()
            # Whom it is given to is not known here: all ask again, in their order.
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for when_free in waiting:
            when_free()


def _free_session(gate: Gate, raw: Any) -> None:
    gate.sweep()
    lib.ivg_session_free(raw)


def score_texts(
    session: Session, guidance: Guidance, prompt: str | bytes, texts: TokenSequence[str | bytes], ended: bool
) -> list[float]:
    """`ivg_session_score`, as a request of its own."""
    data = [encode(text) for text in texts]
    question = encode(prompt)
    count = len(data)
    scores = (ctypes.c_double * count)(*([math.nan] * count))
    turn = Turn()
    session._take(turn)
    try:
        with session._gate.turn:
            session._latest = None
            session._gate.long(
                lib.ivg_session_score,
                session._handle,
                guidance._handle,
                question,
                len(question),
                (ctypes.c_char_p * count)(*data),
                (ctypes.c_size_t * count)(*map(len, data)),
                count,
                c.IVG_SCORE_ENDED if ended else 0,
                scores,
            )
    finally:
        session._leave(turn)
    return list(scores)
