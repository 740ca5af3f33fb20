# SPDX-License-Identifier: Apache-2.0
"""Value-guided models from GGUF files for `llm`: `llm ivg add NAME FILE.gguf`, then `llm -m NAME "a prompt"`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import llm

from ._commands import add_commands
from ._config import ConfigError, read_entries
from ._models import AsyncGuidedModel, GuidedModel


@llm.hookimpl
def register_models(register: Callable[..., Any]) -> None:
    """One model, also for asyncio, for each entry. Files are opened when a model is first used."""
    try:
        entries = read_entries()
    except ConfigError as error:  # the other plugins' models must stay usable
        click.echo(f"llm-ivg: {error}", err=True)
        return
    for name, entry in entries.items():
        register(GuidedModel(name, entry), AsyncGuidedModel(name, entry), aliases=entry.aliases)


@llm.hookimpl
def register_commands(cli: click.Group) -> None:
    """`llm ivg add`, `list` and `remove`."""
    add_commands(cli)
