"""Curves of training, from the logs that training writes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from ._errors import InvalidArgumentError
from ._records import read_records

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The figures of a log that are drawn, with the titles of their panels.
METRICS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "margin": "margin",
    "kl": "KL to the reference",
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "tokens_per_second": "tokens/s",
}
Points = list[tuple[float, float]]
#: Of one log: the points of each metric, by the kind of line that they come from.
Curves = dict[tuple[str, str], Points]


def figure_of(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, which is drawn without a screen."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"drawing needs matplotlib, which cannot be imported ({error})\n     pip install 'ivg[plot]'"
        ) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def read_log(path: str | os.PathLike[str]) -> Curves:
    """The curves in a log: JSON Lines with "kind" ("train" or "evaluate"), "step", and any of `METRICS`.

    Fields that are missing or null are skipped, and so is a last line that is still being written.
    """
    curves: Curves = {}
    for number, record in read_records(Path(path), torn=True):
        kind, step = record.get("kind"), record.get("step")
        if kind not in ("train", "evaluate"):
            continue
        if not _is_number(step):
            raise InvalidArgumentError(f'{path}:{number}: "step" is {step!r}, not a number')
        for metric in METRICS:
            value = record.get(metric)
            if value is None:
                continue
            if not _is_number(value):
                raise InvalidArgumentError(f'{path}:{number}: "{metric}" is {value!r}, not a number')
            if math.isfinite(value):
                curves.setdefault((metric, kind), []).append((float(step), float(value)))
    if not curves:
        raise InvalidArgumentError(f'{path} holds no lines of the kinds "train" and "evaluate" with figures to draw')
    return curves


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def smooth(values: Sequence[float], span: float) -> list[float]:
    """An exponential moving average over about `span` values, without the lag of a start at zero."""
    keep = 1 - 2 / (max(span, 1.0) + 1)
    total, weight, found = 0.0, 0.0, []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        found.append(total / weight)
    return found


def plot(logs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> None:
    """Draws the curves of training logs: `ivg.plot(["dpo.jsonl"], "dpo.png")`; `output` is a .png, .svg or .pdf.

    One panel for each figure that the logs have. Training is a line, smoothed where there are many points, over the
    faint raw one; evaluations are dots. Several logs share the panels.
    """
    found = dict(zip(_labels(logs), map(read_log, logs), strict=True))
    metrics = [name for name in METRICS if any((name, kind) in c for c in found.values() for kind in _KINDS)]
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    figure = figure_of(4.2 * columns, 2.9 * rows + 0.3)
    panels = [panel for line in figure.subplots(rows, columns, squeeze=False) for panel in line]
    for panel in panels[len(metrics) :]:
        panel.remove()
    for panel, metric in zip(panels, metrics, strict=False):
        _draw(panel, metric, found)
    if len(found) > 1 or any(kind == "evaluate" for curves in found.values() for _, kind in curves):
        handles = {label: handle for panel in panels[: len(metrics)] for handle, label in _legend(panel)}
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=4, fontsize=8, frameon=False
        )
    try:
        figure.savefig(output, dpi=140)
    except ValueError as error:  # an ending that matplotlib does not know
        raise InvalidArgumentError(f"{os.fspath(output)}: {error}") from None


_KINDS = ("train", "evaluate")


def _labels(logs: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Names for logs: of the file, with as many folders as tell it from the others."""
    if not logs:
        raise InvalidArgumentError("there are no logs to draw")
    parts = [Path(log).with_suffix("").parts for log in logs]
    depth = 1
    while depth < max(map(len, parts)) and len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    labels = ["/".join(part[-depth:]) for part in parts]
    return [label if labels.count(label) == 1 else f"{label} ({i})" for i, label in enumerate(labels, 1)]


def _draw(panel: Axes, metric: str, logs: Mapping[str, Curves]) -> None:
    """One panel."""
    for i, (label, curves) in enumerate(logs.items()):
        colour = f"C{i}"
        if (metric, "train") in curves:
            steps, values = zip(*curves[metric, "train"], strict=True)
            if len(values) >= 20 and metric != "learning_rate":
                panel.plot(steps, values, color=colour, alpha=0.2, lw=0.8)
                values = tuple(smooth(values, len(values) / 20))
            panel.plot(steps, values, color=colour, lw=1.4, label=label)
        if (metric, "evaluate") in curves:
            steps, values = zip(*curves[metric, "evaluate"], strict=True)
            panel.plot(steps, values, "o", color=colour, ms=5, mec="white", label=f"{label}, evaluation")
    panel.set_title(METRICS[metric], fontsize=10)
    panel.set_xlabel("step", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(color="#e5e5e5")
    panel.spines[["top", "right"]].set_visible(False)


def _legend(panel: Axes) -> list[tuple[Artist, str]]:
    handles, labels = panel.get_legend_handles_labels()
    return list(zip(handles, labels, strict=True))
