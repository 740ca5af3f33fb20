"""`ivg evaluate`: the methods of guided generation, compared."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

import ivg
from ivg._cli_common import (
    Budget,
    ContextLength,
    Failure,
    Threads,
    Tuned,
    TunedPrompt,
    Untuned,
    UntunedPrompt,
    following,
    guide_of,
    head_of,
    reporting,
    write,
)
from ivg._cli_data import (
    Force,
    Limit,
    PromptsFile,
    PromptsPerBatch,
    ScorerReadsAll,
    ScorerTemplate,
    ScorerTimeout,
    batch_size,
    progress_bar,
)
from ivg._evaluate import METHODS, EvaluationOptions, Guides, SearchOptions
from ivg._evaluate.methods import USUAL
from ivg._evaluate.report import TABLE_HEAD, as_markdown, table_cells
from ivg._evaluate.run import evaluate as run_evaluation
from ivg._records import Record, read_prompts


def evaluate(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Base models, GGUF files.", show_default=False)
    ],
    prompts: PromptsFile,
    scorer: Annotated[
        str,
        typer.Option(
            "--scorer",
            metavar="CMD",
            help="The gold scorer: a shell command that reads one JSON string a line and prints one number a line.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder for the results.", show_default=False)
    ],
    methods: Annotated[str, typer.Option(metavar="A,B,...", help=f"Of {', '.join(METHODS)}.")] = ",".join(USUAL),
    guide_model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The model that adapters and heads are for; without one, MODEL."),
    ] = None,
    tuned: Tuned = None,
    tuned_prompt: TunedPrompt = None,
    untuned: Untuned = None,
    untuned_prompt: UntunedPrompt = None,
    value_head: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The value head, for the explicit methods."),
    ] = None,
    base_prefix: Annotated[str, typer.Option(help="What MODEL sees before the prompt.")] = "",
    base_suffix: Annotated[str, typer.Option(help="What MODEL sees after the prompt.")] = "",
    guide_prefix: Annotated[str, typer.Option(help="What guides see before the prompt.")] = "",
    guide_suffix: Annotated[str, typer.Option(help="What guides see after the prompt.")] = "",
    chat: Annotated[
        bool, typer.Option("--chat", help="Prompts are messages: use chat templates, write model_outputs.json.")
    ] = False,
    width: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--width", "-W", min=1, help="Rows kept by chunk-level beam search; 4, for chat 2."),
    ] = None,
    successors: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--successors", "-K", min=1, help="Copies of each kept row; 4, for chat 2."),
    ] = None,
    chunk: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--chunk", "-L", min=0, help="Tokens between selections; 5, for chat 30."),
    ] = None,
    best_of: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--best-of", "-N", min=1, help="Rows of best of N; 16, for chat 4."),
    ] = None,
    weight: Annotated[str, typer.Option(metavar="W,...", help="Strength of the tilt; several make a sweep.")] = "1",
    explicit_weight: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="W,...", help="The same where --value-head tilts; without it, --weight."),
    ] = None,
    score_weight: Annotated[float, typer.Option(help="Factor of the scores of rows.")] = 1.0,
    max_tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Hard bound on generated tokens; 50, for chat 256."),
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the most probable token.")] = 0.7,
    top_k: Annotated[int, typer.Option(min=0, help="0: off.")] = 50,
    stop: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="S", help="End before this text; may be given several times."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same texts.")] = 1,
    limit: Limit = None,
    scorer_template: ScorerTemplate = "{prompt}{text}",
    scorer_timeout: ScorerTimeout = 120.0,
    scorer_reads_all: ScorerReadsAll = False,
    prompts_per_batch: PromptsPerBatch = 0,
    force: Force = False,
    threads: Threads = 0,
    context_length: ContextLength = 0,
    memory_budget: Budget = 0,
) -> None:
    """Compare methods of guided generation by a gold scorer.

    Writes into DIR: generations.jsonl (every text with its gold reward), table.json and table.md (mean gold reward with
    its bootstrap interval, wins against Base, KL to base, perplexity, length, distinct-n, speed), figure.png, and for
    chat AlpacaEval's model_outputs.json. Run again with the same options, it does what is missing; methods, prompts
    and --limit may grow.
    """
    with reporting(), contextlib.ExitStack() as stack:
        options = EvaluationOptions(
            methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
            search=_search(chat, (width, successors, chunk, best_of), weight, explicit_weight, score_weight),
            sampling=ivg.SamplingOptions(
                max_tokens=max_tokens or (256 if chat else 50), temperature=temperature, top_k=top_k, stop=stop or []
            ),
            seed=seed,
            chat=chat,
            prefix=base_prefix,
            suffix=base_suffix,
            prompts_per_batch=batch_size(prompts_per_batch, scorer_reads_all),
        )
        asked = read_prompts(prompts, limit)
        bases, trunk = _models(models, guide_model)
        _check_trunk(bases, guide_model, [path for path in (tuned, untuned, value_head) if path is not None])
        guides = Guides(
            model=trunk,
            tuned=None if tuned is None else guide_of(trunk or bases[0], tuned, "--tuned"),
            untuned=None if untuned is None else guide_of(trunk or bases[0], untuned, "--untuned"),
            tuned_prompt=following(tuned_prompt),
            untuned_prompt=following(untuned_prompt),
            value_head=None if value_head is None else head_of(trunk or bases[0], value_head, "--value-head"),
            prefix=guide_prefix,
            suffix=guide_suffix,
        )
        _say_what_is_skipped(options, guides)
        gold = ivg.CommandScorer(scorer, timeout=scorer_timeout, template=scorer_template, reads_all=scorer_reads_all)
        stack.enter_context(gold)
        show = stack.enter_context(progress_bar("evaluating"))
        rows = run_evaluation(
            bases,
            asked,
            gold,
            output,
            guides=guides,
            options=options,
            settings={"scorer": scorer, "scorer_template": scorer_template},
            force=force,
            threads=threads,
            context_length=context_length or None,
            memory_budget=memory_budget or None,
            progress=lambda done, total, label, value: show(done, total, f"{label} {value:+.2f}"),
        )
        stack.close()
        _show_table(rows, output, options)
        _draw(rows, output)


def _weights(option: str, text: str) -> tuple[float, ...]:
    """The strengths in a list with commas."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise Failure(f"{option}: {text!r} is not a number, nor several with commas between them") from None
    if len(set(found)) != len(found) or not all(map(math.isfinite, found)):
        raise Failure(f"{option}: {text} must be finite numbers, each of them once")
    return found


