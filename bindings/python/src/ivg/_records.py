"""JSON Lines: prompts that are read, records that are appended and outlast being killed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._errors import InvalidArgumentError

Record = dict[str, Any]
_SMALL_FILE = 64 << 20  # files up to this size are hashed whole


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and the name by which its results are found again."""

    text: str
    id: str


def as_prompts(prompts: Iterable[str | Prompt | Mapping[str, Any]]) -> list[Prompt]:
    """Prompts from texts, from records with "prompt" and perhaps "id", or from prompts. Without an id: the number."""
    found = [_prompt(item, number) for number, item in enumerate(prompts, 1)]
    seen: set[str] = set()
    for prompt in found:
        if prompt.id in seen:
            raise InvalidArgumentError(f"two prompts have the id {prompt.id!r}")
        seen.add(prompt.id)
    return found


def _prompt(item: str | Prompt | Mapping[str, Any], number: int) -> Prompt:
    if isinstance(item, Prompt):
        return item
    if isinstance(item, str):
        return Prompt(item, str(number))
    text = item.get("prompt", item.get("instruction"))
    if not isinstance(text, str):
        raise InvalidArgumentError(f'prompt {number} has no text under "prompt"')
    return Prompt(text, str(item.get("id", number)))


def read_prompts(path: Path, limit: int | None = None) -> list[Prompt]:
    """Prompts of a file: JSON Lines with "prompt" (or "instruction") and perhaps "id", or one prompt a line.

    Which of them it is, the first character says. Empty lines are skipped; a prompt without an id gets the number of
    its line.
    """
    items: list[Prompt] = []
    objects: bool | None = None
    for number, line in _lines(path):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        if objects is None:
            objects = text.lstrip().startswith("{")
        if not objects:
            items.append(Prompt(text, str(number)))
        else:
            record = _object(path, number, text)
            if not isinstance(record.get("prompt", record.get("instruction")), str):
                raise InvalidArgumentError(f'{path}:{number}: no text under "prompt"')
            items.append(_prompt(record, number))
        if limit is not None and len(items) >= limit:
            break
    if not items:
        raise InvalidArgumentError(f"{path} holds no prompts")
    return as_prompts(items)


def read_records(path: Path, *, torn: bool = False) -> Iterator[tuple[int, Record]]:
    """The objects of a JSON Lines file with the numbers of their lines.

    torn: a last line without its end is still being written, or was cut off, and is left out.
    """
    for number, line in _lines(path):
        if torn and not line.endswith("\n"):
            return
        if line.strip():
            yield number, _object(path, number, line)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                if not line.endswith(b"\n"):
                    yield number, line.decode("utf-8", "replace")  # cut off within a character
                    return
                raise InvalidArgumentError(f"{path}:{number}: not UTF-8") from None


def _object(path: Path, number: int, line: str) -> Record:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InvalidArgumentError(f"{path}:{number}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgumentError(f"{path}:{number}: not a JSON object")
    return value


def json_line(record: Record) -> str:
    """One line of JSON Lines."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that at any moment there is the old one or the new one."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def cut_torn_line(path: Path) -> None:
    """Removes a last line that was cut off while it was written."""
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            last = file.read(position - start).rfind(b"\n")
            if last >= 0:
                position = start + last + 1
                break
            position = start
        if position < end:
            file.truncate(position)


def file_identity(path: str | os.PathLike[str] | None) -> Record | None:
    """What tells a file from another one of the same name: size and hash (of a large file, of its two ends)."""
    if path is None:
        return None
    size = os.path.getsize(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if size <= _SMALL_FILE:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            digest.update(file.read(1 << 20))
            file.seek(-(1 << 20), os.SEEK_END)
            digest.update(file.read())
    return {"file": os.path.basename(path), "size": size, "sha256": digest.hexdigest()[:16]}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first setting in which two runs differ, in words; None if there is none."""
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            return f"{key} was {_short(before.get(key))}, is {_short(now.get(key))}"
    return None


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"


def prompt_seed(seed: int, prompt: Prompt) -> int:
    """The seed of one prompt: the same whatever other prompts there are and in which order."""
    data = f"{seed}\n{prompt.id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(data).digest()[:7], "little")


class PromptsDigest:
    """A short name for a list of prompts, of which more and more are added."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._begun = False

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Adds prompts behind the last."""
        for prompt in prompts:
            self._hash.update(b", " if self._begun else b"[")
            self._hash.update(json.dumps([prompt.id, prompt.text]).encode())
            self._begun = True

    def text(self) -> str:
        """The digest of those that were added."""
        whole = self._hash.copy()
        whole.update(b"]" if self._begun else b"[]")
        return whole.hexdigest()[:16]
