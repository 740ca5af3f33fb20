"""Chat templates: Jinja, in a sandbox that neither reaches nor changes anything."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ._errors import InvalidArgumentError


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _tojson(value: Any, indent: int | None = None, ensure_ascii: bool = False, **_: Any) -> str:
    """Plain JSON: Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, extensions=[loopcontrols]
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.filters["tojson"] = _tojson
    return environment.from_string(source)


def render_chat(
    source: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    begin_token: str,
    end_token: str,
    add_generation_prompt: bool,
    variables: Mapping[str, Any],
) -> str:
    """Renders a chat template as `transformers` does."""
    values = {
        "bos_token": begin_token,
        "eos_token": end_token,
        "add_generation_prompt": add_generation_prompt,
        **variables,
    }
    try:
        return _compiled(source).render(messages=messages, **values)
    except TemplateError as error:
        raise InvalidArgumentError(f"the chat template failed: {error}") from error
