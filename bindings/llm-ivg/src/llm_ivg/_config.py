# SPDX-License-Identifier: Apache-2.0
"""Which models there are: a JSON file in llm's folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import llm


class ConfigError(Exception):
    """The file of models cannot be used; the message names it."""


@dataclass(frozen=True)
class Entry:
    """A model and what guides it. Files are absolute paths."""

    path: str
    #: The implicit value: models, or adapters for `path` (of `tuned`: for `untuned`, if that is a model).
    tuned: str | None = None
    untuned: str | None = None
    #: Or system texts with which tuned and untuned read the conversation.
    tuned_system: str | None = None
    untuned_system: str | None = None
    #: The explicit value, and the model whose hidden state it reads if that is not `path`.
    value_head: str | None = None
    value_model: str | None = None
    #: Prompts go in as they are, without a chat template.
    raw: bool = False
    threads: int | None = None
    context_length: int | None = None
    memory_budget: int | None = None
    aliases: list[str] = field(default_factory=list)


def config_path() -> Path:
    """Where the file is."""
    return Path(llm.user_dir()) / "ivg-models.json"  # type: ignore[no-untyped-call]


def read_entries() -> dict[str, Entry]:
    """The models by name. Raises ConfigError."""
    path = config_path()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: holds no object of models by name")
    return {name: _entry(path, name, value) for name, value in found.items()}


def _entry(path: Path, name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        raise ConfigError(f'{path}: the model {name!r} has no "path"')
    if unknown := set(value) - {known.name for known in fields(Entry)}:
        raise ConfigError(
            f"{path}: the model {name!r} has {', '.join(sorted(unknown))}, which this version does not know"
        )
    for known in fields(Entry):
        if known.name in value and not _fits(value[known.name], str(known.type)):
            found = json.dumps(value[known.name], ensure_ascii=False)
            raise ConfigError(f"{path}: {known.name} of the model {name!r} is {found}; it must be {known.type}")
    return Entry(**value)


def _fits(value: Any, kind: str) -> bool:
    """Whether a value of JSON is what an annotation of `Entry` says; numbers are counts, from 1."""
    if kind == "list[str]":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "int | None":
        return value is None or (type(value) is int and value >= 1)
    if kind == "str | None":
        return value is None or isinstance(value, str)
    return isinstance(value, {"str": str, "bool": bool}[kind])


def write_entries(entries: Mapping[str, Entry]) -> None:
    """Replaces the file in one step."""
    path = config_path()
    defaults = asdict(Entry(""))
    plain = {
        name: {key: value for key, value in asdict(entry).items() if value != defaults[key]}
        for name, entry in entries.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(plain, file, indent=2, ensure_ascii=False)
            file.write("\n")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
