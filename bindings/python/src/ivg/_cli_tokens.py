"""`ivg tokenize`, `detokenize` and `logits`: what a model makes of a text."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Optional

import typer

import ivg
from ivg._cli_common import Json, ModelFile, Prompt, Threads, reporting, write, write_json


def tokenize(
    model: ModelFile,
    text: Annotated[str, typer.Argument(help="The text; - reads standard input byte for byte.", show_default=False)],
    special: Annotated[
        bool,
        typer.Option("--special/--no-special", help="Parse special tokens, and put BOS where the file asks for it."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Turn text into token ids."""
    with reporting():
        data = sys.stdin.buffer.read() if text == "-" else os.fsencode(text)
        ids = ivg.Model(model).tokenize(data, special=special, begin=special)
        if as_json:
            write_json({"ids": ids})
        else:
            write(" ".join(map(str, ids)) + "\n")


def detokenize(
    model: ModelFile,
    ids: Annotated[Optional[list[int]], typer.Argument(metavar="IDS...", show_default=False)] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Turn token ids into the bytes they stand for."""
    with reporting():
        data = ivg.Model(model).detokenize_bytes(ids or [])
        if as_json:
            write_json({"text": data.decode("utf-8", "replace"), "bytes": data.hex()})
        else:
            write(data + (b"\n" if sys.stdout.isatty() else b""))


def logits(
    model: ModelFile,
    prompt: Prompt,
    top: Annotated[int, typer.Option(min=1, help="How many, largest first.")] = 10,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Print the largest logits of the token after a prompt."""
    with reporting():
        opened = ivg.Model(model, threads=threads)
        values = opened.logits(os.fsencode(prompt))
        largest = sorted(enumerate(values), key=lambda item: (-item[1], item[0]))[:top]
        if as_json:
            write_json(largest)
            return
        for token, value in largest:
            write(f"{token}\t{value:.4f}\t{opened.detokenize([token], continues=True)!r}\n")
