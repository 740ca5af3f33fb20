"""`ivg prefer`: preference data from a model and a scorer."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

import ivg
from ivg._cli_common import Budget, ContextLength, Failure, ModelFile, Threads, reporting, write
from ivg._cli_data import (
    Force,
    Limit,
    PromptsFile,
    PromptsPerBatch,
    ScorerOption,
    ScorerReadsAll,
    ScorerTemplate,
    ScorerTimeout,
    batch_size,
    progress_bar,
    settings_of,
)
from ivg._prefer import Pairs, Sampled, sample_rewards
from ivg._records import Record, read_prompts
from ivg._resume import GrowingFiles
from ivg._rewards import RewardSource
from ivg._templates import template_for


class PairsName(str, Enum):
    """Ways to make pairs, for typer."""

    best_worst = "best-worst"
    ranked = "ranked"
    all = "all"
    random = "random"


_CHOICES: dict[PairsName, Pairs] = {
    PairsName.best_worst: "best-worst",
    PairsName.ranked: "ranked",
    PairsName.all: "all",
    PairsName.random: "random",
}
# Options that may change between an interrupted run and the one that goes on.
_FREE = (
    *("prompts", "limit", "output", "rewards", "force", "prompts_per_batch"),
    *("scorer_timeout", "scorer_reads_all", "threads", "context_length", "memory_budget"),
)


def prefer(
    context: typer.Context,
    model: ModelFile,
    prompts: PromptsFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where pairs go, as JSON Lines.", show_default=False)
    ],
    scorer: ScorerOption = None,
    reward_head: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="A value head that scores in place of CMD."),
    ] = None,
    reward_model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="The model that --reward-head is for, if it is not MODEL."),
    ] = None,
    rewards: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Also write every sample: prompt, completion, reward."),
    ] = None,
    adapter: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Sample from MODEL with this adapter on."),
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Completions of each prompt, drawn as one batch.")] = 4,
    pairs: Annotated[PairsName, typer.Option(help="Which pairs of a prompt's completions.")] = PairsName.best_worst,
    minimum_gap: Annotated[float, typer.Option(min=0, help="Leave out pairs whose rewards are closer.")] = 0.0,
    prefix: Annotated[
        str, typer.Option("--prefix", "--base-prefix", help="What MODEL sees before the prompt; the data has it not.")
    ] = "",
    suffix: Annotated[str, typer.Option(help="What MODEL sees after the prompt.")] = "",
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is a message: use MODEL's chat template.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Hard bound on generated tokens.")] = 50,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the most probable token.")] = 0.7,
    top_k: Annotated[int, typer.Option(min=0, help="0: off.")] = 50,
    top_p: Annotated[float, typer.Option(help="1: off.")] = 1.0,
    stop: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="S", help="End before this text; may be given several times."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same file.")] = 1,
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
    """Make preference data: sample several completions of each prompt, score them, pair better with worse.

    Pairs are written in TRL's layout: prompt, chosen, rejected, chosen_reward, rejected_reward. Run again with the
    same options, it goes on where it ended; FILE.progress.json says where that was.
    """
    with reporting(), contextlib.ExitStack() as stack:
        asked = read_prompts(prompts, limit)
        base = ivg.Model(model)
        settings = settings_of(context.params, *_FREE)
        if scorer is not None:
            command = ivg.CommandScorer(
                scorer, timeout=scorer_timeout, template=scorer_template, reads_all=scorer_reads_all
            )
            stack.enter_context(command)
        source = _source(base, command if scorer is not None else None, reward_head, reward_model)
        files = stack.enter_context(GrowingFiles(_outputs(output, rewards), asked, settings, force=force))
        session = base.session(
            threads=threads, context_length=context_length or None, memory_budget=memory_budget or None
        )
        found = sample_rewards(
            stack.enter_context(session),
            asked[files.done :],
            source,
            n=count,
            adapter=None if adapter is None else base.adapter(adapter),
            template=template_for(base, chat, prefix, suffix),
            prompts_per_batch=batch_size(prompts_per_batch, scorer_reads_all),
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            stop=stop or [],
            seed=seed,
        )
        _write_all(found, files, len(asked), lambda some: some.pairs(_CHOICES[pairs], minimum_gap, seed))


def _outputs(output: Path, rewards: Path | None) -> list[Path]:
    if rewards is not None and rewards.name == output.name:
        raise Failure("--output and --rewards need different names")
    return [output] if rewards is None else [output, rewards]


def _source(
    base: ivg.Model, command: ivg.CommandScorer | None, reward_head: Path | None, reward_model: Path | None
) -> RewardSource:
    """What rewards completions: a command, or a head."""
    if (command is None) == (reward_head is None):
        raise Failure("pass either --scorer CMD or --reward-head FILE: one of them says what is better")
    if command is not None:
        if reward_model is not None:
            raise Failure("--reward-model goes with --reward-head")
        return command
    assert reward_head is not None
    with ivg.File(reward_head) as file:
        if file.kind != "value_head":
            raise Failure(f"--reward-head: {reward_head} is no value head but of the kind {file.kind}")
    return (base if reward_model is None else ivg.Model(reward_model)).value_head(reward_head)


def _write_all(
    found: Iterator[Sampled], files: GrowingFiles, total: int, pairs_of: Callable[[Sampled], list[Record]]
) -> None:
    """Writes what comes, prompt by prompt, and says at the end what there is."""
    before, pair_count, values = files.done, 0, []
    with progress_bar("sampling") as show:
        for some in found:
            made = pairs_of(some)
            files.append([made, some.records()], 1)
            pair_count += len(made)
            values += [sample.reward for sample in some.samples]
            show(files.done, total, f"{pair_count} pairs, mean reward {statistics.fmean(values):.3f}")
    new = files.done - before
    kept = f", {before} were there" if before else ""
    mean = f", mean reward {statistics.fmean(values):.4f}" if values else ""
    write(f"{new} prompts{kept}: {pair_count} new pairs{mean}\n")
