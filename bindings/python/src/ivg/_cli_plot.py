"""`ivg plot`: curves of training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ivg._cli_common import reporting
from ivg._plot import plot as draw


def plot(
    logs: Annotated[list[Path], typer.Argument(metavar="LOG...", help="Logs of training, JSON Lines.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="A .png, .svg or .pdf.", show_default=False)
    ],
) -> None:
    """Draw curves from the logs of training: loss, accuracy, margin, KL, and what else is in them.

    Several logs are drawn over each other. Needs matplotlib: pip install 'ivg[plot]'.
    """
    with reporting():
        draw(logs, output)
