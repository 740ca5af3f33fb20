"""A scorer that is a command of the shell."""

from __future__ import annotations

import json
import math
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO

from . import _process
from ._errors import CallbackError


class CommandScorer:
    """A scorer that is a command: it reads one JSON string a line and prints one number a line, larger is better.

        with ivg.CommandScorer("python3 sentiment.py") as scorer:
            scorer("The film was", [" wonderful.", " a bore."])

    The command is run by the shell and kept running; it must print each number without waiting for more input
    (in Python: `print(value, flush=True)`). If it dies between two batches it is started once more. A command that
    reads all of its input before it answers is started anew for every batch with `reads_all=True`.

    timeout: seconds that a batch may take, starting the command included.
    template: what the command sees of a text.
    """

    def __init__(
        self, command: str, *, timeout: float = 120.0, template: str = "{prompt}{text}", reads_all: bool = False
    ) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout is {timeout}; it must be more than 0")
        self.command = command
        self.timeout = timeout
        self.template = template
        self.reads_all = reads_all
        self._running: _Process | None = None
        self._parents: _Process | None = None

    def __call__(self, prompt: str, texts: Sequence[str]) -> list[float]:
        """The rewards of several answers to one prompt."""
        return self.rewards([(prompt, text) for text in texts])

    def rewards(self, answers: Sequence[tuple[str, str]]) -> list[float]:
        """The rewards of pairs of prompt and text, in one batch."""
        if not answers:
            return []
        self._leave_to_parent()
        whole = [self._whole(prompt, text) for prompt, text in answers]
        data = "".join(json.dumps(text) + "\n" for text in whole).encode()
        fresh = self._running is None
        try:
            return self._ask(data, len(answers))
        except _Died as death:
            if fresh:
                raise CallbackError(str(death)) from None
        try:
            return self._ask(data, len(answers))
        except _Died as death:
            raise CallbackError(f"{death}; it was started again once before") from None

    def _whole(self, prompt: str, text: str) -> str:
        values = {"{prompt}": prompt, "{text}": text}
        return re.sub(r"\{prompt\}|\{text\}", lambda found: values[found[0]], self.template)

    def _ask(self, data: bytes, count: int) -> list[float]:
        deadline = time.monotonic() + self.timeout
        if self._running is None:
            self._running = _Process(self.command)
        process = self._running
        try:
            if process.has_more():
                raise CallbackError(f"the scorer printed more lines than it was given texts: {self.command}")
            process.send(data, last=self.reads_all)
            values = [_number(self._line(process, deadline, i, count)) for i in range(count)]
            if self.reads_all:
                if process.line(deadline) is not None:
                    raise CallbackError(f"the scorer printed more than {count} lines for {count} texts")
                self.close()
            return values
        except BaseException:
            self.close()
            raise

    def _line(self, process: _Process, deadline: float, number: int, count: int) -> bytes:
        try:
            line = process.line(deadline)
        except queue.Empty:
            raise CallbackError(
                f"the scorer gave {number} numbers for {count} texts within {self.timeout:g} s{process.complaint()}"
            ) from None
        if line is None:
            raise _Died(f"the scorer {process.end()} after {number} of {count} numbers{process.complaint()}")
        return line

    def _leave_to_parent(self) -> None:
        """After fork() a child starts a command of its own: that of the parent, and its pipes, are the parent's."""
        if self._running is not None and self._running.generation != _process.generation():
            self._parents, self._running = self._running, None

    def close(self) -> None:
        """Ends the command."""
        self._leave_to_parent()
        process, self._running = self._running, None
        if process is not None:
            process.close()

    def __enter__(self) -> CommandScorer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Died(Exception):
    pass


class _Process:
    """A running command. Two threads serve its pipes, so that neither side waits for the other for ever."""

    def __init__(self, command: str) -> None:
        self.generation = _process.generation()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def send(self, data: bytes, *, last: bool) -> None:
        threading.Thread(target=self._write, args=(data, last), daemon=True).start()

    def _write(self, data: bytes, last: bool) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
            if last:
                self._process.stdin.close()
        except (OSError, ValueError):
            pass  # it has ended, which reading its answers will show

    def has_more(self) -> bool:
        """Whether it has printed a line that nobody asked for."""
        if self._lines.empty():
            return False
        line = self._lines.get()
        if line is None:
            self._lines.put(None)
        return line is not None

    def line(self, deadline: float) -> bytes | None:
        """Its next line; None at its end; queue.Empty when time is up."""
        return self._lines.get(timeout=max(0.001, deadline - time.monotonic()))

    def end(self) -> str:
        """How it ended."""
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its output"
        return f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"

    def complaint(self) -> str:
        """The last line that it wrote to standard error."""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 4096))
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1]}" if said else ""

    def close(self) -> None:
        """Closes its input, waits a moment, then ends it with all its children."""
        for stop in (None, signal.SIGTERM, signal.SIGKILL):
            if stop is not None:
                try:
                    os.killpg(self._process.pid, stop)
                except (ProcessLookupError, PermissionError):
                    pass
            elif self._process.stdin is not None:
                threading.Thread(target=self._close_input, daemon=True).start()
            try:
                self._process.wait(timeout=1)
                break
            except subprocess.TimeoutExpired:
                continue
        self._reader.join(timeout=1)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        self._errors.close()

    def _close_input(self) -> None:
        try:
            assert self._process.stdin is not None
            self._process.stdin.close()
        except (OSError, ValueError):
            pass


def _number(line: bytes) -> float:
    text = line.decode("utf-8", "replace").strip()
    try:
        value = float(text)
    except ValueError:
        raise CallbackError(f"the scorer printed {text[:80]!r}, which is not a number") from None
    if not math.isfinite(value):
        raise CallbackError(f"the scorer printed {text[:80]}, which is not a finite number")
    return value
