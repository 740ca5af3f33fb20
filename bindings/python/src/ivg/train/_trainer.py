"""What all trainers do."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .. import _bindings as c
from .._calls import Gate
from .._errors import InvalidArgumentError
from .._library import call, lib, text
from .._managed import Managed
from .._model import Model, PathLike, _path
from ._data import Data, DataFiles
from ._log import LogWriter
from ._options import TrainingOptions, native_options
from ._report import Problem, Report, TrainerInfo, read_report


class Trainer(Managed, Iterator[Report]):
    """Training, one piece of work after the other. `SFT`, `DPO`, `RewardModel` and `ValueModel` are trainers.

        with ivg.train.DPO(model, "pairs.jsonl", checkpoint="tuned.checkpoint") as trainer:
            for report in trainer:
                print(report.step, report.loss)
            trainer.save("tuned.gguf")

    Making one reads and checks the data. Each `next()` works for a second or so. After a CancelledError or a Ctrl-C
    the loop may be entered again, and training goes on as if nothing had happened; after an IOFailure (a full disk)
    too. Any thread may call; calls of several wait for each other.
    """

    _instead = "pass the files' paths, and train there; a checkpoint goes on anywhere"

    def __init__(self, model: Model, data: Data, options: TrainingOptions, **own: Any) -> None:
        files = DataFiles()
        raw = ctypes.POINTER(c.ivg_trainer)()
        self._gate = Gate(raw, lib.ivg_trainer_cancel, "trainer")
        room = self._expect(raw, _free_trainer, files, self._gate, at_exit=True)
        try:
            native = native_options(options, data, files, **own)
            call(lib.ivg_trainer_create, ctypes.byref(room), model._handle, ctypes.byref(native))
        except BaseException:
            files.remove()
            raise
        self._own(raw, room)
        #: The model whose weights stay as they are.
        self.model = model
        self._life = threading.RLock()  # held while cancelling and while being freed
        self._report = c.ivg_trainer_report(struct_size=ctypes.sizeof(c.ivg_trainer_report))
        #: Counts and sizes.
        self.info = _read_info(raw)
        #: The lines that were left out, of each file the first thousand.
        self.problems = list(_read_problems(raw))
        # Where training stands; None: nothing has been done.
        self._position: int | None = self.info.resumed_step or None

    def __repr__(self) -> str:
        return f"<ivg.train.{type(self).__name__} on {self.model!r}>"

    def __iter__(self) -> Trainer:
        return self

    def __next__(self) -> Report:
        """Does the next piece of work; StopIteration when training has ended."""
        raw = self._report
        with self._gate.turn:
            # A call that had ended when Ctrl-C came has left its report there: nothing is lost.
            if raw.kind == 0 and self._gate.long(lib.ivg_trainer_next, self._handle, ctypes.byref(raw)) == c.IVG_DONE:
                raise StopIteration
            report = read_report(raw)
            self._position = report.step
            raw.kind = 0
            return report

    def run(self, on_report: Callable[[Report], object] | None = None, *, log: PathLike | None = None) -> Report | None:
        """Trains to the end: `trainer.run(lambda report: print(report.loss), log="dpo.jsonl")`.

        on_report: called with each report.
        log: JSON Lines, one object for each report, which `ivg plot` draws. The log of a run that goes on from its
        checkpoint goes on too, without the steps beyond it; that of a new run is overwritten.
        Returns the last evaluation, or without one the last step; None if there was nothing left to do.
        """
        found: dict[str, Report] = {}
        with contextlib.ExitStack() as stack:
            writer = None if log is None else stack.enter_context(LogWriter(log, self._position))
            for report in self:
                if writer is not None:
                    writer.write(report)
                found[report.kind] = report
                if on_report is not None:
                    on_report(report)
        return found.get("evaluate", found.get("train"))

    def save(self, path: PathLike) -> None:
        """Writes the adapter or value head as it is now; with `patience`, after the end, as it was at its best.

        Open the file with `model.adapter(path)` or `model.value_head(path)`. It appears complete, or not at all.
        """
        data = _path(path)
        with self._gate.turn:
            self._gate.short(lib.ivg_trainer_save, self._handle, data)

    def checkpoint(self) -> None:
        """Writes the checkpoint now, to the path of the option `checkpoint`."""
        with self._gate.turn:
            self._gate.short(lib.ivg_trainer_checkpoint, self._handle)

    def cancel(self) -> None:
        """Makes the running call raise CancelledError, or else the next one. From any thread and signal handler.

        The call may be repeated and does that piece of work again.
        """
        self._check_process()
        with self._life:
            if not self.closed:
                self._gate.cancel()

    def close(self) -> None:
        """Stops the running call, if there is one, and gives everything back. What was not saved is lost."""
        if self.closed or self._foreign:
            super().close()
            return
        self.cancel()
        with self._gate.turn, self._life:
            super().close()


def _free_trainer(files: DataFiles, gate: Gate, raw: Any) -> None:
    if gate.may_free:
        lib.ivg_trainer_free(raw)
    files.remove()


def _read_info(raw: Any) -> TrainerInfo:
    info = c.ivg_trainer_info(struct_size=ctypes.sizeof(c.ivg_trainer_info))
    lib.ivg_trainer_describe(raw, ctypes.byref(info))
    return TrainerInfo(
        example_count=info.example_count,
        evaluation_count=info.evaluation_count,
        problem_count=lib.ivg_trainer_problem_count(raw),
        parameter_count=info.parameter_count,
        step_count=info.step_count,
        resumed_step=info.resumed_step,
        kept_layers=info.kept_layers,
        memory=info.memory,
    )


def _read_problems(raw: Any) -> Iterator[Problem]:
    problem = c.ivg_trainer_problem_info(struct_size=ctypes.sizeof(c.ivg_trainer_problem_info))
    for index in range(lib.ivg_trainer_problem_count(raw)):
        try:
            call(lib.ivg_trainer_problem, raw, index, ctypes.byref(problem))
        except InvalidArgumentError:  # past the last one that is described
            return
        yield Problem(problem.line, text(problem.reason) or "", bool(problem.is_evaluation))
