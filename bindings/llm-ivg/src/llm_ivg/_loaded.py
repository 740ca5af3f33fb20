# SPDX-License-Identifier: Apache-2.0
"""Opened files: the model and its guides, once for each entry of the process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ivg

from ._config import Entry

Messages = Sequence[Mapping[str, str]]
_PROMPT = "{prompt}"  # what libivg replaces in a template by the request's prompt

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

    def request(self, messages: Messages, weight: float, search: ivg.ChunkBeamSearch | None) -> dict[str, Any]:
        """What answering these messages passes to `ivg.Model.stream`: prompt, template and guidance."""
        entry = self.entry
        text = self.prompt(messages)
        if entry.tuned_system is None and entry.untuned_system is None:
            return {"prompt": text, "guidance": self._guidance(weight, search)}
        # A guide's text is a template, in which {prompt} is replaced, also where a user wrote it. So the request's
        # prompt is {prompt}, which puts there what was there, and the texts of all models are templates.
        tuned = self._with_system(messages, entry.tuned_system) or text
        untuned = self._with_system(messages, entry.untuned_system) or (None if self.untuned is None else text)
        guidance = self._guidance(weight, search, implicit=True, tuned=tuned, untuned=untuned, explicit=text)
        return {"prompt": _PROMPT, "template": text, "guidance": guidance}

    def _guidance(
        self,
        weight: float,
        search: ivg.ChunkBeamSearch | None,
        *,
        implicit: bool = False,
        tuned: str | None = None,
        untuned: str | None = None,
        explicit: str | None = None,
    ) -> ivg.Guidance | None:
        """The entry's guides with their templates; None without guides."""
        parts: dict[str, Any] = {}
        if implicit or self.tuned is not None or self.untuned is not None:
            parts["implicit"] = ivg.Implicit(
                tuned=self.tuned, untuned=self.untuned, weight=weight, tuned_template=tuned, untuned_template=untuned
            )
        if self.head is not None:
            parts["explicit"] = ivg.Explicit(self.head, weight=weight, template=explicit)
        if not parts:
            if search is not None:
                raise ivg.InvalidArgumentError(
                    "width, successors and chunk need a guide that says which row is better: "
                    "llm ivg add with --tuned, --tuned-system or --value-head"
                )
            return None
        return ivg.Guidance(search=search, **parts)

    def _with_system(self, messages: Messages, system: str | None) -> str | None:
        """The whole conversation under another system text."""
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
