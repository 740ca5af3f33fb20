#!/usr/bin/env python3
"""One prompt, one seed, four ways to generate: plain, EFTi, CBS and IVG, side by side, with their values.

    python examples/demo.py [MODEL] [--max-tokens N] [--seed N] [--plain]

"Better" is said by a prompt contrast, which needs no training: the same model reads the text once as an
enthusiastic reviewer (tuned) and once as a neutral one (untuned). The value of a text is the sum over its
tokens of log p(tuned) - log p(untuned).

    plain   the neutral reviewer
    EFTi    the value changes every token's distribution
    CBS     after every five tokens the best four of sixteen rows go on
    IVG     both at once. In full IVG a trained value model would choose the rows; here the prompt pair does that too
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import ivg

MODEL = Path(__file__).resolve().parent.parent / ".build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT = "I saw this film last night. It was"


def template(who: str, task: str) -> str:
    """A prompt template in the chat format of the model, which begins its answer with the prompt."""
    system, user = f"<|im_start|>system\nYou are {who}.<|im_end|>\n", f"<|im_start|>user\n{task}<|im_end|>\n"
    return system + user + "<|im_start|>assistant\n{prompt}"


NEUTRAL = template("a film reviewer", "Write a short review of a film.")
ENTHUSIASTIC = template(
    "an enthusiastic reviewer", "Write an enthusiastic five-star review, full of praise, of a brilliant film."
)


def value(role: str | None = None) -> ivg.Implicit:
    """The prompt contrast: no model is named, so both are the model that generates."""
    return ivg.Implicit(tuned_template=ENTHUSIASTIC, untuned_template=NEUTRAL, role=role)


SEARCH = ivg.ChunkBeamSearch(width=4, successors=4, chunk=5)
METHODS = {
    "plain": None,
    "EFTi": ivg.Guidance(implicit=value("tilt")),
    "CBS": ivg.Guidance(implicit=value("score"), search=SEARCH),
    "IVG": ivg.Guidance(implicit=value("both"), search=SEARCH),
}


class Run:
    """One method at work, in a session of its own; all sessions share the model's memory."""

    def __init__(self, model: ivg.Model, name: str, options: argparse.Namespace) -> None:
        self.name = name
        self.text = ""
        self.session = model.session()
        self.stream = self.session.stream(
            PROMPT, template=NEUTRAL, guidance=METHODS[name], max_tokens=options.max_tokens, seed=options.seed
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
        ended = self.stream.completion.finish_reason != "length"
        return self.session.score(value(), PROMPT, [self.text], ended=ended)[0]

    def summary(self) -> str:
        done = self.stream.completion
        return f"value {self.value():+.2f} · {done.tokens_per_second:.0f} tokens/s over all rows"


def side_by_side(console: Console, model: ivg.Model, options: argparse.Namespace) -> None:
    """All four take turns and grow in columns."""
    runs = [Run(model, name, options) for name in METHODS]
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
    for name in METHODS:
        run = Run(model, name, options)
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
