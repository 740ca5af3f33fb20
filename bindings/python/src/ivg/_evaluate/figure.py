"""The figure: gold rewards of all methods, in the style of the IVG paper's Figures 3 and 4."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .._plot import figure_of
from .._records import Record

# Methods of one kind have one colour: plain, token by token, best of N, chunk by chunk, both at once.
_COLOURS = (
    ("Base", "#8c8c8c"),
    ("BoN", "#b7d3ea"),
    ("EFTi+", "#3a76af"),
    ("EFTe+", "#3a76af"),
    ("EFT", "#f2b76a"),
    ("CBS", "#6fa8d6"),
    ("IVG", "#c44536"),
)


def plot_methods(rows: Sequence[Record], path: str | os.PathLike[str], value: str = "gold reward") -> None:
    """Draws the rows of a table: one panel for each base model, one bar with its interval for each method."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    most = max(sum(row["model"] == model for row in rows) for model in models)
    figure = figure_of(len(models) * max(3.2, 0.55 * most + 1), 3.4)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for panel, model in zip(panels, models, strict=True):
        some = [row for row in rows if row["model"] == model]
        means = [row["gold"]["mean"] for row in some]
        below = [row["gold"]["mean"] - row["gold"]["low"] for row in some]
        above = [row["gold"]["high"] - row["gold"]["mean"] for row in some]
        places = range(len(some))
        panel.bar(places, means, width=0.75, color=[_colour(row["method"]) for row in some], zorder=2)
        panel.errorbar(places, means, yerr=[below, above], fmt="none", ecolor="#222222", capsize=3, lw=1, zorder=3)
        panel.axhline(0, color="#222222", lw=0.8, zorder=1)
        panel.set_xticks(list(places), [row["method"] for row in some], rotation=40, ha="right", fontsize=8)
        panel.set_title(model, fontsize=9)
        panel.grid(axis="y", color="#e5e5e5", zorder=0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(value)
    figure.savefig(path, dpi=160)


def _colour(method: str) -> str:
    return next((colour for start, colour in _COLOURS if method.startswith(start)), "#6fa8d6")
