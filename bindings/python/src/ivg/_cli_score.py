"""`ivg score`: the value of texts."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import ivg
from ivg._cli_common import (
    Failure,
    GuideTemplate,
    Json,
    ModelFile,
    Prompt,
    RoleName,
    Threads,
    Tuned,
    TunedPrompt,
    Untuned,
    UntunedPrompt,
    Value,
    Weight,
    explicit_value,
    implicit_value,
    reporting,
    write,
    write_json,
)


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
