# SPDX-License-Identifier: Apache-2.0
"""`llm ivg add`, `list` and `remove`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
import ivg

from ._config import ConfigError, Entry, config_path, read_entries, write_entries
from ._loaded import Loaded

_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True)
_FILES = ("path", "tuned", "untuned", "value_head", "value_model")


def _entries() -> dict[str, Entry]:
    try:
        return read_entries()
    except ConfigError as error:
        raise click.ClickException(str(error)) from None


@click.group(name="ivg")
def ivg_group() -> None:
    """Value-guided models from GGUF files"""


@ivg_group.command()
@click.argument("name")
@click.argument("path", type=_FILE)
@click.option("--tuned", type=_FILE, help="Implicit value: a tuned model, or an adapter")
@click.option("--untuned", type=_FILE, help="Implicit value: the untuned model, or an adapter; otherwise PATH")
@click.option("--tuned-system", metavar="TEXT", help="Implicit value: system text of the tuned side")
@click.option("--untuned-system", metavar="TEXT", help="Implicit value: system text of the untuned side")
@click.option("--value-head", type=_FILE, help="Explicit value: a value head")
@click.option("--value-model", type=_FILE, help="The model whose state --value-head reads; otherwise PATH")
@click.option("--raw", is_flag=True, help="Prompts go in as they are, without a chat template")
@click.option("--threads", type=click.IntRange(1), help="Processors to use")
@click.option("--context-length", type=click.IntRange(1), help="Tokens a conversation may hold")
@click.option("--memory-budget", type=click.IntRange(1), metavar="BYTES", help="Beside the mapped files")
@click.option("aliases", "--alias", multiple=True, help="Another name; may be given several times")
@click.option("--replace", is_flag=True, help="In place of the model that has this name")
def add(name: str, replace: bool, aliases: tuple[str, ...], **settings: Any) -> None:
    """Add the GGUF file PATH as the model NAME, after a look into all its files"""
    entries = _entries()
    if not name.strip() or name.startswith("-"):
        raise click.BadParameter("a name is needed", param_hint="NAME")
    if name in entries and not replace:
        raise click.ClickException(f"there is a model {name} already; --replace takes its place")
    if settings["value_model"] and not settings["value_head"]:
        raise click.UsageError("--value-model belongs to --value-head")
    entry = Entry(aliases=list(aliases), **settings)
    try:
        loaded = Loaded(entry)
        loaded.request([{"role": "user", "content": "Hello"}], 1.0, None)
    except (ivg.Error, OSError) as error:
        raise click.ClickException(str(error)) from None
    entries[name] = entry
    write_entries(entries)
    click.echo(f"Added {name}: {_described(loaded.model)}")


def _described(model: ivg.Model) -> str:
    info = model.info
    return f"{info.architecture}, {info.parameter_count / 1e6:.0f}M parameters, context {info.context_length}"


@ivg_group.command(name="list")
def list_models() -> None:
    """List the models and their files"""
    entries = _entries()
    if not entries:
        click.echo(f"No models in {config_path()}; llm ivg add NAME FILE.gguf")
    for name, entry in entries.items():
        click.echo(", ".join([name, *entry.aliases]))
        for field in dataclasses.fields(entry):
            value = getattr(entry, field.name)
            if field.name == "aliases" or value is None or value is False:
                continue
            missing = "  (missing)" if field.name in _FILES and not Path(value).exists() else ""
            click.echo(f"  {field.name.replace('_', '-')}: {value}{missing}")


@ivg_group.command()
@click.argument("name")
def remove(name: str) -> None:
    """Forget the model NAME; its files stay"""
    entries = _entries()
    if entries.pop(name, None) is None:
        raise click.ClickException(f"there is no model {name}: {', '.join(entries) or 'none at all'}")
    write_entries(entries)
    click.echo(f"Removed {name}")


def add_commands(cli: click.Group) -> None:
    """Puts the group into llm's command line."""
    cli.add_command(ivg_group)
