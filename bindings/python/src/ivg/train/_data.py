"""Data for training: files, or records that are written to files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from .._model import PathLike, _path

#: A path to JSON Lines, or records.
Data = PathLike | Iterable[Mapping[str, Any]]


class DataFiles:
    """The paths of a trainer's data. Records lie in temporary files until `remove`."""

    def __init__(self) -> None:
        self._temporary: list[str] = []

    def path(self, data: Data) -> bytes:
        """Where the data is."""
        if isinstance(data, str | os.PathLike):
            return _path(data)
        return os.fsencode(self._write(data))

    def _write(self, records: Iterable[Mapping[str, Any]]) -> str:
        """One line for each record: what cannot be used is found by its number, as in a file."""
        handle, path = tempfile.mkstemp(prefix="ivg-", suffix=".jsonl")
        self._temporary.append(path)
        with open(handle, "w", encoding="ascii") as file:
            for record in records:
                file.write(json.dumps(dict(record)) + "\n")
        return path

    def remove(self) -> None:
        """Removes the temporary files."""
        while self._temporary:
            path = self._temporary.pop()
            try:
                os.unlink(path)
            except OSError:  # somebody cleaned up
                pass
