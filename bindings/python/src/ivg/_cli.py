"""The command line `ivg`, with typer and rich."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.table import Table

import ivg
from ivg._cli_common import (
    BaseSystem,
    Budget,
    Burst,
    ContextLength,
    Failure,
    GuideTemplate,
    Json,
    ModelFile,
    Nudger,
    NudgerSystem,
    NudgerTemplate,
    Prompt,
    RoleName,
    Threads,
    Threshold,
    Tuned,
    TunedPrompt,
    TunedRole,
    Untuned,
    UntunedPrompt,
    Value,
    ValueRole,
    Weight,
    colored,
    explicit_value,
    implicit_value,
    nudging_by,
    reporting,
    write,
    write_json,
)
from ivg._cli_convert import convert
from ivg._cli_evaluate import evaluate
from ivg._cli_plot import plot
from ivg._cli_prefer import prefer
from ivg._cli_quantize import quantize
from ivg._cli_train import train
from ivg._sampling import SamplingKeywords

app = typer.Typer(
    name="ivg",
    help="Value-guided text generation on an ordinary CPU.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def generate(
    model: ModelFile,
    prompt: Prompt,
    template: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="T", help="Prompt template of MODEL, with {prompt}."),
    ] = None,
    tuned: Tuned = None,
    tuned_prompt: TunedPrompt = None,
    untuned: Untuned = None,
    untuned_prompt: UntunedPrompt = None,
    weight: Weight = 1.0,
    tuned_role: TunedRole = None,
    value: Value = None,
    value_role: ValueRole = None,
    guide_template: GuideTemplate = None,
    nudger: Nudger = None,
    threshold: Threshold = 0.3,
    burst: Burst = 16,
    nudger_template: NudgerTemplate = None,
    nudger_system: NudgerSystem = None,
    base_system: BaseSystem = None,
    width: Annotated[int, typer.Option(min=0, help="W, rows kept by chunk-level beam search.")] = 0,
    successors: Annotated[int, typer.Option(min=0, help="K, copies of each kept row.")] = 0,
    chunk: Annotated[int, typer.Option(min=0, help="L, tokens between selections; 0: select at the end.")] = 0,
    best_of: Annotated[int, typer.Option(min=0, help="Draw N answers and take the best.")] = 0,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Of kept rows with equal text keep one.")] = False,
    tile: Annotated[bool, typer.Option("--tile", help="Copy finished rows like any other.")] = False,
    base_candidates: Annotated[bool, typer.Option("--base-candidates", help="Tilt only MODEL's own top-k.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Hard bound on generated tokens.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the most probable token.")] = 0.7,
    top_k: Annotated[int, typer.Option(min=0, help="0: off.")] = 50,
    top_p: Annotated[float, typer.Option(help="1: off.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="0: off.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="1: off.")] = 1.0,
    seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="The same seed gives the same text; without one, a random one."),
    ] = None,
    stop: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="S", help="End before this text; may be given several times."),
    ] = None,
    ignore_eos: Annotated[bool, typer.Option("--ignore-eos", help="Treat end tokens as ordinary ones.")] = False,
    attribution: Annotated[
        bool, typer.Option("--attribution", help="Report what model and guides thought of each token (with --json).")
    ] = False,
    threads: Threads = 0,
    context_length: ContextLength = 0,
    memory_budget: Budget = 0,
    as_json: Json = False,
) -> None:
    """Generate text, plainly or guided.

    With --tuned or --value alone, every token is guided. With --width, --successors and --chunk, or --best-of, rows
    are scored: by --value if it is given (then --tuned guides the tokens), else by --tuned. With --nudger, alone, a
    small tuned model writes the next words where MODEL is not sure; on a terminal they are coloured.
    """
    if best_of and (width or successors or chunk):
        raise typer.BadParameter("--best-of goes without --width, --successors and --chunk")
    with reporting():
        base = ivg.Model(model)
        implicit = implicit_value(
            base, tuned, tuned_prompt, untuned, untuned_prompt, guide_template, weight, tuned_role
        )
        explicit = explicit_value(base, value, guide_template, 1.0 if implicit else weight, value_role)
        search: ivg.BestOf | ivg.ChunkBeamSearch | None = None
        if best_of:
            search = ivg.BestOf(best_of)
        elif width or successors or chunk:
            search = ivg.ChunkBeamSearch(width or 1, successors or 1, chunk)
        nudging = nudging_by(base, nudger, threshold, burst, nudger_template, nudger_system, base_system)
        guidance = None
        if implicit or explicit or search or nudging:
            guidance = ivg.Guidance(
                implicit=implicit,
                explicit=explicit,
                search=search,
                nudging=nudging,
                finished_rows="tile" if tile else "pool",
                dedupe=dedupe,
                candidates="base" if base_candidates else "tilted",
            )
        options: SamplingKeywords = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
            "seed": seed,
            "stop": stop or [],
            "ignore_end": ignore_eos,
            "attribution": attribution,
        }
        question = os.fsencode(prompt)
        session = base.session(
            threads=threads, context_length=context_length or None, memory_budget=memory_budget or None
        )
        stream = session.stream(question, guidance=guidance, template=template, **options)
        for step in stream:
            if not as_json:
                write(colored(step, sys.stdout.isatty()))
        completion = stream.completion
        if as_json:
            write_json(_completion_json(base, completion, question, template))
        else:
            write("\n")
            if sys.stderr.isatty():
                _print_summary(completion, guidance)


def _completion_json(
    model: ivg.Model, completion: ivg.Completion, prompt: bytes, template: str | None
) -> dict[str, Any]:
    whole = prompt
    if template is not None:
        whole = os.fsencode(template).replace(b"{prompt}", prompt)
    return {
        **dataclasses.asdict(completion),
        "prompt_token_ids": model.tokenize(whole),
        "tokens_per_second": completion.tokens_per_second,
        "prompt_tokens_per_second": completion.prompt_tokens_per_second,
        "model": model.info.path,
        "kernels": ivg.kernels_name(),
    }


def _print_summary(completion: ivg.Completion, guidance: ivg.Guidance | None) -> None:
    parts = [f"{completion.finish_reason}", f"{completion.tokens_per_second:.1f} tokens/s", f"seed {completion.seed}"]
    if guidance is not None and guidance.scores:
        parts.insert(0, f"value {completion.score:.3f}")
    if completion.nudged_share is not None:
        parts.insert(0, f"nudged {completion.nudged_share:.0%}")
    Console(stderr=True).print(" · ".join(parts), style="dim", highlight=False)


@app.command()
def tokenize(
    model: ModelFile,
    text: Annotated[str, typer.Argument(help="The text; - reads standard input byte for byte.", show_default=False)],
    special: Annotated[
        bool,
        typer.Option("--special/--no-special", help="Parse special tokens, and put BOS where the file asks for it."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Turn text into token ids."""
    with reporting():
        data = sys.stdin.buffer.read() if text == "-" else os.fsencode(text)
        ids = ivg.Model(model).tokenize(data, special=special, begin=special)
        if as_json:
            write_json({"ids": ids})
        else:
            write(" ".join(map(str, ids)) + "\n")


