"""`ivg generate`: a text, plainly or guided."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Annotated, Any, Optional

import typer
from rich.console import Console

import ivg
from ivg._cli_common import (
    BaseSystem,
    Budget,
    Burst,
    ContextLength,
    GuideTemplate,
    Json,
    ModelFile,
    Nudger,
    NudgerSystem,
    NudgerTemplate,
    Prompt,
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
from ivg._sampling import SamplingKeywords


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
