"""The log of a training run: JSON Lines that outlast being killed."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import datetime, timezone
from typing import Any

from .._errors import InvalidArgumentError
from .._model import PathLike
from ._report import Report

_BEGINNING = b'{"kind":'


class LogWriter:
    """Appends reports to a log, each as one line that is written at once.

    position: the step from which training goes on: lines beyond it are cut off, they will come again. None: the log
    begins anew. What is no log is not touched.
    """

    def __init__(self, path: PathLike, position: int | None) -> None:
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        self._evaluated = -1
        try:
            if self._file.seekable():
                self._cut(position)
        except BaseException:
            self._file.close()
            raise

    def _cut(self, position: int | None) -> None:
        self._file.seek(0)
        first = self._file.read(len(_BEGINNING))
        if first != _BEGINNING[: len(first)]:
            raise InvalidArgumentError(f"{self._file.name} is there, and no log of training: it is not overwritten")
        self._file.truncate(0 if position is None else self._end(position))

    def _end(self, position: int) -> int:
        """Where the lines up to a step end."""
        end = 0
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                record = _parsed(line)
                if record is None or record["step"] > position:
                    break
                end += len(line)
                if record["kind"] == "evaluate":
                    self._evaluated = record["step"]
        return end

    def write(self, report: Report) -> None:
        """Appends a report. An evaluation that a resumed run makes once more is in the log already."""
        if report.kind == "evaluate":
            if report.step == self._evaluated:
                return
            self._evaluated = report.step
        figures = {name: value if _is_json(value) else None for name, value in dataclasses.asdict(report).items()}
        time = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = (json.dumps({**figures, "time": time}) + "\n").encode("ascii")
        while line:
            line = line[self._file.write(line) :]

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _is_json(value: object) -> bool:
    """JSON knows neither NaN nor infinities."""
    return not isinstance(value, float) or math.isfinite(value)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A whole line of a log; None for one that was cut off."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    fits = isinstance(record, dict) and isinstance(record.get("step"), int) and "kind" in record
    return record if fits and line.endswith(b"\n") else None
