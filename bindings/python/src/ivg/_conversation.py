"""Conversations where one model nudges another: what each of them reads of the same messages."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ._errors import InvalidArgumentError
from ._model import Adapter, Model
from ._nudging import Nudging
from ._templates import PROMPT

Messages = Sequence[Mapping[str, Any]]


def nudged_conversation(base: Model, messages: Messages, source: str | None, nudging: Nudging) -> tuple[str, Nudging]:
    """The template with which the base reads `messages`, and the nudging whose nudger does; for the prompt `PROMPT`.

    source: a chat template for the base in place of its file's.

    A template is a text that stands for itself: where a message holds `PROMPT`, `PROMPT` is put there.
    """
    if not messages:
        raise InvalidArgumentError("a conversation needs at least one message")
    nudger = nudging.nudger.model if isinstance(nudging.nudger, Adapter) else nudging.nudger
    for_nudger = _text(nudger, messages, None, nudging.nudger_system, nudging.nudger_template)
    for_base = _text(base, messages, source, nudging.base_system, nudging.base_template)
    return for_base, dataclasses.replace(nudging, nudger_template=for_nudger, nudger_system=None)


def _text(model: Model, messages: Messages, source: str | None, system: str | None, template: str | None) -> str:
    """What one side reads: by its chat template, or else line by line; its own system text comes first."""
    if system is not None:
        rest = messages[1:] if messages[0].get("role") == "system" else messages
        messages = [{"role": "system", "content": system}, *rest]
    if template is not None and source is None:
        return template.replace(PROMPT, _lines(messages))
    if source is None and model.info.chat_template is None:
        return _lines(messages) + "\n"
    return _rendered(model, messages, source)


def _rendered(model: Model, messages: Messages, source: str | None) -> str:
    """By a chat template. One that knows no system message has the text in front of the user's."""
    if len(messages) < 2 or messages[0].get("role") != "system" or messages[1].get("role") != "user":
        return model.render_chat(messages, source)
    system = _content(messages[0])
    with contextlib.suppress(InvalidArgumentError):
        rendered = model.render_chat(messages, source)
        if system.strip() in rendered:
            return rendered
    question = {**messages[1], "content": f"{system}\n{_content(messages[1])}"}
    return model.render_chat([question, *messages[2:]], source)


def _lines(messages: Messages) -> str:
    return "\n".join(map(_content, messages))


def _content(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content may be a list of parts."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidArgumentError(f"a message of the {message.get('role', 'nobody')} has content that is no text")
    return "".join(map(str, texts))