@app.command()
def detokenize(
    model: ModelFile,
    ids: Annotated[Optional[list[int]], typer.Argument(metavar="IDS...", show_default=False)] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Turn token ids into the bytes they stand for."""
    with reporting():
        data = ivg.Model(model).detokenize_bytes(ids or [])
        if as_json:
            write_json({"text": data.decode("utf-8", "replace"), "bytes": data.hex()})
        else:
            write(data + (b"\n" if sys.stdout.isatty() else b""))


@app.command()
def logits(
    model: ModelFile,
    prompt: Prompt,
    top: Annotated[int, typer.Option(min=1, help="How many, largest first.")] = 10,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Print the largest logits of the token after a prompt."""
    with reporting():
        opened = ivg.Model(model, threads=threads)
        values = opened.logits(os.fsencode(prompt))
        largest = sorted(enumerate(values), key=lambda item: (-item[1], item[0]))[:top]
        if as_json:
            write_json(largest)
            return
        for token, value in largest:
            write(f"{token}\t{value:.4f}\t{opened.detokenize([token], continues=True)!r}\n")


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any GGUF file.", show_default=False)],
    elements: Annotated[int, typer.Option(min=0, help="How many elements of each metadata array to show.")] = 8,
    as_json: Json = False,
) -> None:
    """Show what is in a file: architecture, tensors, types, metadata."""
    with reporting(), ivg.File(file) as opened:
        metadata = opened.metadata(max_elements=elements)
        tensors = [dataclasses.asdict(tensor) for tensor in opened.tensors()]
        types: dict[str, int] = {}
        for tensor in tensors:
            types[tensor["type"]] = types.get(tensor["type"], 0) + 1
        found = {
            "path": str(file),
            "kind": opened.kind,
            "architecture": opened.architecture,
            "size": file.stat().st_size,
            "parameter_count": sum(math.prod(tensor["shape"]) for tensor in tensors),
            "types": types,
            "metadata": metadata,
            "tensors": tensors,
        }
        if as_json:
            write_json(found)
        elif sys.stdout.isatty():
            _print_tables(found)
        else:
            for key in ("kind", "architecture", "size", "parameter_count"):
                write(f"{key}\t{found[key]}\n")
            for key, item in metadata.items():
                write(f"{key}\t{json.dumps(item, ensure_ascii=False)}\n")
            for tensor in tensors:
                write(f"{tensor['name']}\t{tensor['type']}\t{'x'.join(map(str, tensor['shape']))}\n")


