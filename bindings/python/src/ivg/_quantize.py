"""Writing models anew with fewer bits for their weights."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import _bindings as c
from ._calls import Gate
from ._library import call, encode_string, lib, text
from ._managed import Managed
from ._model import PathLike, _path
from ._sampling import unsigned


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """What one piece of quantising has done."""

    #: The tensor's place in the file, of how many.
    tensor_index: int
    tensor_count: int
    tensor: str
    #: Its type in the source, "F16", and in the target.
    source_type: str
    target_type: str
    #: Whether this was the tensor's last piece.
    ends_tensor: bool
    #: Bytes of the source's tensors so far, of all.
    done: int
    total: int
    #: Bytes of all tensors in the source, and in the target when it is complete.
    size_in: int
    size_out: int
    #: Root mean square of what rounding changed in this tensor so far, divided by that of its weights.
    error: float
    #: This piece took.
    seconds: float


class Quantizer(Managed, Iterator[QuantizeReport]):
    """Writes a model anew with fewer bits, one piece after the other.

        with ivg.Quantizer("model.F16.gguf", "model.Q4_K_M.gguf", "Q4_K_M") as quantizer:
            for report in quantizer:
                print(report.tensor, report.done / report.total)

    The file appears under its name when the loop has ended, and not before: whatever stops it, a Ctrl-C, an error, the
    end of the process, leaves what was there. After a CancelledError the loop may be entered again. Any thread may
    call; calls of several wait for each other.

    type: a mix as llama.cpp names it: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K_S, Q3_K_M, Q3_K_L,
        Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K.
    pure: every matrix gets the type that the mix has for most, where its rows allow it.
    output_type, embedding_type: types of these two matrices; None: as the mix says.
    importance: a file of importance weights as llama.cpp writes them ("imatrix").
    threads: processors to use; None: those this process may use.
    memory_budget: bytes beside the mapped files; None: 1 GiB.
    """

    _instead = "pass the files' paths, and quantise there"

    def __init__(
        self,
        source: PathLike,
        target: PathLike,
        type: str,
        *,
        pure: bool = False,
        output_type: str | None = None,
        embedding_type: str | None = None,
        importance: PathLike | None = None,
        threads: int | None = None,
        memory_budget: int | None = None,
    ) -> None:
        options = c.ivg_quantize_options(
            struct_size=ctypes.sizeof(c.ivg_quantize_options),
            flags=c.IVG_QUANTIZE_PURE if pure else 0,
            thread_count=unsigned(threads or 0, 32, "threads"),
            type=encode_string(type, "type"),
            output_type=encode_string(output_type, "output_type"),
            embedding_type=encode_string(embedding_type, "embedding_type"),
            importance_path=None if importance is None else _path(importance),
            memory_budget=unsigned(memory_budget or 0, 64, "memory_budget"),
        )
        raw = ctypes.POINTER(c.ivg_quantizer)()
        self._gate = Gate(raw, lib.ivg_quantizer_cancel, "quantizer")
        room = self._expect(raw, _free_quantizer, self._gate, at_exit=True)
        call(lib.ivg_quantizer_create, ctypes.byref(room), _path(source), _path(target), ctypes.byref(options))
        self._own(raw, room)
        self._life = threading.RLock()  # held while cancelling and while being freed
        self._report = c.ivg_quantize_report(struct_size=ctypes.sizeof(c.ivg_quantize_report))

    def __iter__(self) -> Quantizer:
        return self

    def __next__(self) -> QuantizeReport:
        """Does the next piece; StopIteration when the file is complete under its name."""
        raw = self._report
        with self._gate.turn:
            # A call that had ended when Ctrl-C came has left its report there: nothing is lost.
            if raw.tensor_count == 0 and (
                self._gate.long(lib.ivg_quantizer_next, self._handle, ctypes.byref(raw)) == c.IVG_DONE
            ):
                raise StopIteration
            report = _read(raw)
            raw.tensor_count = 0
            return report

    def cancel(self) -> None:
        """Makes the running call raise CancelledError, or else the next one. From any thread and signal handler."""
        self._check_process()
        with self._life:
            if not self.closed:
                self._gate.cancel()

    def close(self) -> None:
        """Stops the running call, if there is one. A file that is not complete disappears."""
        if self.closed or self._foreign:
            super().close()
            return
        self.cancel()
        with self._gate.turn, self._life:
            super().close()


def _free_quantizer(gate: Gate, raw: Any) -> None:
    if gate.may_free:
        lib.ivg_quantizer_free(raw)


def quantize(
    source: PathLike,
    target: PathLike,
    type: str,
    *,
    pure: bool = False,
    output_type: str | None = None,
    embedding_type: str | None = None,
    importance: PathLike | None = None,
    threads: int | None = None,
    memory_budget: int | None = None,
    on_report: Callable[[QuantizeReport], object] | None = None,
) -> list[QuantizeReport]:
    """Writes a model anew with fewer bits: `ivg.quantize("model.F16.gguf", "model.Q4_K_M.gguf", "Q4_K_M")`.

    For the parameters see `Quantizer`. on_report: called some dozen times a second.
    Returns the last report of each tensor, in file order.
    """
    found: list[QuantizeReport] = []
    with Quantizer(
        source,
        target,
        type,
        pure=pure,
        output_type=output_type,
        embedding_type=embedding_type,
        importance=importance,
        threads=threads,
        memory_budget=memory_budget,
    ) as quantizer:
        for report in quantizer:
            if report.ends_tensor:
                found.append(report)
            if on_report is not None:
                on_report(report)
    return found


def _read(raw: c.ivg_quantize_report) -> QuantizeReport:
    return QuantizeReport(
        tensor_index=raw.tensor_index,
        tensor_count=raw.tensor_count,
        tensor=text(raw.tensor) or "",
        source_type=text(raw.source_type) or "",
        target_type=text(raw.target_type) or "",
        ends_tensor=bool(raw.ends_tensor),
        done=raw.done,
        total=raw.total,
        size_in=raw.size_in,
        size_out=raw.size_out,
        error=raw.error,
        seconds=raw.seconds,
    )
