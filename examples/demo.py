#!/usr/bin/env python3
"""One prompt, one seed, four ways to generate: plain, EFTi, CBS and IVG, side by side, with their values.

    python examples/demo.py [MODEL] [--max-tokens N] [--seed N] [--plain]

"Better" means a friendlier film review. Three small files that `examples/sentiment` trained say so: an adapter that
knows the domain (untuned), one that was taught the preference from there (tuned), and a head that values every
beginning of a text.

    plain   reviews as the model writes them
    EFTi    log p(tuned) - log p(untuned) changes every token's distribution
    CBS     after every five tokens the four of sixteen rows that the head values most go on
    IVG     both at once
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import ivg

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / ".build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
GUIDES = HERE / "sentiment" / "models"
PROMPT = "I saw this film last night. It was"
# The model reads this; guides read the bare prompt.
TEMPLATE = "Here is a movie review from imdb: {prompt}"


def methods(model: ivg.Model) -> dict[str, ivg.Guidance | None]:
    """The four, with guides on the model's own trunk: one pass over its weights serves all of them."""
    tuned, untuned = (model.adapter(GUIDES / name) for name in ("tuned-dpo.gguf", "untuned-sft.gguf"))
    implicit = ivg.Implicit(tuned=tuned, untuned=untuned, role="tilt")
    explicit = ivg.Explicit(model.value_head(GUIDES / "value-fudge.gguf"), role="score")
    search = ivg.ChunkBeamSearch(width=4, successors=4, chunk=5)
    return {
        "plain": None,
        "EFTi": ivg.Guidance(implicit=implicit),
        "CBS": ivg.Guidance(explicit=explicit, search=search),
        "IVG": ivg.Guidance(implicit=implicit, explicit=explicit, search=search),
    }


class Run:
    """One method at work, in a session of its own; all sessions share the model's memory."""

    def __init__(self, model: ivg.Model, name: str, guidance: ivg.Guidance | None, options: argparse.Namespace) -> None:
        self.name = name
        self.text = ""
        self.session = model.session()
        self.judge = ivg.Explicit(model.value_head(GUIDES / "value-fudge.gguf"), role="score")
        self.stream = self.session.stream(
            PROMPT, template=TEMPLATE, guidance=guidance, max_tokens=options.max_tokens, seed=options.seed
        )

    def advance(self) -> str | None:
        """The next piece of text; None at the end."""
        step = next(self.stream, None)
        if step is None:
            return None
        self.text += step.text
        return step.text

    def value(self) -> float:
        """Every text is measured in the same way, however it came about."""
        return self.session.score(self.judge, PROMPT, [self.text], ended=False)[0]

    def summary(self) -> str:
        done = self.stream.completion
        return f"value {self.value():+.2f} · {done.tokens_per_second:.0f} tokens/s over all rows"


def side_by_side(console: Console, model: ivg.Model, options: argparse.Namespace) -> None:
    """All four take turns and grow in columns."""
    runs = [Run(model, name, guidance, options) for name, guidance in methods(model).items()]
    running = list(runs)
    summaries: dict[str, str] = {}

    def panels() -> Table:
        grid = Table.grid(expand=True)
        for _ in runs:
            grid.add_column(ratio=1)
        grid.add_row(
            *(
                Panel(Text.assemble((PROMPT, "dim"), run.text), title=run.name, subtitle=summaries.get(run.name))
                for run in runs
            )
        )
        return grid

    with Live(panels(), console=console, refresh_per_second=12) as live:
        while running:
            for run in list(running):
                if run.advance() is None:
                    running.remove(run)
                    summaries[run.name] = f"value {run.value():+.2f}"
                live.update(panels())


def one_by_one(model: ivg.Model, options: argparse.Namespace) -> None:
    """One after the other, with labels."""
    for name, guidance in methods(model).items():
        run = Run(model, name, guidance, options)
        print(f"{name}: {PROMPT}", end="", flush=True)
        while (piece := run.advance()) is not None:
            print(piece, end="", flush=True)
        print(f"\n  [{run.summary()}]\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL)
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="no columns, also on a terminal")
    options = parser.parse_args()
    console = Console()
    with ivg.Model(options.model) as model:
        print(f"{model.info.name or model.info.path}, {ivg.kernels_name()} kernels, seed {options.seed}\n")
        if console.is_terminal and not options.plain:
            side_by_side(console, model, options)
        else:
            one_by_one(model, options)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
