"""Runs a training command: checks its paths, goes on from a checkpoint, stops at Ctrl-C, writes the result."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import typer

import ivg
from ivg._cli_common import Failure, reporting
from ivg._cli_train_options import CommonOptions
from ivg._cli_train_view import Totals, print_summary, progress

_SHOWN_PROBLEMS = 20

Make = Callable[[ivg.Model, ivg.train.TrainingOptions], ivg.train.Trainer]


def run_training(make: Make, model: Path, data: Path, common: CommonOptions) -> None:
    """The whole command. `make` makes the trainer."""
    with reporting():
        _check_paths(model, data, common)
        if common.force:
            common.checkpoint_path.unlink(missing_ok=True)
        with _make(make, ivg.Model(model), common) as trainer:
            _print_problems(trainer, data, common)
            totals = _train(trainer, common)
            _save(trainer, common)
            if not common.keep_checkpoint:
                common.checkpoint_path.unlink(missing_ok=True)
            print_summary(trainer, totals, common)


def _make(make: Make, model: ivg.Model, common: CommonOptions) -> ivg.train.Trainer:
    """The trainer, which may go on from a checkpoint."""
    checkpoint = common.checkpoint_path
    resumes = checkpoint.exists()
    try:
        trainer = make(model, common.training_options())
    except (ivg.MismatchError, ivg.CorruptFileError) as error:
        if resumes and str(checkpoint) in str(error):
            raise Failure(f"{error} (--force starts anew)") from None
        raise
    if resumes:
        _note(f"going on from {checkpoint}, step {trainer.info.resumed_step} of {trainer.info.step_count}")
    return trainer


def _train(trainer: ivg.train.Trainer, common: CommonOptions) -> Totals:
    """Trains to the end, or until Ctrl-C; then the checkpoint is written and the command ends."""
    totals = Totals(best=common.patience > 0)
    try:
        with _Stopping(trainer), progress(trainer, common.report_every) as show:

            def note(report: ivg.train.Report) -> None:
                totals.add(report)
                show(report)

            trainer.run(note, log=common.log)
    except ivg.CancelledError:
        trainer.checkpoint()
        step = totals.last.step if totals.last else trainer.info.resumed_step
        _note(f"stopped at step {step} of {trainer.info.step_count}; the same command goes on from there")
        raise typer.Exit(130) from None
    return totals


def _save(trainer: ivg.train.Trainer, common: CommonOptions) -> None:
    """Writes the result. If that fails, what was trained stays in the checkpoint."""
    try:
        trainer.save(common.output)
    except ivg.Error:
        with contextlib.suppress(ivg.Error):
            trainer.checkpoint()
        raise


class _Stopping:
    """While it is entered, the first Ctrl-C cancels a trainer, and a second one is an ordinary one."""

    def __init__(self, trainer: ivg.train.Trainer) -> None:
        self._trainer = trainer
        self._pressed = False
        self._replaced = False

    def __enter__(self) -> None:
        # Whoever started this process may have had it ignore Ctrl-C.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._replaced = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True
        self._trainer.cancel()

    def __exit__(self, *exception: object) -> None:
        if self._replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _check_paths(model: Path, data: Path, common: CommonOptions) -> None:
    """Finds out now what would otherwise show after hours, or overwrite what is read."""
    taken = {os.path.realpath(path): "what is read" for path in (model, data, common.start, common.evaluation) if path}
    for option, path in (("-o", common.output), ("--checkpoint", common.checkpoint_path), ("--log", common.log)):
        if path is None:
            continue
        if not path.parent.is_dir():
            raise Failure(f"{option}: {path.parent}: no such folder")
        if path.is_dir():
            raise Failure(f"{option}: {path} is a folder")
        if not os.access(path.parent, os.W_OK):
            raise Failure(f"{option}: {path.parent}: cannot write there")
        real = os.path.realpath(path)
        if real in taken:
            raise Failure(f"{option}: {path} is {taken[real]}")
        taken[real] = f"also {option}"


def _print_problems(trainer: ivg.train.Trainer, data: Path, common: CommonOptions) -> None:
    """Names the lines that cannot be used."""
    for problem in trainer.problems[:_SHOWN_PROBLEMS]:
        print(f"{common.evaluation if problem.evaluation else data}:{problem.line}: {problem.reason}", file=sys.stderr)
    count = trainer.info.problem_count
    if count:
        what = "line cannot be used and is" if count == 1 else "lines cannot be used and are"
        _note(
            f"{count} {what} left out" + (f"; the first {_SHOWN_PROBLEMS} are above" if count > _SHOWN_PROBLEMS else "")
        )


def _note(text: str) -> None:
    print(f"ivg: {text}", file=sys.stderr, flush=True)
