"""Curves of training logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_cli import run

import ivg
from ivg import _plot
from ivg._plot import _labels, read_log, smooth


def log(folder: Path, *lines: Any, name: str = "log.jsonl", tail: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return path


def noting(figures: list[Any]) -> Callable[[float, float], Any]:
    """`figure_of`, which notes what it made."""
    make = _plot.figure_of

    def figure_of(width: float, height: float) -> Any:
        figures.append(make(width, height))
        return figures[-1]

    return figure_of


def train(step: int, **values: Any) -> dict[str, Any]:
    return {"kind": "train", "step": step, **values}


def test_reading(tmp_path: Path) -> None:
    path = log(
        tmp_path,
        {"kind": "prepare", "step": 0, "loss": 9},
        train(1, loss=0.7, accuracy=None, other="x"),
        train(2, loss=0.5, kl=0.1),
        {"kind": "evaluate", "step": 2, "loss": 0.6},
        train(3, loss=float("nan")),
        tail='{"kind": "train", "ste',
    )
    assert read_log(path) == {
        ("loss", "train"): [(1, 0.7), (2, 0.5)],
        ("kl", "train"): [(2, 0.1)],
        ("loss", "evaluate"): [(2, 0.6)],
    }


def test_logs_that_are_none(tmp_path: Path) -> None:
    for lines, message in (
        ([], "holds no lines"),
        ([{"kind": "prepare", "step": 1, "loss": 1}], "holds no lines"),
        ([train(1)], "holds no lines"),
        ([train(1, loss=1), 3], ":2: not a JSON object"),
        ([train(1, loss="low")], ":1: \"loss\" is 'low', not a number"),
        ([{"kind": "train", "loss": 1}], ':1: "step" is None'),
    ):
        with pytest.raises(ivg.InvalidArgumentError, match=message):
            read_log(log(tmp_path, *lines))


def test_smoothing() -> None:
    assert smooth([3.0] * 9, 4) == pytest.approx([3.0] * 9)
    assert smooth([1.0, 2.0, 5.0], 1) == [1, 2, 5]
    # A span of 3 keeps half: (1), (2 + 1/2)/(1 + 1/2), (5 + 2/2 + 1/4)/(1 + 1/2 + 1/4)
    assert smooth([1.0, 2.0, 5.0], 3) == pytest.approx([1, 5 / 3, 25 / 7])


def test_labels() -> None:
    assert _labels(["a/dpo.jsonl", "a/sft.jsonl"]) == ["dpo", "sft"]
    assert _labels(["x/a/log.jsonl", "x/b/log.jsonl"]) == ["a/log", "b/log"]
    assert _labels(["log.jsonl", "log.jsonl"]) == ["log (1)", "log (2)"]


def test_what_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One panel a figure that there is, lines for training, dots for evaluations, a legend for several logs."""
    pytest.importorskip("matplotlib")
    figures: list[Any] = []
    monkeypatch.setattr(_plot, "figure_of", noting(figures))
    one = log(tmp_path, *(train(i, loss=1 / i) for i in range(1, 6)), {"kind": "evaluate", "step": 5, "accuracy": 0.75})
    two = log(tmp_path, *(train(i, loss=2 / i, kl=i) for i in range(1, 31)), name="two.jsonl")
    ivg.plot([one, two], tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    [figure] = figures
    panels = {panel.get_title(): panel for panel in figure.axes}
    assert list(panels) == ["loss", "accuracy", "KL to the reference"]
    first, raw, smoothed = panels["loss"].lines
    assert list(first.get_ydata()) == [1 / i for i in range(1, 6)]
    assert list(raw.get_ydata()) == [2 / i for i in range(1, 31)]
    assert list(smoothed.get_ydata()) == smooth([2 / i for i in range(1, 31)], 1.5)
    [dots] = panels["accuracy"].lines
    assert (dots.get_marker(), dots.get_linestyle(), list(dots.get_ydata())) == ("o", "None", [0.75])
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["log", "two", "log, evaluation"]


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = log(tmp_path, train(1, loss=1), train(2, loss=0.5))
    done = run("plot", path, "-o", tmp_path / "curves.svg")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"<svg" in (tmp_path / "curves.svg").read_bytes()
    wrong: list[tuple[list[str | Path], bytes]] = [
        ([path, "-o", tmp_path / "curves.xyz"], b"'xyz' is not supported"),
        ([tmp_path / "none", "-o", tmp_path / "x.png"], b"No such file"),
        ([log(tmp_path, name="empty"), "-o", tmp_path / "x.png"], b"holds no lines"),
        ([path, "-o", tmp_path / "no" / "x.png"], b"No such file"),
    ]
    for arguments, message in wrong:
        done = run("plot", *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert message in done.stderr


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log(tmp_path, train(1, loss=1))
    (tmp_path / "matplotlib.py").write_text("raise ImportError('none here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    done = run("plot", path, "-o", tmp_path / "x.png")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "ivg: drawing needs matplotlib, which cannot be imported (none here)",
        "     pip install 'ivg[plot]'",
    ]
