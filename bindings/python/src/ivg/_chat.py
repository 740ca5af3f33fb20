"""Chat templates: Jinja, in a sandbox that neither reaches nor changes anything."""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ._errors import InvalidArgumentError

#: What a template that is wrong, or that messages do not suit, raises.
_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said; it is written as if there were no mark."""

    tags = {"generation"}  # noqa: RUF012 - declared by jinja2

    def parse(self, parser: Parser) -> nodes.Node:
        """What is between the tags."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
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
        "tools": None,
        "documents": None,
        **variables,
    }
    try:
        return _compiled(source).render(messages=messages, **values)
    except _FAILURES as error:
        raise InvalidArgumentError(f"the chat template failed: {error}") from error
