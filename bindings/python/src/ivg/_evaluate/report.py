"""What an evaluation leaves in its folder: the table, the figure, and AlpacaEval's files."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .._records import Prompt, Record, write_whole
from .methods import METHODS, Method, SearchOptions
from .metrics import bootstrap, differences, distinct, perplexity, selection_bound, win_rate

if TYPE_CHECKING:
    from .run import EvaluationOptions


def write_report(
    folder: Path, records: Sequence[Record], prompts: Sequence[Prompt], options: EvaluationOptions
) -> list[Record]:
    """Writes table.json, table.md and, for chat, AlpacaEval's files. Returns the rows of the table."""
    wanted = {prompt.id for prompt in prompts}
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record["id"] in wanted:
            groups.setdefault((record["model"], record["method"]), []).append(record)
    rows = []
    for model, label in sorted(groups, key=lambda key: (key[0], _place(key[1]))):
        base = groups.get((model, "Base"), [])
        rows.append(_row(model, label, groups[model, label], base, options))
    write_whole(folder / "table.json", json.dumps(rows, ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    write_whole(folder / "table.md", as_markdown(rows, options))
    if options.chat:
        _write_model_outputs(folder, groups)
    return rows


def _place(label: str) -> tuple[int, float]:
    """Where a row stands in the table: methods in their order, and strengths upwards."""
    name, _, weight = label.partition(" w=")
    return list(METHODS).index(name), float(weight or 0)


def _method(label: str) -> Method:
    return METHODS[label.partition(" w=")[0]]


def _row(model: str, label: str, own: list[Record], base: list[Record], options: EvaluationOptions) -> Record:
    """The figures of one method on one base model."""
    gold = {record["id"]: float(record["gold"]) for record in own}
    gaps = differences(gold, {record["id"]: float(record["gold"]) for record in base})
    reward = bootstrap(list(gold.values()), options.seed, options.resamples)
    above = bootstrap(gaps, options.seed, options.resamples) if gaps else None
    texts = [record["text"] for record in own]
    possible = [record for record in own if record["base_log_probability"] is not None]
    seconds = sum(record["seconds"] for record in own)
    return {
        "model": model,
        "method": label,
        "prompts": len(own),
        "gold": reward._asdict(),
        "above_base": above._asdict() if above is not None else None,
        "win_rate": win_rate(gaps) if gaps else None,
        **divergence(_method(label), options.search, possible),
        "perplexity": _finite(
            perplexity((r["base_log_probability"] for r in possible), (r["tokens"] for r in possible))
        ),
        "tokens": statistics.fmean(record["tokens"] for record in own),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
        "tokens_per_second": sum(record["tokens"] for record in own) / seconds if seconds > 0 else None,
    }


def divergence(method: Method, search: SearchOptions, own: Sequence[Record]) -> Record:
    """What is known of the KL divergence of a method's texts to the base.

    A tilt adds the mean of log pi(y) - log pi_base(y) over the texts that were drawn, both at temperature 1 and
    without truncation: with those settings an estimate of the divergence itself. A search adds the bound of
    `selection_bound`, and then the sum is an upper bound: log pi = (log pi - log pi_tilted) + log pi_tilted.
    """
    tilted = 0.0
    if not own:
        return {"kl": None, "kl_is_bound": method.search is not None}
    if method.tilt is not None:
        tilted = statistics.fmean(record["log_probability"] - record["base_log_probability"] for record in own)
    selected = statistics.fmean(selection_bound(method, search, record["tokens"]) for record in own)
    return {"kl": tilted + selected, "kl_is_bound": method.search is not None}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


TABLE_HEAD = (
    *("Method", "Prompts", "Gold reward", "Above Base", "Wins", "KL to base", "Perplexity"),
    *("Tokens", "Distinct-1", "Distinct-2", "Tokens/s"),
)
_NONE = "\N{EN DASH}"
_NOTES = """
* Gold reward: the mean over prompts with its 95 % bootstrap interval. Above Base: the same of the difference to Base
  on each prompt.
* Wins: how often a method's gold reward is above that of Base on the same prompt; ties count half.
* KL to base, in nats per text. EFT: an estimate, the mean of log p(guided) - log p(base) over the texts drawn, both
  at temperature 1 and untruncated. Searches: an upper bound, marked "≤": log N - (N-1)/N for best of N, log W + C log K
  for chunk-level beam search with C chunks, and where a tilt is searched its estimate beside that.
* Perplexity: of the texts under the base, which saw the same prompt. Distinct-n: different word n-grams over all.
* Tokens/s: of the text that comes out, all rows of a search and the reading of the prompt included.
"""


def as_markdown(rows: Sequence[Record], options: EvaluationOptions) -> str:
    """The table for people."""
    several = len({row["model"] for row in rows}) > 1
    head = ["Model"] * several + list(TABLE_HEAD)
    lines = [head, ["---"] * (several + 1) + ["--:"] * (len(head) - several - 1)]
    lines += [[row["model"]] * several + table_cells(row) for row in rows]
    search = options.search
    how = f"W={search.width} K={search.successors} L={search.chunk}, best of {search.best_of}"
    drawn = options.sampling
    how += f", at most {drawn.max_tokens} tokens, temperature {drawn.temperature:g}, top-k {drawn.top_k}"
    title = "Gold rewards of guided generation" if several or not rows else f"Guided generation from {rows[0]['model']}"
    return (
        f"# {title}\n\n{how}, seed {options.seed}.\n\n"
        + "".join(f"| {' | '.join(line)} |\n" for line in lines)
        + _NOTES
    )


def table_cells(row: Record) -> list[str]:
    """One row as text, from the method on."""
    above, wins = row["above_base"], row["win_rate"]
    return [
        row["method"],
        str(row["prompts"]),
        _interval(row["gold"]),
        _NONE if above is None else _interval(above, "+"),
        _NONE if wins is None else f"{wins:.0%}",
        _NONE if row["kl"] is None else ("≤ " if row["kl_is_bound"] else "") + f"{row['kl']:.2f}",
        _NONE if row["perplexity"] is None else f"{row['perplexity']:.1f}",
        f"{row['tokens']:.1f}",
        f"{row['distinct_1']:.3f}",
        f"{row['distinct_2']:.3f}",
        _NONE if row["tokens_per_second"] is None else f"{row['tokens_per_second']:.0f}",
    ]


def _interval(value: Mapping[str, float], sign: str = "") -> str:
    return f"{value['mean']:{sign}.2f} [{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]"


def _write_model_outputs(folder: Path, groups: dict[tuple[str, str], list[Record]]) -> None:
    """AlpacaEval's model_outputs.json, in a folder for each method as in its own `results`."""
    several = len({model for model, _ in groups}) > 1
    for (model, label), records in groups.items():
        generator = f"{model} {label}" if several else label
        outputs = [
            {"instruction": record["prompt"], "output": record["text"], "generator": generator} for record in records
        ]
        place = folder / "alpaca_eval" / re.sub(r"[^A-Za-z0-9+._=-]+", "_", generator)
        place.mkdir(parents=True, exist_ok=True)
        write_whole(place / "model_outputs.json", json.dumps(outputs, ensure_ascii=False, indent=1) + "\n")
