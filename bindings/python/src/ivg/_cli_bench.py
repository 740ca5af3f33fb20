"""`ivg bench`: how fast a model is."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Any

import typer

import ivg
from ivg._cli_common import Json, ModelFile, Threads, reporting, write, write_json


def bench(
    model: ModelFile,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 256,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to draw in each row.")] = 64,
    rows: Annotated[int, typer.Option(min=1, help="Rows that share the prompt.")] = 1,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Measure how fast MODEL reads a prompt and draws tokens, and where the time goes."""
    with reporting():
        base = ivg.Model(model)
        ids = base.tokenize("The quick brown fox jumps over the lazy dog. " * prompt_tokens)[:prompt_tokens]
        # Short texts of rare words make more tokens than words; whatever is missing is repeated.
        ids = (ids * prompt_tokens)[:prompt_tokens]
        found: dict[str, Any] = {"model": str(model), "kernels": ivg.kernels_name(), "rows": rows}
        with base.session(threads=threads, timings=True) as session:
            # The first time weights are fetched from the file.
            with session.sequence() as first:
                first.evaluate(ids)
            before = _phases(session.timings())
            with session.sequence() as second:
                start = time.perf_counter()
                second.evaluate(ids)
                seconds = time.perf_counter() - start
            after = _phases(session.timings())
            found["prompt"] = {"tokens": prompt_tokens, "tokens_per_second": prompt_tokens / seconds}
            found["prompt"]["seconds"] = {name: after[name] - before[name] for name in after}
        with base.session(threads=threads, timings=True) as session:
            search = ivg.Guidance(search=ivg.BestOf(rows)) if rows > 1 else None
            prompt = base.detokenize(ids)
            session.generate(prompt, guidance=search, max_tokens=1, seed=0, ignore_end=True)
            before = _phases(session.timings())
            done = session.generate(prompt, guidance=search, max_tokens=tokens + 1, seed=0, ignore_end=True)
            after = _phases(session.timings())
            found["decode"] = {"tokens": rows * tokens, "tokens_per_second": done.tokens_per_second}
            found["decode"]["seconds"] = {name: after[name] - before[name] for name in after}
        if as_json:
            write_json(found)
            return
        for name in ("prompt", "decode"):
            part = found[name]
            whole = sum(part["seconds"].values())
            write(f"{name}\t{part['tokens']} tokens\t{part['tokens_per_second']:.1f} tokens/s\n")
            for phase, seconds in part["seconds"].items():
                write(f"  {phase}\t{seconds * 1e3:.2f} ms\t{seconds / whole:.1%}\n")


def _phases(timings: ivg.Timings) -> dict[str, float]:
    return {name: value for name, value in dataclasses.asdict(timings).items() if not name.endswith("_count")}
