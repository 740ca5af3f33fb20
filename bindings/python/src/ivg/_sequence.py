"""Evaluated tokens of a session."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from collections.abc import Sequence as TokenSequence
from typing import TYPE_CHECKING, Any

from . import _bindings as c
from ._errors import InvalidArgumentError
from ._library import lib
from ._managed import Managed
from ._sampling import token_array, unsigned

if TYPE_CHECKING:
    from ._session import Session


class Sequence(Managed):
    """Evaluated tokens of a session, for hosts that bring their own loop.

    sequence = session.sequence()
    sequence.evaluate(model.tokenize("Once upon a"))
    best = max(enumerate(sequence.logits()), key=lambda item: item[1])
    other = sequence.fork()          # costs nothing until it differs
    """

    _instead = "pass its tokens, and evaluate them there; `fork` makes a copy"

    def __init__(self, session: Session, create: Callable[[Any], object]) -> None:
        #: The session that it belongs to.
        self.session = session
        raw = ctypes.POINTER(c.ivg_sequence)()
        room = self._expect(raw, session._gate.discard, lib.ivg_sequence_free)
        with session._gate.turn:
            create(ctypes.byref(room))
        self._own(raw, room)
        session._sequences.add(self)

    def __len__(self) -> int:
        """How many tokens it holds."""
        with self.session._gate.turn:
            return int(lib.ivg_sequence_length(self._handle))

    def evaluate(self, tokens: TokenSequence[int]) -> None:
        """Appends tokens and computes their states. On an error the sequence stays as it was."""
        ids = token_array(tokens)
        with self.session._gate.turn:
            self.session._gate.long(lib.ivg_sequence_evaluate, self._handle, ids, len(ids))

    @staticmethod
    def evaluate_batch(batch: Iterable[tuple[Sequence, TokenSequence[int]]]) -> None:
        """Appends tokens to several sequences of one session, in one pass over the weights for all of them.

        `batch` has pairs of a sequence, which may occur once, and its tokens, which may be none.
        Users with an adapter each cost little more together than one alone. The logits are those of each alone, to the
        bit.
        On an error all sequences stay as they were.
        """
        pairs = [(sequence, token_array(tokens)) for sequence, tokens in batch]
        if not pairs:
            return
        session = pairs[0][0].session
        for place, (sequence, _) in enumerate(pairs):
            if sequence.session is not session:  # whose turn is not taken
                raise InvalidArgumentError(f"sequence {place} belongs to another session than the first")
        with session._gate.turn:
            handles = [sequence._handle for sequence, _ in pairs]  # until the call has returned
            extensions = (c.ivg_sequence_extension * len(pairs))()
            for extension, handle, (_, ids) in zip(extensions, handles, pairs, strict=True):
                extension.sequence, extension.tokens, extension.token_count = handle, ids, len(ids)
            try:
                session._gate.long(lib.ivg_sequence_evaluate_batch, extensions, len(pairs))
            finally:
                del handles

    def fork(self) -> Sequence:
        """A copy."""
        short = self.session._gate.short
        return Sequence(self.session, lambda room: short(lib.ivg_sequence_fork, room, self._handle))

    def truncate(self, length: int) -> None:
        """Forgets all but the first `length` tokens. Logits are gone until the next evaluate."""
        unsigned(length, 63, "length")
        with self.session._gate.turn:
            self.session._gate.short(lib.ivg_sequence_truncate, self._handle, length)

    def logits(self) -> list[float]:
        """The raw logits after the last evaluated token."""
        return list(self.logits_view())

    def logits_view(self) -> memoryview[float]:
        """The same as a flat memoryview of C floats, cheap to give to numpy. It is a copy."""
        values = ctypes.POINTER(ctypes.c_float)()
        count = ctypes.c_size_t()
        with self.session._gate.turn:
            self.session._gate.short(lib.ivg_sequence_logits, self._handle, ctypes.byref(values), ctypes.byref(count))
            return memoryview(ctypes.string_at(values, 4 * count.value)).cast("f")
