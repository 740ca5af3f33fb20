"""What a training command shows: progress while it runs, and a summary."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

import ivg
from ivg._cli_common import write, write_json
from ivg._cli_train_options import CommonOptions
from ivg.train import Report

Show = Callable[[Report], None]

# Figures of a report that are shown, with their words and forms.
_FIGURES = {
    "loss": ("loss", "{:.4f}"),
    "accuracy": ("accuracy", "{:.3f}"),
    "margin": ("margin", "{:.3f}"),
    "kl": ("KL", "{:.4f}"),
    "correlation": ("correlation", "{:.3f}"),
    "tokens_per_second": ("tokens/s", "{:.0f}"),
}


def figures_of(report: Report) -> str:
    """The figures in one line."""
    found = []
    for name, (word, form) in _FIGURES.items():
        value = getattr(report, name)
        if value is not None:
            text = form.format(value)
            found.append(f"{text} {word}" if word == "tokens/s" else f"{word} {text}")
    return "  ".join(found)


@contextlib.contextmanager
def progress(trainer: ivg.train.Trainer, every: int) -> Iterator[Show]:
    """Shows reports on standard error: a bar on a terminal, else plain lines."""
    if not sys.stderr.isatty():
        yield lambda report: _print_line(report, every)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[figures]}", style="dim"),
    )
    # Steps may take seconds: the time left is estimated over many of them.
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=300) as bars:
        yield _Bars(bars).show


class _Bars:
    """A bar for each phase; evaluations are lines above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, report: Report) -> None:
        """Moves the bar."""
        if report.kind == "evaluate":
            self._bars.console.print(f"evaluated at step {report.step}: {figures_of(report)}", highlight=False)
            return
        if report.kind not in self._tasks:
            self._tasks[report.kind] = self._bars.add_task(report.kind, completed=report.done, figures="")
        self._bars.update(
            self._tasks[report.kind], completed=report.done, total=report.total, figures=figures_of(report)
        )


def _print_line(report: Report, every: int) -> None:
    """A line for every evaluation, some steps, and the end of preparing."""
    ends = report.done == report.total
    if report.kind == "train" and not ends and report.step % every:
        return
    if report.kind == "prepare" and not ends:
        return
    what = f"{report.done}/{report.total}" if report.kind == "prepare" else f"{report.step}/{report.step_count}"
    print(f"{report.kind} {what}  {figures_of(report)}", file=sys.stderr, flush=True)


@dataclasses.dataclass
class Totals:
    """What a run came to."""

    #: Whether the best evaluation counts, instead of the last.
    best: bool
    last: Report | None = None
    trained: Report | None = None
    evaluated: Report | None = None
    token_count: int = 0
    seconds: float = 0.0

    def add(self, report: Report) -> None:
        """Adds a report."""
        self.last = report
        self.token_count += report.token_count
        self.seconds += report.seconds
        if report.kind == "train":
            self.trained = report
        elif report.kind == "evaluate" and not (self.best and _is_worse(report, self.evaluated)):
            self.evaluated = report


def _is_worse(report: Report, than: Report | None) -> bool:
    if than is None or than.loss is None:
        return False
    return report.loss is None or report.loss >= than.loss


def print_summary(trainer: ivg.train.Trainer, totals: Totals, common: CommonOptions) -> None:
    """What was made of what, on standard output: a table on a terminal, else lines, or JSON."""
    found = _summary(trainer, totals, common)
    if common.as_json:
        write_json(found)
    elif sys.stdout.isatty():
        table = Table(box=None, show_header=False)
        for name, value in found.items():
            table.add_row(name.replace("_", " "), _text(value))
        Console().print(table)
    else:
        for name, value in found.items():
            write(f"{name}\t{_text(value)}\n")


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _summary(trainer: ivg.train.Trainer, totals: Totals, common: CommonOptions) -> dict[str, Any]:
    info = trainer.info
    found: dict[str, Any] = {
        "output": str(common.output),
        "size": common.output.stat().st_size,
        "parameters": info.parameter_count,
        "lines": info.example_count,
        "evaluated_lines": info.evaluation_count,
        "left_out_lines": info.problem_count,
        "steps": totals.last.step if totals.last else info.step_count,
        "resumed_at_step": info.resumed_step,
        "tokens": totals.token_count,
        "seconds": totals.seconds,
        "tokens_per_second": totals.token_count / totals.seconds if totals.seconds > 0 else 0.0,
    }
    for prefix, report in (("", totals.trained), ("evaluation_", totals.evaluated)):
        for name in ("loss", "accuracy", "margin", "kl", "correlation"):
            value = getattr(report, name, None)
            if value is not None:
                found[prefix + name] = value
    return found
