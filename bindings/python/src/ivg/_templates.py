"""Prompt templates: a prefix and a suffix, or a model's chat template, around {prompt}."""

from __future__ import annotations

import contextlib

from ._errors import InvalidArgumentError
from ._model import Model

PROMPT = "{prompt}"


def plain_template(prefix: str = "", suffix: str = "") -> str:
    """The prompt between a prefix and a suffix."""
    for name, text in (("prefix", prefix), ("suffix", suffix)):
        if PROMPT in text:
            raise InvalidArgumentError(f"the {name} holds {PROMPT}; the prompt is put beside it anyway")
    return prefix + PROMPT + suffix


def chat_template(model: Model, prefix: str = "", suffix: str = "", system: str | None = None) -> str:
    """What the model's chat template makes of one message of a user that holds the prompt.

    Rendered once with {prompt} in the place of the prompt, so that each model of a guidance can have its own. A
    template that knows no system message has `system` in front of the user's.
    """
    content = plain_template(prefix, suffix)
    rendered = ""
    if system is not None:
        plain_template(system)
        with contextlib.suppress(InvalidArgumentError):
            messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
            rendered = model.render_chat(messages)
        if system.strip() not in rendered:
            content, rendered = f"{system}\n{content}", ""
    rendered = rendered or model.render_chat([{"role": "user", "content": content}])
    if rendered.count(PROMPT) != 1:
        raise InvalidArgumentError(
            f"the chat template of {model.info.path or 'the model'} shows a message {rendered.count(PROMPT)} times; "
            f"it must show it once"
        )
    return rendered


def template_for(model: Model, chat: bool, prefix: str = "", suffix: str = "") -> str:
    """A model's template, as chat or plainly."""
    return chat_template(model, prefix, suffix) if chat else plain_template(prefix, suffix)