def _print_tables(found: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"{found['kind']} · {found['architecture']} · {found['parameter_count']:,} parameters"
        f" · {found['size']:,} bytes",
        highlight=False,
    )
    table = Table("metadata", "value", box=None, header_style="bold")
    for key, value in found["metadata"].items():
        text = json.dumps(value, ensure_ascii=False)
        table.add_row(key, text if len(text) < 200 else text[:200] + "…")
    console.print(table)
    table = Table("tensor", "type", "shape", "bytes", box=None, header_style="bold")
    for tensor in found["tensors"]:
        table.add_row(tensor["name"], tensor["type"], " x ".join(map(str, tensor["shape"])), f"{tensor['size']:,}")
    console.print(table)


@app.command()
def score(
    model: ModelFile,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", show_default=False)],
    prompt: Prompt,
    value: Value = None,
    tuned: Tuned = None,
    tuned_prompt: TunedPrompt = None,
    untuned: Untuned = None,
    untuned_prompt: UntunedPrompt = None,
    weight: Weight = 1.0,
    guide_template: GuideTemplate = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="The texts are beginnings: no end token after them.")
    ] = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Value texts as answers to a prompt: by --value, by --tuned against --untuned, or by both."""
    with reporting():
        base = ivg.Model(model, threads=threads)
        implicit = implicit_value(
            base, tuned, tuned_prompt, untuned, untuned_prompt, guide_template, weight, RoleName.score
        )
        explicit = explicit_value(base, value, guide_template, 1.0 if implicit else weight, RoleName.score)
        if implicit is None and explicit is None:
            raise Failure("nothing to score by: pass --value FILE, or --tuned FILE or --tuned-prompt TEXT")
        guidance = ivg.Guidance(implicit=implicit, explicit=explicit)
        scores = base.score(guidance, os.fsencode(prompt), [os.fsencode(text) for text in texts], ended=not unfinished)
        if as_json:
            write_json({"scores": scores})
        else:
            for number, text in zip(scores, texts, strict=True):
                write(f"{number:.6f}\t".encode() + os.fsencode(text) + b"\n")


@app.command()
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


app.command()(prefer)
app.command()(evaluate)
app.command()(plot)
app.command()(convert)
app.command()(quantize)
app.add_typer(train)


def _print_version(wanted: bool) -> None:
    if wanted:
        write(f"ivg {ivg.__version__}, libivg {ivg.library_version()}, {ivg.kernels_name()} kernels\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print versions and exit.")
    ] = False,
) -> None:
    """Value-guided text generation on an ordinary CPU."""


def run() -> None:
    """Runs the command line with the process's arguments; exits."""
    app()
