"""The command line `ivg`, with typer and rich."""

from __future__ import annotations

from typing import Annotated

import typer

import ivg
from ivg._cli_bench import bench
from ivg._cli_common import write
from ivg._cli_convert import convert
from ivg._cli_evaluate import evaluate
from ivg._cli_generate import generate
from ivg._cli_inspect import inspect
from ivg._cli_plot import plot
from ivg._cli_prefer import prefer
from ivg._cli_quantize import quantize
from ivg._cli_score import score
from ivg._cli_tokens import detokenize, logits, tokenize
from ivg._cli_train import train

app = typer.Typer(
    name="ivg",
    help="Value-guided text generation on an ordinary CPU.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for command in (
    *(generate, tokenize, detokenize, logits, inspect, score, bench),
    *(prefer, evaluate, plot, convert, quantize),
):
    app.command()(command)
app.add_typer(train)


def _print_version(wanted: bool) -> None:
    if wanted:
        write(f"ivg {ivg.__version__}, libivg {ivg.library_version()}, {ivg.kernels_name()} kernels\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions and exit.")
    ] = False,
) -> None:
    """Value-guided text generation on an ordinary CPU."""


def run() -> None:
    """Runs the command line with the process's arguments; exits."""
    app()
