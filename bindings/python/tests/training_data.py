"""Data to train on: an answer that ends with "good" is better than the same with "bad"."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ivg.train import Report, Trainer

Records = list[dict[str, Any]]
_WORDS = ["film", "plot", "actor", "scene", "music", "story", "end", "cast"]


def pairs(count: int, words: int = 4, seed: int = 1) -> Records:
    """Preferences."""
    source = random.Random(seed)
    found = []
    for number in range(count):
        text = "".join(f" {source.choice(_WORDS)}" for _ in range(words))
        found.append({"prompt": f"Say {number}", "chosen": f"{text} good", "rejected": f"{text} bad"})
    return found


def completions(count: int, words: int = 4) -> Records:
    """The chosen answers."""
    return [{"prompt": pair["prompt"], "completion": pair["chosen"]} for pair in pairs(count, words)]


def rewarded(count: int, words: int = 4) -> Records:
    """Both answers, with rewards."""
    return [
        {"prompt": pair["prompt"], "completion": pair[name], "reward": float(name == "chosen")}
        for pair in pairs(count // 2, words)
        for name in ("chosen", "rejected")
    ]


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """JSON Lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def saved(trainer: Trainer, folder: Path) -> bytes:
    """What the trainer writes now."""
    path = folder / "saved.gguf"
    trainer.save(path)
    return path.read_bytes()


def finished(trainer: Trainer, folder: Path) -> bytes:
    """Trains to the end."""
    with trainer:
        trainer.run()
        return saved(trainer, folder)


def of_kind(reports: Iterable[Report], kind: str) -> list[Report]:
    """The reports of one kind."""
    return [report for report in reports if report.kind == kind]


def read_log(path: Path) -> Records:
    """The objects of a log, which must be strict JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {path}")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
