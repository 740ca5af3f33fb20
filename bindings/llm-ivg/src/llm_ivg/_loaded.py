# SPDX-License-Identifier: Apache-2.0
"""Opened files: the model and its guides, once for each entry of the process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ivg

from ._config import Entry

Messages = Sequence[Mapping[str, str]]

_opened: dict[str, Loaded] = {}
_lock = threading.Lock()


class Loaded:
    """A model and the guides that its entry names. Raises ivg.Error for files that do not fit."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.model = ivg.Model(
            entry.path,
            threads=entry.threads,
            context_length=entry.context_length,
            memory_budget=entry.memory_budget,
        )
        self.untuned = self._guide(self.model, entry.untuned)
        trunk = self.untuned if isinstance(self.untuned, ivg.Model) else self.model
        self.tuned = self._guide(trunk, entry.tuned)
        self.head = None
        if entry.value_head is not None:
            reader = self.model if entry.value_model is None else ivg.Model(entry.value_model)
            self.head = reader.value_head(entry.value_head)

    @staticmethod
    def _guide(trunk: ivg.Model, path: str | None) -> ivg.Model | ivg.Adapter | None:
        if path is None:
            return None
        with ivg.File(path) as file:
            is_adapter = file.kind == "adapter"
        return trunk.adapter(path) if is_adapter else ivg.Model(path)

    def prompt(self, messages: Messages) -> str:
        """The messages as the model reads them: by its chat template, or as they are."""
        if self.entry.raw or self.model.info.chat_template is None:
            return "\n".join(message["content"] for message in messages)
        return self.model.render_chat(messages)

    def guidance(self, messages: Messages, weight: float, search: ivg.ChunkBeamSearch | None) -> ivg.Guidance | None:
        """What steers the answer to these messages; None without guides."""
        entry = self.entry
        parts: dict[str, Any] = {}
        if any((self.tuned, self.untuned, entry.tuned_system, entry.untuned_system)):
            parts["implicit"] = ivg.Implicit(
                tuned=self.tuned,
                untuned=self.untuned,
                weight=weight,
                tuned_template=self._with_system(messages, entry.tuned_system),
                untuned_template=self._with_system(messages, entry.untuned_system),
            )
        if self.head is not None:
            parts["explicit"] = ivg.Explicit(self.head, weight=weight)
        if not parts:
            if search is not None:
                raise ivg.InvalidArgumentError(
                    "width, successors and chunk need a guide that says which row is better: "
                    "llm ivg add with --tuned, --tuned-system or --value-head"
                )
            return None
        return ivg.Guidance(search=search, **parts)

    def _with_system(self, messages: Messages, system: str | None) -> str | None:
        """The whole conversation under another system text: a prompt of its own."""
        if system is None:
            return None
        rest = [message for message in messages if message["role"] != "system"]
        return self.prompt([{"role": "system", "content": system}, *rest])


def load(name: str, entry: Entry) -> Loaded:
    """The opened files of an entry."""
    with _lock:
        found = _opened.get(name)
        if found is None or found.entry != entry:
            found = _opened[name] = Loaded(entry)
        return found