def _search(
    chat: bool, given: tuple[int | None, ...], weight: str, explicit_weight: str | None, score_weight: float
) -> SearchOptions:
    """W, K, L and N as given, or as the paper has them for chat and for short text."""
    usual = (2, 2, 30, 4) if chat else (4, 4, 5, 16)
    width, successors, chunk, best_of = (b if a is None else a for a, b in zip(given, usual, strict=True))
    return SearchOptions(
        width=width,
        successors=successors,
        chunk=chunk,
        best_of=best_of,
        weights=_weights("--weight", weight),
        explicit_weights=None if explicit_weight is None else _weights("--explicit-weight", explicit_weight),
        score_weight=score_weight,
    )


def _models(paths: list[Path], guide_model: Path | None) -> tuple[list[ivg.Model], ivg.Model | None]:
    """The base models and the guide model. One file is opened once, so that its rows share each pass."""
    bases = [ivg.Model(path) for path in paths]
    if guide_model is None:
        return bases, None
    same = [base for base, path in zip(bases, paths, strict=True) if path.exists() and path.samefile(guide_model)]
    return bases, same[0] if same else ivg.Model(guide_model)


def _check_trunk(bases: list[ivg.Model], guide_model: Path | None, files: list[Path]) -> None:
    """Adapters and heads fit one model, so that with several base models it must be named."""
    if len(bases) == 1 or guide_model is not None:
        return
    for path in files:
        with ivg.File(path) as file:
            if file.kind != "model":
                raise Failure(f"{path} is for one model: with several base models pass --guide-model FILE")


def _say_what_is_skipped(options: EvaluationOptions, guides: Guides) -> None:
    needed = {"implicit": "--tuned FILE or --tuned-prompt TEXT", "explicit": "--value-head FILE"}
    for name in options.methods:
        method = METHODS.get(name)
        missing = sorted(method.needs - guides.has) if method is not None else []
        if missing:
            print(f"ivg: {name} is skipped: it needs {' and '.join(needed[kind] for kind in missing)}", file=sys.stderr)


def _show_table(rows: list[Record], output: Path, options: EvaluationOptions) -> None:
    """Shows the table on a terminal, and as Markdown elsewhere."""
    if not sys.stdout.isatty():
        write(as_markdown(rows, options))
        return
    for model in dict.fromkeys(row["model"] for row in rows):
        table = Table(*TABLE_HEAD, title=model, box=None, header_style="bold")
        for row in rows:
            if row["model"] == model:
                table.add_row(*table_cells(row))
        Console().print(table)
    write(f"{output / 'table.md'}\n")


def _draw(rows: list[Record], output: Path) -> None:
    """Draws the figure. Without matplotlib there is none, but everything else is there."""
    try:
        ivg.plot_methods(rows, output / "figure.png")
    except ImportError as error:
        print(f"ivg: no figure.png: {error}", file=sys.stderr)
